"""What a run looks like at a moment, followed from its events: what the live view, `status` and the last screen show."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from codexteam.core.activity import Activity
from codexteam.core.base_check import CANNOT_RUN_ITEM, WITHOUT
from codexteam.core.budget_amounts import Usage
from codexteam.core.effects import EFFECTS
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import count_of
from codexteam.ports.reporter import RunEvent
from codexteam.report.rows import (
    SESSION_ENDS,
    AgentRow,
    BaseRow,
    CommandRow,
    FailingRow,
    FindingRow,
    ForecastRow,
    GateRow,
    PlanRow,
    TaskRow,
    failing_rows,
    forecast_row,
    gate_command_rows,
    names_of,
)
from codexteam.report.spent import Bound, Spent


@dataclass(slots=True)
class Progress:
    """Everything that is shown of a run. Changed by `take` alone; all texts are still foreign."""

    goal: str = ""
    run_id: str = ""
    phase: str = "starting"
    started_at_seconds: float = 0.0
    now_seconds: float = 0.0
    at_work_seconds: float = 0.0
    """Until the newest event, summed over sessions; a clock that is set back subtracts nothing."""
    is_over: bool = False
    """The newest session has ended."""
    budget: str = ""
    """The run's limits in words; empty without any."""
    plan: PlanRow = field(default_factory=PlanRow)
    agents: dict[str, AgentRow] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    """What all agents took together."""
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    gates: dict[str, GateRow] = field(default_factory=dict)
    findings: dict[str, FindingRow] = field(default_factory=dict)
    base_rows: dict[str, BaseRow] = field(default_factory=dict)
    """What commands said of the base commit, by command."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Item of the inbox to its question."""
    commands: dict[tuple[str, str], CommandRow] = field(default_factory=dict)
    """Commands that run for long now, by what they are run for and their line."""
    tail: list[tuple[float, str]] = field(default_factory=list)
    """The last events in words, and after how many seconds of work."""
    risks: dict[str, None] = field(default_factory=dict)
    """What gates warn of, in the order it was said."""
    answer: str = ""
    """To a goal that is a question."""
    documentation: str = ""
    """Why what was to be documented is not."""
    release_notes: str = ""
    """The file of the release notes."""
    branch: str = ""
    commit: str = ""
    repositories: tuple[str, ...] = ()
    """Those of several that have the branch."""
    result: str = ""
    reason: str = ""
    stopping: str = ""
    """`finish` while agents finish before the run stops, `now` while they are cut off; else empty."""
    paused: bool = False
    activities: Iterable[Activity] = ()
    """What the agents at work do, read anew at each look; nothing in a process that does not drive the run."""
    stalled_seconds: float = math.inf
    """An agent that is silent for so long has stalled."""
    checkout: str = ""
    """What else changed the user's checkout while the run was at work."""
    exit_code: int = 0
    forecast: ForecastRow | None = None
    """What it was expected to take before anybody worked; None where nobody said."""
    next_command: str = ""
    """The command that continues with a sufficient budget, if the budget was too small."""

    @property
    def usage(self) -> Usage:
        """Return all agents' tokens."""
        return self.spent.usage

    @property
    def usd(self) -> float | None:
        """Return all agents' cost; None when a part of it is unknown."""
        return self.spent.usd

    @property
    def credits(self) -> float | None:
        """Return what all agents took in credits; None when a part of it is unknown."""
        return self.spent.credits

    @property
    def unknown(self) -> Bound:
        """Return the most that calls of unknown usage may have been billed beside that."""
        return self.spent.unknown.bound

    @property
    def cached_share(self) -> float | None:
        """Return the part of the input tokens that was cached; None without input."""
        usage = self.usage
        return usage.cached_input_tokens / usage.input_tokens if usage.input_tokens else None

    @property
    def failing(self) -> list[FailingRow]:
        """Return the gate commands that fail, also those that failed before the run."""
        return [row for gate in self.gates.values() for row in gate.failing]

    @property
    def unrunnable(self) -> list[BaseRow]:
        """Return the commands that can check nothing."""
        return [row for row in self.base_rows.values() if row.blocks]

    @property
    def failed_before(self) -> list[BaseRow]:
        """Return the gate commands that failed before the run."""
        return [row for row in self.base_rows.values() if row.gate and row.ending == "failed"]

    @property
    def waived(self) -> list[str]:
        """Return the ids of findings that a person waived."""
        return [finding.id for finding in self.findings.values() if finding.status == "waived"]

    @property
    def retrying(self) -> list[AgentRow]:
        """Return the agents whose call failed on its way and is asked again, the newest last."""
        rows = [agent for agent in self.agents.values() if agent.tries and not agent.done]
        return sorted(rows, key=lambda agent: agent.last_at_seconds)

    def take(self, event: RunEvent) -> None:
        """Follow one event."""
        # before a session begins nobody works, nor after it ended: a person may decide something meanwhile
        if event.kind != "run.opened":
            self.at_work_seconds = self.worked_seconds(event.at_seconds)
        self.is_over = event.kind in SESSION_ENDS or (self.is_over and event.kind != "run.opened")
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
            case "command":
                self._command(event)
            case "person" | "budget":
                self._person(event)
            case "plan" | "documentation" | "extra" | "release":
                self._step(event)
            case _:
                self._run(event)
                self._stop(event)
        self.phase = _PHASES.get(event.kind, self.phase)
        if event.kind == "run.prepared" and event.fields.get("head"):  # a review has neither scouts nor a plan
            self.phase = "judging"
        if line := describe(event):
            self.tail = [*self.tail[-11:], (self.worked_seconds(event.at_seconds), line)]

    def worked_seconds(self, at_seconds: float) -> float:
        """Return the working time until then, summed over sessions; while people are waited for it stands still."""
        if not self.started_at_seconds or self.is_over or self.waits_for_people:
            return self.at_work_seconds
        return self.at_work_seconds + max(0.0, at_seconds - self.now_seconds)

    @property
    def waits_for_people(self) -> bool:
        """Return whether nothing happens until somebody answers."""
        merging = (task.status in {"accepted", "merging"} for task in self.tasks.values())
        judging = (gate.state == "running" for gate in self.gates.values())
        done = (agent.done for agent in self.agents.values())
        return bool(self.waiting) and not self.commands and not any(merging) and not any(judging) and all(done)

    def begin_again(self) -> None:
        """Forget how the previous session ended; agents that were at work then are not, until they are started again."""
        self.result = self.reason = self.checkout = self.stopping = ""
        self.commands.clear()
        for agent in self.agents.values():
            agent.done = True

    def _agent(self, event: RunEvent) -> None:
        fields = event.fields
        name = text_field(fields, "agent")
        row = self.agents.get(name)
        if event.kind == "agent.started" or row is None:
            before = row
            row = AgentRow(
                name,
                text_field(fields, "role"),
                text_field(fields, "purpose"),
                text_field(fields, "task"),
                number_field(fields, "attempt"),
                text_field(fields, "model"),
                event.at_seconds,
            )
            if before is not None:  # it continues after a resume; its earlier cost stays
                row.turn = before.turn
                row.continues(before)
            self.agents[name] = row
        row.add(event)
        self.spent.add(event)
        if event.kind in {"agent.unanswered", "agent.stalled"}:
            return  # what it does now, its other events say
        row.last_at_seconds = event.at_seconds
        row.tries = 0
        match event.kind:
            case "agent.turn":
                row.state = "working"
                row.turn = number_field(fields, "turn")
            case "agent.acted":
                row.state = "working"
                row.action = text_field(fields, "action")
            case "agent.waiting":
                row.action = text_field(fields, "reason")
                row.state = "waiting" if row.action else "thinking"
                row.tries = number_field(fields, "tries")
                row.retry_at_seconds = event.at_seconds + number_field(fields, "wait_seconds")
                row.limit = text_field(fields, "limit")
            case "agent.finished":
                row.done = True
                row.state = text_field(fields, "outcome")
            case _:
                row.state = "thinking"

    def _task(self, event: RunEvent) -> None:
        fields = event.fields
        if event.kind == "task.set_aside":  # its task goes on with another one
            return
        name = text_field(fields, "task")
        row = self.tasks.setdefault(name, TaskRow(name, text_field(fields, "title"), text_field(fields, "role")))
        row.title = text_field(fields, "title") or row.title
        row.attempt = number_field(fields, "attempt") or row.attempt
        row.untested = text_field(fields, "untested") if "untested" in fields else row.untested
        row.reason = text_field(fields, "reason") if "reason" in fields else row.reason
        row.status = _TASK_STATUS.get(event.kind.removeprefix("task."), row.status)

    def _gate(self, event: RunEvent) -> None:
        fields = event.fields
        name = text_field(fields, "gate")
        if not name:
            return
        state = "running" if event.kind == "gate.started" else text_field(fields, "verdict")
        failing, commands = failing_rows(fields.get("failing")), gate_command_rows(fields.get("commands"))
        confidence = text_field(fields, "confidence")
        if event.kind == "gate.started" and (before := self.gates.get(name)):  # until it is known anew
            failing, commands, confidence = before.failing, before.commands, before.confidence
        row = GateRow(name, state, number_field(fields, "round"), text_field(fields, "note"), failing)
        row.commands, row.confidence = commands, confidence
        self.gates[name] = row
        risks = fields.get("risks")
        for risk in risks if isinstance(risks, list) else ():
            self.risks[f"{' '.join(str(risk).split())} ({name})"] = None

    def _finding(self, event: RunEvent) -> None:
        fields = event.fields
        name = text_field(fields, "finding")
        file, line = text_field(fields, "file"), number_field(fields, "line")
        place = f"{file}:{line}" if file and line else file
        status = event.kind.removeprefix("finding.")
        status = {"opened": "open", "repeated": "open", "noted": "later"}.get(status, status)
        self.findings[name] = FindingRow(
            name, text_field(fields, "title"), text_field(fields, "severity"), status, place
        )

    def _command(self, event: RunEvent) -> None:
        fields = event.fields
        key = (text_field(fields, "check"), text_field(fields, "command"))
        self.commands.pop(key, None)
        if event.kind == "command.running":
            since = event.at_seconds - number_field(fields, "seconds")
            self.commands[key] = CommandRow(key[1], key[0], since, since + number_field(fields, "limit_seconds"))

    def _step(self, event: RunEvent) -> None:
        fields = event.fields
        match event.kind:
            case "plan.created":
                self.answer = text_field(fields, "answer")
            case "documentation.completed":
                self.documentation = text_field(fields, "failure")
            case "extra.refused" if text_field(fields, "name") == "documentation":
                self.documentation = text_field(fields, "reason")
            case "release.completed":
                self.release_notes = text_field(fields, "path")
            case _:
                pass

    def _stop(self, event: RunEvent) -> None:
        cuts_off = event.kind == "notice" and event.fields.get("cuts_off") is True
        self.stopping = "now" if cuts_off else _STOPPING.get(event.kind, self.stopping)
        self.paused = {"run.paused": True, "run.continued": False}.get(event.kind, self.paused)

    def _person(self, event: RunEvent) -> None:
        fields = event.fields
        item = text_field(fields, "item")
        match event.kind:
            case "person.asked":
                self.waiting[item] = text_field(fields, "question")
            case "person.answered" | "person.withdrawn":
                self.waiting.pop(item, None)
                if item == CANNOT_RUN_ITEM and text_field(fields, "text").casefold().startswith(WITHOUT):
                    rows = self.base_rows.items()
                    self.base_rows = {command: replace(row, blocks=False) for command, row in rows}
            case "budget.changed" if text_field(fields, "scope") == "the run":
                self.budget = text_field(fields, "budget")
            case _:
                pass

    def _run(self, event: RunEvent) -> None:
        fields = event.fields
        match event.kind:
            case "run.opened":
                self.goal, self.run_id = text_field(fields, "goal"), text_field(fields, "run")
                self.budget = text_field(fields, "budget")
            case "baseline.checked":
                self.base_rows[text_field(fields, "command")] = _base_row(fields)
                self.commands.clear()  # of a session that was killed
            case "branch.landed":
                self.branch = text_field(fields, "ref").removeprefix("refs/heads/")
                self.commit = text_field(fields, "commit")
                self.repositories = names_of(fields.get("repositories"))
            case "checkout.changed":
                self.checkout = _checkout_words(fields)
            case "run.finished":
                self.result, self.reason = text_field(fields, "result"), text_field(fields, "reason")
                self.exit_code = number_field(fields, "exit_code")
                self.next_command = text_field(fields, "next")
            case "forecast.made":
                self.forecast = forecast_row(fields)
            case "windows.read" | "credits.read":
                self.plan = self.plan.after(event.kind, fields)
            case "run.continued":
                self.result = self.reason = self.checkout = ""
            case _:
                pass


_TASK_STATUS = {
    "added": "todo",
    "started": "working",
    "accepted": "accepted",
    "attempt_failed": "failed once",
    "conflicted": "conflict",
    "acceptance_failed": "failed once",
    "refused": "failed once",
    "asked": "asking",
    "waiting": "waits",
    "merging": "merging",
    "merged": "merged",
    "failed": "failed",
    "blocked": "blocked",
    "unblocked": "todo",
    "dropped": "dropped",
    "retried": "todo",
}

_STOPPING = {"run.stopping": "finish", "run.continued": "", "run.opened": "", "run.finished": "", "run.broken_off": ""}

_PHASES = {
    "run.opened": "preparing",
    "run.prepared": "scouting",
    "scouts.completed": "planning",
    "plan.created": "working",
    "task.started": "working",
    "run.stopping": "stopping",
    "run.paused": "paused",
    **{known.tells: known.phase for known in EFFECTS.values() if known.phase},
}


def retry_words(waiting: Sequence[AgentRow]) -> str:
    """Say that calls are asked again, why, and until when; `waiting` are their agents, the newest last."""
    newest = waiting[-1]
    count = "a call is" if len(waiting) == 1 else f"{len(waiting)} calls are"
    limit = f"; {newest.limit}" if newest.limit else ""
    return f"{count} asked again (try {newest.tries}): {newest.action}{limit}"


def _checkout_words(fields: JSONObject) -> str:
    suspects = fields.get("suspects")
    named = ", ".join(map(str, suspects)) if isinstance(suspects, list) else ""
    who = f", and not the MCP servers outside the sandboxes ({named})" if named else ""
    return f"changed meanwhile, and not by codexteam: {text_field(fields, 'text')}. See to it if that was not you{who}."


def ending_words(result: str, reason: str) -> str:
    """Return how a run ended and why, as one phrase: `green, with 1 finding waived by you: F1`; `interrupted by Ctrl-C`."""
    link = ", " if reason.startswith("with ") else " " if reason.startswith("by ") else ": "
    joined = f"{result}{link}{reason}"
    return joined.rstrip(": ")


def describe(event: RunEvent) -> str:
    """Say an event in one line, for the tail and the plain view; empty for what is not worth one."""
    fields = event.fields
    wording = _WORDS.get(event.kind)
    if wording is None:
        return ""
    values = {name: _shown(value) for name, value in fields.items()}
    if event.kind == "person.unread":  # older versions did not say which attempt
        values.setdefault("attempt", "of its agent")
    if event.kind == "plan.created":
        return _plan_words(fields)
    if event.kind == "scouts.completed":
        probes = fields.get("next_probes")
        values["next"] = f"; they would look next at: {_shown(probes)}" if probes else ""
    if event.kind == "baseline.checked":
        values["how"] = _base_words(fields)
    elif event.kind.startswith("environment."):
        values |= _environment_words(event)
    elif event.kind == "task.merged":
        values["how"] = "merged without a change" if fields.get("changed") is False else "merged"
    elif event.kind == "branch.landed":
        names = names_of(fields.get("repositories"))
        values["where"] = f"in {', '.join(names)}" if names else f"at {values.get('commit', '')}"
    elif event.kind == "run.finished":
        return ending_words((text_field(fields, "result") or "ended").replace("_", " "), _shown(fields.get("reason")))
    by = values.get("by", "")
    values |= {"who": f"{by} says" if by else "you say", "asker": by or "you"}
    signature = f", by {by}" if by and event.kind not in _NAMES_WHO else ""
    try:
        return wording.format_map(values).rstrip(": ") + signature
    except KeyError:
        return event.kind


def _environment_words(event: RunEvent) -> dict[str, str]:
    fields = event.fields
    number, of = number_field(fields, "number"), number_field(fields, "of")
    notices = _shown(fields.get("notices"))
    log = text_field(fields, "log")
    gates = _shown(fields.get("gates"))
    how = "was there already" if fields.get("kept") is True else f"set up in {number_field(fields, 'seconds')} s"
    if event.kind == "environment.chosen":
        how = f"its tests run: {gates}" if gates else f"made from {text_field(fields, 'made_from')}"
    repository = text_field(fields, "repository")
    return {
        "of": f" of {repository}" if repository else "",
        "step": f"step {number} of {of}: " if number else "",
        "how": how,
        "notices": f"; {notices}" if notices else "",
        "log": f"; its log: {log}" if log else "",
    }


def _plan_words(fields: JSONObject) -> str:
    """Say what the planner handed in: tasks, or what it says in their place."""
    if count := number_field(fields, "tasks"):
        changes = _shown(fields.get("changes"))
        return f"plan of {count_of(count, 'task')}" + (f"; {changes}" if changes else "")
    if probes := _shown(fields.get("probes")):
        return f"the planner sends scouts to look at: {probes}"
    if questions := fields.get("questions"):
        return f"questions before there is a plan: {_shown(questions)}"
    return "the goal is a question, and is answered" if text_field(fields, "answer") else "plan of 0 tasks"


def _base_words(fields: JSONObject) -> str:
    ending = text_field(fields, "ending").replace("_", " ")
    if not ending:  # of an older version
        return f"exit code {_shown(fields.get('exit_code'))}"
    if fields.get("later") is True:
        return f"{ending}: it can once the tasks are done"
    return f"{ending}: {text_field(fields, 'words' if ending == 'failed' else 'reason')}".rstrip(": ")


_WORDS = {
    "run.opened": "run {run}: {goal}",
    "run.forked": "begun from run {from} as it was at event {from_event}",
    "run.prepared": "base {base}",
    "baseline.checked": "before the run, `{command}`: {how}",
    "run.continued": "run continued",
    "run.paused": "paused: no new agents",
    "run.stopping": "stopping: {reason}",
    "run.broken_off": "error: {reason}",
    "sandbox.chosen": "sandbox: {engine} {detail}",
    "sandbox.progress": "sandbox: {line}",
    "environment.building": "environment{of}: being set up from {sources}",
    "environment.step": "environment{of}: {step}`{command}` ({source})",
    "environment.ready": "environment{of}: {how}, from {sources}{notices}",
    "environment.failed": "environment{of}: {reason}{log}",
    "environment.chosen": "environment{of}: {how}",
    "scouts.completed": "scouts are back{next}",
    "plan.created": "{tasks}",
    "plan.failed": "no plan: {reason}",
    "plan.edited": "plan.md was edited",
    "plan.unreadable": "plan.md is left alone: {reason}",
    "task.started": "{task}.{attempt} {purpose}: {title}",
    "task.accepted": "{task}.{attempt} handed in: {summary}",
    "task.attempt_failed": "{task}.{attempt} failed: {reason}",
    "tests.hidden": "{task}: hidden tests: {note}",
    "task.tried": "{task}.{attempt} was tried: {words}",
    "task.chosen": "{task}: {words}",
    "task.set_aside": "{task}.{attempt} is set aside: {reason}",
    "task.conflicted": "{task}.{attempt} conflicts in {paths}",
    "conflict.expected": "{task}.{attempt} will conflict with {with} in {paths}",
    "task.acceptance_failed": "{task}.{attempt} fails its acceptance on the merged tree",
    "task.refused": "{task}.{attempt} is not merged: {reason}",
    "task.asked": "{task}.{attempt} asks: {question}",
    "task.clarified": "{task}.{attempt} is answered: {answer}",
    "task.waiting": "{task} waits: {reason}",
    "task.merged": "{task} {how}: {title}",
    "task.failed": "{task} failed: {reason}",
    "task.blocked": "{task} blocked: {reason}",
    "task.dropped": "{task} dropped: {reason}",
    "gate.completed": "{gate}: {verdict}: {note}",
    "command.running": "`{command}` ({check}) runs for {seconds} s now; it is ended after {limit_seconds} s",
    "command.ended": "`{command}` ({check}) has ended",
    "finding.opened": "{finding} {severity}: {title}",
    "finding.repeated": "{finding} still there: {title}",
    "finding.fixed": "{finding} fixed: {title}",
    "finding.waived": "{finding} waived: {title}",
    "extra.merged": "{name} merged",
    "extra.refused": "{name} not merged: {reason}",
    "documentation.completed": "documentation: {note}",
    "release.completed": "release notes: {note}",
    "branch.landed": "branch {ref} {where}",
    "branch.failed": "branch not written: {reason}",
    "person.answered": "{item} is answered",
    "person.withdrawn": "{item} does not wait for an answer any more",
    "person.said": "{who} to {to}: {text}",
    "person.unread": "{to}: attempt {attempt} has ended without reading {messages}; another would begin with it",
    "task.retried": "{task} is tried again, as {asker} asked",
    "task.prioritized": "{task} has priority {priority} now",
    "feedback.taken": "{place} asks for changes ({findings})",
    "budget.changed": "{scope} may use {budget} now",
    "agent.stalled": "{agent} is silent for {seconds} s: {doing} {detail}",
    "budget.warned": "budget: {message}",
    "budget.spent": "budget: {reason}",
    "model.waiting": "{model}: {reason}, waits {wait_seconds} s",
    "policy.warned": "{task}: {message}",
    "notice": "{text}",
    "checkout.changed": "your checkout was changed meanwhile, and not by codexteam: {text}",
    "network.denied": "{host}:{port} cannot be reached from sandboxes: {reason}",
    **{known.tells: known.words for known in EFFECTS.values() if known.words},
}


#: Of these the words themselves say who, or nothing has to.
_NAMES_WHO = frozenset({"run.opened", "person.said", "task.retried"})


def _shown(value: JSONValue) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, float):
        return f"{value:.1f}"
    text = "" if value is None else str(value)
    is_commit = len(text) == 40 and all(char in "0123456789abcdef" for char in text)
    return text[:7] if is_commit else " ".join(text.split())


def _base_row(fields: JSONObject) -> BaseRow:
    return BaseRow(
        text_field(fields, "command"),
        text_field(fields, "ending"),
        text_field(fields, "reason"),
        text_field(fields, "words"),
        gate=fields.get("gate") is True,
        later=fields.get("later") is True,
        blocks=fields.get("blocks") is True,
        to_do=text_field(fields, "to_do"),
        output=text_field(fields, "output"),
        made_from=text_field(fields, "made_from"),
    )


def text_field(fields: JSONObject, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def number_field(fields: JSONObject, name: str) -> int:
    value = fields.get(name)
    return int(value) if isinstance(value, int | float) else 0
