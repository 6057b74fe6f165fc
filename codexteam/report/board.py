"""What a run looks like at a moment, followed from its events: what the live view, `status` and the last screen show."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.text import count_of
from codexteam.core.usage import Usage
from codexteam.ports.reporter import RunEvent
from codexteam.report.rows import AgentRow, FindingRow, GateRow, TaskRow
from codexteam.report.unknown_bills import Bound, counted_of


@dataclass(slots=True)
class Board:
    """Everything that is shown of a run. Changed by `take` alone; all texts are still foreign."""

    goal: str = ""
    run_id: str = ""
    phase: str = "starting"
    started_at_seconds: float = 0.0
    now_seconds: float = 0.0
    at_work_seconds: float = 0.0
    """Until the newest event, sitting by sitting; a clock that is put back takes none of it away."""
    budget: str = ""
    """The run's limits in words; empty without any."""
    agents: dict[str, AgentRow] = field(default_factory=dict)
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    gates: dict[str, GateRow] = field(default_factory=dict)
    findings: dict[str, FindingRow] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    """Item of the inbox to its question."""
    tail: list[tuple[float, str]] = field(default_factory=list)
    """The last events in words, and after how many seconds of work."""
    branch: str = ""
    commit: str = ""
    result: str = ""
    reason: str = ""
    exit_code: int = 0
    release_notes: str = ""

    @property
    def usage(self) -> Usage:
        """Give all agents' tokens."""
        return sum((agent.usage for agent in self.agents.values()), Usage())

    @property
    def usd(self) -> float | None:
        """Give all agents' cost; None when a part of it is unknown."""
        costs = [agent.usd for agent in self.agents.values()]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)

    @property
    def unknown(self) -> Bound:
        """Give the most that calls of unknown usage may have been billed beside that."""
        return sum((agent.unknown.bound for agent in self.agents.values()), Bound())

    @property
    def cached_share(self) -> float | None:
        """Give the part of the input tokens that was cached; None without input."""
        usage = self.usage
        return usage.cached_input_tokens / usage.input_tokens if usage.input_tokens else None

    @property
    def retrying(self) -> list[AgentRow]:
        """Give the agents whose call failed on its way and is asked again, the newest last."""
        rows = [agent for agent in self.agents.values() if agent.tries and not agent.done]
        return sorted(rows, key=lambda agent: agent.last_at_seconds)

    def take(self, event: RunEvent) -> None:
        """Follow one event."""
        if event.kind != "run.opened":  # with which each sitting begins: before it nobody worked
            self.at_work_seconds = self.worked_seconds(event.at_seconds)
        self.now_seconds = event.at_seconds
        self.started_at_seconds = self.started_at_seconds or event.at_seconds
        area, _, _ = event.kind.partition(".")
        match area:
            case "agent":
                self._agent(event)
            case "task":
                self._task(event)
            case "gate":
                self._gate(event)
            case "finding":
                self._finding(event)
            case _:
                self._run(event)
        self.phase = _PHASES.get(event.kind, self.phase)
        if line := describe(event):
            self.tail = [*self.tail[-11:], (self.worked_seconds(event.at_seconds), line)]

    def worked_seconds(self, at_seconds: float) -> float:
        """Give how long it was worked on until then, sitting by sitting."""
        return self.at_work_seconds + max(0.0, at_seconds - self.now_seconds) if self.started_at_seconds else 0.0

    def begin_again(self) -> None:
        """Forget how the sitting before ended; whoever was at work then is not, until it is started again."""
        self.result = self.reason = ""
        for agent in self.agents.values():
            agent.done = True

    def _agent(self, event: RunEvent) -> None:
        fields = event.fields
        name = _text(fields, "agent")
        row = self.agents.get(name)
        if event.kind == "agent.started" or row is None:
            before = row
            row = AgentRow(
                name,
                _text(fields, "role"),
                _text(fields, "purpose"),
                _text(fields, "task"),
                _number(fields, "attempt"),
                _text(fields, "model"),
                event.at_seconds,
            )
            if before is not None:  # it goes on after a resume: what it cost before stays
                row.usage, row.usd, row.turn, row.unknown = before.usage, before.usd, before.turn, before.unknown
            self.agents[name] = row
        row.unknown.take(event)
        if event.kind == "agent.unanswered":
            return  # what it does now, its other events say
        row.last_at_seconds = event.at_seconds
        row.tries = 0
        match event.kind:
            case "agent.turn":
                row.state = "working"
                row.turn = _number(fields, "turn")
                row.usage += usage_of(fields.get("usage"))
                row.usd = plus_turn(row.usd, fields)
            case "agent.acted":
                row.state = "working"
                row.action = _text(fields, "action")
            case "agent.waiting":
                row.state = "waiting"
                row.action = _text(fields, "reason")
                row.tries = _number(fields, "tries")
                row.retry_at_seconds = event.at_seconds + _number(fields, "wait_seconds")
                row.limit = _text(fields, "limit")
            case "agent.finished":
                row.done = True
                row.state = _text(fields, "outcome")
            case _:
                row.state = "thinking"

    def _task(self, event: RunEvent) -> None:
        fields = event.fields
        name = _text(fields, "task")
        row = self.tasks.setdefault(name, TaskRow(name, _text(fields, "title"), _text(fields, "role")))
        row.title = _text(fields, "title") or row.title
        row.attempt = _number(fields, "attempt") or row.attempt
        row.reason = _text(fields, "reason") if "reason" in fields else row.reason
        row.status = _TASK_STATUS.get(event.kind.removeprefix("task."), row.status)

    def _gate(self, event: RunEvent) -> None:
        fields = event.fields
        name = _text(fields, "gate")
        if not name:
            return
        state = "running" if event.kind == "gate.started" else _text(fields, "verdict")
        self.gates[name] = GateRow(name, state, _number(fields, "round"), _text(fields, "note"))

    def _finding(self, event: RunEvent) -> None:
        fields = event.fields
        name = _text(fields, "finding")
        file, line = _text(fields, "file"), _number(fields, "line")
        place = f"{file}:{line}" if file and line else file
        status = event.kind.removeprefix("finding.")
        status = {"opened": "open", "repeated": "open", "noted": "later"}.get(status, status)
        self.findings[name] = FindingRow(name, _text(fields, "title"), _text(fields, "severity"), status, place)

    def _run(self, event: RunEvent) -> None:
        fields = event.fields
        match event.kind:
            case "run.opened":
                self.goal, self.run_id = _text(fields, "goal"), _text(fields, "run")
                self.budget = _text(fields, "budget")
            case "person.asked":
                self.waiting[_text(fields, "item")] = _text(fields, "question")
            case "person.answered":
                self.waiting.pop(_text(fields, "item"), None)
            case "branch.landed":
                self.branch, self.commit = _text(fields, "ref").removeprefix("refs/heads/"), _text(fields, "commit")
            case "release.completed":
                self.release_notes = _text(fields, "note")
            case "run.finished":
                self.result, self.reason = _text(fields, "result"), _text(fields, "reason")
                self.exit_code = _number(fields, "exit_code")
            case "run.continued":
                self.result = self.reason = ""
            case _:
                pass


_TASK_STATUS = {
    "added": "todo",
    "started": "working",
    "accepted": "accepted",
    "attempt_failed": "failed once",
    "conflicted": "conflict",
    "acceptance_failed": "failed once",
    "asked": "asking",
    "waiting": "waits",
    "merging": "merging",
    "merged": "merged",
    "failed": "failed",
    "blocked": "blocked",
    "unblocked": "todo",
    "dropped": "dropped",
}

_PHASES = {
    "run.opened": "preparing",
    "run.prepared": "scouting",
    "scouts.completed": "planning",
    "plan.created": "working",
    "task.started": "working",
    "gate.started": "judging",
    "replan.started": "planning fixes",
    "documentation.started": "documenting",
    "release.started": "writing notes",
    "branch.landing": "landing",
    "run.stopping": "stopping",
    "run.paused": "paused",
    "run.finished": "finished",
}


def retry_words(waiting: Sequence[AgentRow]) -> str:
    """Say that calls are asked again, why, and until when; `waiting` are their agents, the newest last."""
    newest = waiting[-1]
    count = "a call is" if len(waiting) == 1 else f"{len(waiting)} calls are"
    limit = f"; {newest.limit}" if newest.limit else ""
    return f"{count} asked again (try {newest.tries}): {newest.action}{limit}"


def describe(event: RunEvent) -> str:
    """Say an event in one line, for the tail and the plain view; empty for what is not worth one."""
    fields = event.fields
    wording = _WORDS.get(event.kind)
    if wording is None:
        return ""
    values = {name: _shown(value) for name, value in fields.items()}
    if event.kind == "plan.created":
        values["tasks"] = count_of(_number(fields, "tasks"), "task")
    elif event.kind == "run.finished":
        values["result"] = _text(fields, "result").replace("_", " ")
    try:
        return wording.format_map(values).rstrip(": ")
    except KeyError:
        return event.kind


_WORDS = {
    "run.opened": "run {run}: {goal}",
    "run.prepared": "base {base}",
    "run.continued": "run goes on",
    "run.paused": "paused: no new agents",
    "run.stopping": "stopping: {reason}",
    "run.finished": "{result}: {reason}",
    "run.broken_off": "error: {reason}",
    "sandbox.chosen": "sandbox: {engine} {detail}",
    "sandbox.progress": "sandbox: {line}",
    "scouts.completed": "scouts are back",
    "plan.created": "plan of {tasks}",
    "plan.failed": "no plan: {reason}",
    "plan.edited": "plan.md was edited",
    "plan.unreadable": "plan.md is left alone: {reason}",
    "task.started": "{task}.{attempt} {purpose}: {title}",
    "task.accepted": "{task}.{attempt} handed in: {summary}",
    "task.attempt_failed": "{task}.{attempt} failed: {reason}",
    "task.conflicted": "{task}.{attempt} conflicts in {paths}",
    "conflict.expected": "{task}.{attempt} will conflict with {with} in {paths}",
    "task.acceptance_failed": "{task}.{attempt} fails its acceptance on the merged tree",
    "task.asked": "{task}.{attempt} asks: {question}",
    "task.clarified": "{task}.{attempt} is answered: {answer}",
    "task.waiting": "{task} waits: {reason}",
    "task.merged": "{task} merged: {title}",
    "task.failed": "{task} failed: {reason}",
    "task.blocked": "{task} blocked: {reason}",
    "task.dropped": "{task} dropped: {reason}",
    "gate.started": "{gate} judges {commit} (round {round})",
    "gate.completed": "{gate}: {verdict}: {note}",
    "finding.opened": "{finding} {severity}: {title}",
    "finding.repeated": "{finding} still there: {title}",
    "finding.fixed": "{finding} fixed: {title}",
    "finding.waived": "{finding} waived: {title}",
    "replan.started": "planning fixes for {findings}",
    "extra.merged": "{name} merged",
    "extra.refused": "{name} not merged: {reason}",
    "documentation.started": "documentation",
    "documentation.completed": "documentation ended: {note}",
    "release.started": "release notes",
    "branch.landed": "branch {ref} at {commit}",
    "branch.failed": "branch not written: {reason}",
    "person.asked": "waits for you: {item}: {question}",
    "person.answered": "{item} is answered",
    "budget.warned": "budget: {message}",
    "budget.spent": "budget: {reason}",
    "model.waiting": "{model}: {reason}, waits {wait_seconds} s",
    "policy.warned": "{task}: {message}",
    "notice": "{text}",
    "network.denied": "{host}:{port} cannot be reached from sandboxes: {reason}",
}


def _shown(value: JSONValue) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, float):
        return f"{value:.1f}"
    text = "" if value is None else str(value)
    if len(text) == 40 and all(char in "0123456789abcdef" for char in text):
        return text[:7]
    return " ".join(text.split())


def usage_of(value: JSONValue) -> Usage:
    """Give the tokens in an event's `usage`; none when it is missing."""
    if not isinstance(value, dict):
        return Usage()
    return Usage(
        _number(value, "input_tokens"),
        _number(value, "cached_input_tokens"),
        _number(value, "output_tokens"),
        _number(value, "reasoning_tokens"),
    )


def plus_turn(before: float | None, fields: JSONObject) -> float | None:
    """Add what an `agent.turn` is known to have cost; None once a price is unknown."""
    cost = fields.get("usd")
    if fields.get("usage") is None and counted_of(fields.get("counted")).usd is not None:
        cost = 0.0  # all that is known of it is the most that it can cost
    if before is None or not isinstance(cost, int | float):
        return None
    return before + float(cost)


def _text(fields: JSONObject, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _number(fields: JSONObject, name: str) -> int:
    value = fields.get(name)
    return int(value) if isinstance(value, int | float) else 0
