"""One task's story: what it is, and each attempt at it, from the stored state and what the run reported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from codexteam.core.codec import encode
from codexteam.core.ids import JSONObject, JSONValue, Purpose
from codexteam.core.state import RunState, TaskState
from codexteam.ports.reporter import RunEvent
from codexteam.report.overview import task_json, task_word
from codexteam.report.progress import number_field, text_field
from codexteam.report.spent import Spent
from codexteam.run.remembered import AcceptedWork


@dataclass(frozen=True, slots=True)
class AcceptanceCheck:
    """A command that codexteam itself ran on a task's merged tree."""

    command: str
    exit_code: int | None
    """None when it did not end by itself."""
    timed_out: bool
    seconds: float


@dataclass(slots=True)
class AttemptStory(Spent):
    """One attempt. All texts are foreign."""

    number: int
    kind: str = "implement"
    started_at_seconds: float = 0.0
    ended_at_seconds: float = 0.0
    turns: int = 0
    actions: list[str] = field(default_factory=list)
    """Tool calls, each as its first line."""
    checks: list[AcceptanceCheck] = field(default_factory=list)
    outcome: str = ""
    """How it ended: handed in, failed, conflicts, ...; empty while it works."""
    evidence: str = ""
    """What its acceptance commands said when they failed: several lines, the end of a long output."""
    notes: list[str] = field(default_factory=list)
    """Questions, answers, what people said."""
    base: str = ""
    commit: str = ""
    receipt: JSONObject = field(default_factory=dict)
    folder: str = ""


@dataclass(frozen=True, slots=True)
class TaskStory:
    """A task and its attempts."""

    known: TaskState
    fixes: tuple[tuple[str, str, str], ...]
    """Findings it fixes: id, status, title."""
    attempts: tuple[AttemptStory, ...]
    merged_as: str = ""
    live: bool = True
    """A process works on its run at this moment."""
    beside: Spent = field(default_factory=Spent)
    """What QA's hidden tests and a judge took, where several attempts were made at once."""

    @property
    def word(self) -> str:
        """Return where it is in a word."""
        return task_word(self.known, live=self.live)

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        task = self.known.task
        attempts: list[JSONValue] = [_attempt_json(attempt) for attempt in self.attempts]
        return {
            **task_json(self.known, live=self.live),
            "type": "task",
            "description": task.description,
            "paths": list(task.paths),
            "effort": task.effort,
            "acceptance": [{"criterion": one.criterion, "command": one.command} for one in task.acceptance],
            "fixes": [{"finding": i, "status": status, "title": title} for i, status, title in self.fixes],
            "merged_as": self.merged_as,
            "beside": {"usage": encode(self.beside.usage), "usd": self.beside.usd, "credits": self.beside.credits},
            "attempts": attempts,
        }


def _attempt_json(attempt: AttemptStory) -> JSONObject:
    return {
        "attempt": attempt.number,
        "kind": attempt.kind,
        "started_at": attempt.started_at_seconds,
        "ended_at": attempt.ended_at_seconds,
        "turns": attempt.turns,
        "usage": encode(attempt.usage),
        "usd": attempt.usd,
        "credits": attempt.credits,
        "at_most_more": attempt.unknown.bound.as_json(),
        "actions": list(attempt.actions),
        "checks": [
            {"command": c.command, "exit_code": c.exit_code, "timed_out": c.timed_out, "seconds": c.seconds}
            for c in attempt.checks
        ],
        "outcome": attempt.outcome,
        "evidence": attempt.evidence,
        "notes": list(attempt.notes),
        "base": attempt.base,
        "commit": attempt.commit,
        "receipt": attempt.receipt,
        "folder": attempt.folder,
    }


def task_story(
    known: TaskState,
    state: RunState,
    events: Iterable[RunEvent],
    *,
    accepted: Mapping[str, AcceptedWork],
    receipts: Mapping[str, JSONObject],
    merged_as: str = "",
    live: bool = True,
) -> TaskStory:
    """Put a task's story together.

    Args:
        known: the task.
        state: of its run.
        events: all events of the run, in order.
        accepted: `<task>.<attempt>` to the accepted commit and its base.
        receipts: `<role>/<purpose>/<task>/<attempt>` to the receipt of an agent's start.
        merged_as: the commit on the integration branch; empty before.
        live: a process works on the run at this moment.
    """
    task_id = str(known.task.id)
    attempts: dict[int, AttemptStory] = {}
    beside = Spent()
    for event in events:
        if event.kind == "person.answered" and f".{task_id}." in text_field(event.fields, "item"):
            number = number_field({"n": _trailing_number(text_field(event.fields, "item"))}, "n")
            attempts.setdefault(number, AttemptStory(number)).notes.append(
                f"{text_field(event.fields, 'by') or 'you'} said: {text_field(event.fields, 'text')}"
            )
        if event.fields.get("task") != task_id:
            continue
        number = number_field(event.fields, "attempt")
        if text_field(event.fields, "purpose") in {Purpose.HIDDEN_TESTS, Purpose.JUDGE}:
            beside.add(event)
        elif text_field(event.fields, "purpose") == Purpose.LOOKUP:  # a question of the attempt that is at work
            if attempts and event.kind in {"agent.turn", "agent.unanswered"}:
                attempts[max(attempts)].add(event)
        elif number:
            _take(attempts.setdefault(number, AttemptStory(number)), event)
    for name, work in accepted.items():
        owner, _, digits = name.rpartition(".")
        if owner == task_id and digits.isdigit():
            attempt = attempts.setdefault(int(digits), AttemptStory(int(digits)))
            attempt.base, attempt.commit = work.base, work.commit
    for name, value in receipts.items():
        match name.split("/"):
            case [_, "implement" | "resolve", owner, digits] if owner == task_id and digits.isdigit():
                attempts.setdefault(int(digits), AttemptStory(int(digits))).receipt = value
            case _:
                continue
    fixes = tuple(
        (str(finding_id), found.status.value, found.finding.title)
        for finding_id in known.task.fixes
        if (found := state.findings.get(finding_id)) is not None
    )
    return TaskStory(known, fixes, tuple(attempts[number] for number in sorted(attempts)), merged_as, live, beside)


def _take(attempt: AttemptStory, event: RunEvent) -> None:  # noqa: C901, PLR0912 - one arm for each kind
    fields = event.fields
    attempt.started_at_seconds = attempt.started_at_seconds or event.at_seconds
    attempt.ended_at_seconds = event.at_seconds
    attempt.add(event)
    match event.kind:
        case "task.started":
            attempt.kind = text_field(fields, "purpose") or attempt.kind
        case "agent.turn":
            attempt.turns += 1
        case "agent.acted":
            attempt.actions.append(text_field(fields, "action"))
        case "agent.told":
            messages = fields.get("messages")
            said = messages if isinstance(messages, list) else []
            attempt.notes += [f"you said: {message}" for message in said]
        case "acceptance.checked":
            attempt.checks.append(
                AcceptanceCheck(
                    text_field(fields, "command"),
                    code if isinstance(code := fields.get("exit_code"), int) else None,
                    fields.get("timed_out") is True,
                    _seconds(fields.get("wall_seconds")),
                )
            )
        case "policy.warned":
            attempt.notes.append(text_field(fields, "message"))
        case "task.asked":
            attempt.outcome = "asked"
            attempt.notes.append(f"asked: {text_field(fields, 'question')}")
        case "task.clarified":
            attempt.notes.append(
                f"answer: {text_field(fields, 'answer')}" if fields.get("answer") else "put before you"
            )
        case "task.accepted":
            attempt.outcome = f"handed in: {text_field(fields, 'summary')}"
        case "task.attempt_failed":
            attempt.outcome = f"failed: {text_field(fields, 'reason')}"
        case "task.tried":
            attempt.notes.append(f"tried: {text_field(fields, 'words')}")
        case "task.chosen":
            attempt.notes.append(text_field(fields, "words"))
        case "task.set_aside":
            attempt.outcome = f"set aside: {text_field(fields, 'reason')}; its work is kept (codexteam salvage)"
        case "task.conflicted":
            paths = fields.get("paths")
            attempt.outcome = "conflicts in " + ", ".join(map(str, paths if isinstance(paths, list) else []))
        case "task.acceptance_failed":
            attempt.outcome = "failed: its acceptance commands fail on the merged tree"
            attempt.evidence = text_field(fields, "evidence")
        case "task.refused":
            attempt.outcome = "failed: a PreMerge hook refused its merge"
            attempt.evidence = text_field(fields, "reason")
        case "task.merged":
            how = "merged without a change" if fields.get("changed") is False else "merged"
            attempt.outcome = f"{how}; {attempt.outcome}" if attempt.outcome else how
        case _:
            return


def _trailing_number(item: str) -> int:
    digits = item.rpartition(".")[2]
    return int(digits) if digits.isdigit() else 0


def _seconds(value: JSONValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
