"""A run in figures: what reports compare, and what metrics sum up over runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from codexteam.core.state import FindingStatus, TaskPhase
from codexteam.ports.reporter import RunEvent
from codexteam.report.contest_figures import ContestFigures, contest_figures
from codexteam.report.overview import RunOverview
from codexteam.report.progress import number_field, text_field
from codexteam.report.spent import Bound
from codexteam.report.timeline import BarKind, timeline_of
from codexteam.report.work_time import WorkTime, work_time

#: Outcomes of agents that say something of services and machines, not of the work.
_INFRASTRUCTURE = frozenset({"ModelGaveUp", "Unsaved"})


@dataclass(frozen=True, slots=True)
class AgentTime:
    """How long one agent took from its start to its end, in seconds of work."""

    role: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run came to."""

    run_id: str
    state: str
    created_at_seconds: float
    work_seconds: float
    tasks: int
    """But for the dropped ones."""
    merged: int
    failed: int
    """Failed, or blocked by one that failed."""
    attempts: int
    """Of all tasks."""
    attempted: int
    """Tasks that were tried at all."""
    first_try: int
    """Tasks that were merged with their first attempt."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float | None
    credits: float | None
    unknown: Bound
    rounds: int
    regressions: int
    """Commands that passed before the run and that a gate saw fail, each counted once a round."""
    findings: int
    findings_open: int
    conflicts: int
    infrastructure_failures: int
    """Agents that ended because a service gave up or a sandbox was lost, and sessions that broke off."""
    stalls: int
    model_seconds: float
    command_seconds: float
    limit_seconds: float
    agents: tuple[AgentTime, ...]
    expected_usd: float | None
    expected_tokens: float | None
    best_of: ContestFigures = field(default_factory=ContestFigures)
    """Several attempts at once."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cached_share(self) -> float | None:
        """Return the part of the input that was cached; None without input."""
        return self.cached_tokens / self.input_tokens if self.input_tokens else None

    @property
    def first_try_rate(self) -> float | None:
        """Return how many of the merged tasks needed one attempt; None where none was merged."""
        return self.first_try / self.merged if self.merged else None


def figures_of(run: RunOverview, events: Sequence[RunEvent], clock: WorkTime | None = None) -> RunFigures:
    """Return a run's figures, from all its events in order."""
    timeline = timeline_of(events, known := clock or work_time(events))
    by_kind = timeline.seconds_by_kind()
    state, progress = run.state, run.progress
    tasks = list(state.tasks.values())
    merged = [known_task for known_task in tasks if known_task.phase is TaskPhase.MERGED]
    forecast = progress.forecast
    return RunFigures(
        str(run.record.run_id),
        run.word,
        run.record.created_at_seconds,
        known.total_seconds,
        len(run.counted),
        len(merged),
        sum(each.phase in {TaskPhase.FAILED, TaskPhase.BLOCKED} for each in tasks),
        sum(each.attempts for each in tasks),
        sum(each.attempt > 0 for each in tasks),
        sum(each.attempts == 1 for each in merged),
        progress.usage.input_tokens,
        progress.usage.cached_input_tokens,
        progress.usage.output_tokens,
        progress.usd,
        progress.credits,
        progress.unknown,
        state.round,
        _regressions(events),
        len(state.findings),
        sum(each.status is FindingStatus.OPEN for each in state.findings.values()),
        sum(event.kind == "task.conflicted" for event in events),
        _infrastructure(events),
        len(timeline.stalls),
        by_kind.get(BarKind.MODEL, 0.0),
        by_kind.get(BarKind.COMMAND, 0.0),
        by_kind.get(BarKind.LIMIT, 0.0),
        tuple(_agent_times(events, known)),
        forecast.usd[0] if forecast and forecast.usd else None,
        forecast.tokens[0] if forecast and forecast.tokens else None,
        contest_figures(state, events),
    )


def _regressions(events: Sequence[RunEvent]) -> int:
    seen = set()
    for event in events:
        failing = event.fields.get("failing")
        if event.kind != "gate.completed" or not isinstance(failing, list):
            continue
        number = number_field(event.fields, "round")
        for one in failing:
            if isinstance(one, dict) and one.get("as_before") is not True:
                seen.add((number, text_field(one, "command")))
    return len(seen)


def _infrastructure(events: Sequence[RunEvent]) -> int:
    return sum(
        event.kind == "run.broken_off"
        or (event.kind == "agent.finished" and text_field(event.fields, "outcome") in _INFRASTRUCTURE)
        for event in events
    )


def _agent_times(events: Sequence[RunEvent], clock: WorkTime) -> list[AgentTime]:
    """Return the agents that ended; one that continued after a resume counts from its first start."""
    began: dict[str, float] = {}
    found: list[AgentTime] = []
    for event in events:
        name = text_field(event.fields, "agent")
        if event.kind == "agent.started":
            began.setdefault(name, clock.at(event.at_seconds))
        elif event.kind == "agent.finished" and name in began:
            took = clock.at(event.at_seconds) - began.pop(name)
            found.append(AgentTime(text_field(event.fields, "role"), took))
    return found
