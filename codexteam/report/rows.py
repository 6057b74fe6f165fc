"""The rows of a run's progress: an agent, a task, a gate, a finding, a command, each as it is now; and open bills."""

from dataclasses import dataclass, replace

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.report.spent import Spent

#: With these a session is over; what is told after them, a person decided while nobody drove the run.
SESSION_ENDS = frozenset({"run.finished", "run.broken_off"})


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """What a run was expected to take, as its forecast said: expected and worst, None where unknown."""

    runs: int = 0
    """Earlier runs that it rested on."""
    tokens: tuple[float, float] | None = None
    usd: tuple[float, float] | None = None
    credits: tuple[float, float] | None = None

    def as_json(self, *, spent_tokens: int, spent_usd: float | None, spent_credits: float | None) -> JSONObject:
        """Return it for programs, held against what was spent."""
        spent = {"tokens": float(spent_tokens), "usd": spent_usd, "credits": spent_credits}
        return {"runs": self.runs, **{name: self._held(name, value) for name, value in spent.items()}}

    def _held(self, name: str, spent: float | None) -> JSONObject | None:
        found: tuple[float, float] | None = getattr(self, name)
        if found is None:
            return None
        expected, worst = found
        ratio = spent / expected if spent is not None and expected else None
        return {"expected": expected, "worst": worst, "spent": spent, "spent_of_expected": ratio}


def forecast_row(fields: JSONObject) -> ForecastRow:
    """Read `forecast.made`."""
    runs = fields.get("runs")
    return ForecastRow(
        runs if isinstance(runs, int) else 0, *(_ends(fields.get(name)) for name in ("tokens", "usd", "credits"))
    )


def _ends(value: JSONValue) -> tuple[float, float] | None:
    match value:
        case {"expected": int() | float() as expected, "worst": int() | float() as worst}:
            return float(expected), float(worst)
        case _:
            return None


@dataclass(slots=True)
class AgentRow(Spent):
    """One agent at work, or done."""

    name: str
    role: str
    purpose: str
    task: str
    attempt: int
    model: str
    started_at_seconds: float
    state: str = "starting"
    turn: int = 0
    action: str = ""
    last_at_seconds: float = 0.0
    tries: int = 0
    """While a call is asked again: the number of the try, else 0."""
    retry_at_seconds: float = 0.0
    limit: str = ""
    """When the call is given up, in words."""
    done: bool = False


@dataclass(slots=True)
class TaskRow:
    """One task."""

    id: str
    title: str
    role: str
    status: str = "todo"
    attempt: int = 0
    reason: str = ""
    untested: str = ""
    """Why no acceptance command judges its work."""


@dataclass(frozen=True, slots=True)
class FailingRow:
    """A gate command that fails."""

    command: str
    reason: str
    as_before: bool


@dataclass(frozen=True, slots=True)
class GateCommandRow:
    """A command that a gate ran."""

    command: str
    ok: bool
    how: str
    seconds: float | None = None
    """How long it took; None where that is not known, as of what ran earlier on the same tree."""


@dataclass(frozen=True, slots=True)
class BaseRow:
    """A command that fails or does not run on the base commit."""

    command: str
    ending: str
    reason: str
    words: str
    """How many tests fail and which, or how it ended."""
    gate: bool
    later: bool
    """It can run once the plan's tasks are done."""
    blocks: bool
    """It keeps the run from beginning."""
    to_do: str
    output: str
    """Its last lines."""
    made_from: str


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A gate or acceptance command that runs for long."""

    command: str
    check: str
    """What it is run for: `accept.T1.1`, `ci.2`, `baseline`."""
    since_seconds: float
    until_seconds: float
    """When it is ended at the latest."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What is known of the user's plan, where agents use one."""

    windows: str = ""
    """How far its windows are used up."""
    credits: str = ""
    """What the run took of it in credits, and what is left."""
    credits_used: float | None = None
    """None where its service does not say it."""

    def after(self, kind: str, fields: JSONObject) -> "PlanRow":
        """Return it after one more reading."""
        words, used = str(fields.get("words", "")), fields.get("credits")
        if kind == "windows.read":
            return replace(self, windows=words)
        return replace(self, credits=words, credits_used=float(used) if isinstance(used, int | float) else None)


@dataclass(slots=True)
class GateRow:
    """A gate's newest verdict."""

    name: str
    state: str
    round: int
    note: str = ""
    failing: tuple[FailingRow, ...] = ()
    """The commands that fail on the commit it judged, also those that failed before the run."""
    commands: tuple[GateCommandRow, ...] = ()
    """What it ran on that commit; QA's as its agent says."""
    confidence: str = ""
    """QA's: low, medium or high."""


@dataclass(slots=True)
class FindingRow:
    """A finding."""

    id: str
    title: str
    severity: str
    status: str
    place: str


def failing_rows(value: JSONValue) -> tuple[FailingRow, ...]:
    """Return the rows of a fact's `failing`."""
    return tuple(
        FailingRow(str(row.get("command", "")), str(row.get("reason", "")), as_before=row.get("as_before") is True)
        for row in _objects(value)
    )


def gate_command_rows(value: JSONValue) -> tuple[GateCommandRow, ...]:
    """Return the rows of a fact's `commands`."""
    return tuple(
        GateCommandRow(str(row.get("command", "")), row.get("ok") is True, str(row.get("how", "")))
        for row in _objects(value)
    )


def names_of(value: JSONValue) -> tuple[str, ...]:
    """Return the texts of a fact's list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _objects(value: JSONValue) -> list[JSONObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
