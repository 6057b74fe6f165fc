"""The points of a run's history at which another one can begin: each event after which the run was not over.

A run's first state is kept beside its events, so that the state after each of them is found by taking them in again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codexteam.app.project import CLEANED, Project, is_review, pick_run, reading_store, state_of
from codexteam.core.effects import Result
from codexteam.core.events import Forked, PlanEdited, Planned
from codexteam.core.ids import JSONObject, RunId, TaskId
from codexteam.core.state import RunPhase, RunState, TaskPhase
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, decode_state
from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError, StoreError, UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store, StoredEvent
from codexteam.report.progress import describe

#: The point after the newest plan.
PLAN = "plan"
#: Results after which nothing is left to do.
_DONE = frozenset({Result.GREEN, Result.ANSWERED})
#: What a list of points names: what merges, plans and judges, and not every step of it.
_LISTED = frozenset(
    {
        "run.prepared",
        "scouts.completed",
        "plan.created",
        "plan.edited",
        "task.merged",
        "task.failed",
        "task.attempt_failed",
        "gate.completed",
        "extra.merged",
        "documentation.completed",
        "person.answered",
        "budget.spent",
        "run.stopping",
        "run.continued",
        "run.finished",
    }
)


def first_state_mark(run_id: RunId) -> tuple[str, str]:
    """Return the space and key in the store of the state that a run's first event meets."""
    return f"{run_id}/beginning", "state"


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """A moment of a run, by its event."""

    event: int
    at_seconds: float
    words: str
    """What happened, in a line; foreign text."""
    names: tuple[str, ...]
    """What it may be called beside its number."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"type": "point", "event": self.event, "at": self.at_seconds, "what": self.words, "names": [*self.names]}


@dataclass(frozen=True, slots=True)
class ForkPoints:
    """Those of a run that are worth naming, in order."""

    run_id: RunId
    points: tuple[ForkPoint, ...]
    last: int
    """The run's newest event."""


async def points_of(project: Project, name: str | None) -> ForkPoints:
    """Return the points of a run that people ask for.

    Raises:
        UsageError: there is no such run, or none can begin from it.
    """
    async with reading_store(project) as store:
        record = await pick_run(store, name)
        refuse_source(record)
        events = await store.events(record.run_id)
        words = _words_by_event(await store.facts(record.run_id))
        start = await first_state(store, record, events)
        found = [
            ForkPoint(moment.number, moment.at_seconds, words[moment.number], tuple(moment.names))
            for moment in moments(start, events)
            if moment.number in words and not why_not(moment.after)
        ]
    return ForkPoints(record.run_id, tuple(found), len(events))


def _words_by_event(facts: Sequence[RunEvent]) -> dict[int, str]:
    words: dict[int, list[str]] = {}
    for fact in facts:
        number = fact.fields.get("event")
        if isinstance(number, int) and fact.kind in _LISTED and (line := describe(fact)):
            words.setdefault(number, []).append(line)
    return {number: "; ".join(lines) for number, lines in words.items()}


def refuse_source(record: RunRecord) -> None:
    """Refuse runs that no other run can begin from.

    Raises:
        UsageError: it is a review, or its work was cleaned away.
    """
    if is_review(record):
        raise UsageError(
            f"{record.run_id} is a review: it has no plan and no work that could take another way",
            hint="codexteam runs lists the others",
        )
    if record.state == CLEANED:
        raise UsageError(
            f"run {record.run_id} was cleaned: the commits that another run would begin from are gone",
            hint="codexteam salvage lists what is left of its work",
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """A run right after one of its events."""

    number: int
    at_seconds: float
    before: RunState
    after: RunState
    is_plan: bool

    @property
    def merged(self) -> Iterator[TaskId]:
        """Return the tasks that it merged."""
        for task_id, known in self.after.tasks.items():
            was = self.before.tasks.get(task_id)
            if known.phase is TaskPhase.MERGED and (was is None or was.phase is not TaskPhase.MERGED):
                yield task_id

    @property
    def names(self) -> Iterator[str]:
        """Return what people may call it."""
        if self.is_plan:
            yield PLAN
        yield from self.merged


def moments(start: RunState, events: Sequence[StoredEvent]) -> Iterator[Moment]:
    """Take a run's events in again, one after the other.

    Raises:
        StoreError: one does not follow.
    """
    state = start
    for stored in events:
        event = decode_event(stored.kind, stored.payload)
        try:
            after, _ = step(state, event)
        except CodexteamError as error:
            raise StoreError(
                f"run {start.run_id}: event {stored.sequence} ({stored.kind}) does not follow: {error}"
            ) from error
        is_plan = isinstance(event, PlanEdited) or (isinstance(event, Planned) and bool(event.plan.tasks))
        yield Moment(stored.sequence, stored.at_seconds, state, after, is_plan)
        state = after


def forked_state(moment: Moment, run_id: RunId, event: Forked) -> RunState:
    """Return the state of a run that begins at a moment of another one, with the event that says so."""
    return step(replace(moment.after, run_id=run_id), event)[0]


async def first_state(store: Store, record: RunRecord, events: Sequence[StoredEvent]) -> RunState:
    """Return the state that a run's first event met.

    Raises:
        StoreError: an older version did not keep it, and it does not follow from what is stored.
    """
    kept = await store.get(*first_state_mark(record.run_id))
    if kept is not None:
        return decode_state(kept)
    # an older version kept only the newest state: where all events lead from its limits to it, these were the first ones
    newest = await state_of(store, record)
    start = RunState(record.run_id, record.goal, newest.rules)
    problem = "an older version of codexteam began it, and did not keep the limits that it began with"
    try:
        last = start
        for moment in moments(start, events):
            last = moment.after
    except StoreError as error:
        raise StoreError(f"run {record.run_id}: {problem}", hint=_BEGIN_ANEW) from error
    if last != newest:
        raise StoreError(f"run {record.run_id}: {problem}", hint=_BEGIN_ANEW)
    return start


_BEGIN_ANEW = 'begin a new run: codexteam run "goal", or run --plan plan.md with the tasks that are left'


def why_not(state: RunState) -> str:
    """Say why no run can begin from a state; empty where one can."""
    if state.phase is RunPhase.NEW:
        return "the run had not begun"
    if state.result in _DONE:
        return f"the run was finished ({state.result.value.replace('_', ' ')}), and nothing was left to do"
    return ""


def find_point(start: RunState, events: Sequence[StoredEvent], point: str) -> Moment:
    """Return the moment that a person names: the number of an event, `plan`, or a task that is merged then.

    Raises:
        UsageError: there is none of that name, or none from which a run can begin; says which there are.
    """
    run_id = start.run_id
    wanted = point.strip()
    hint = f"codexteam fork {run_id} lists the points"
    found: Moment | None = None
    if wanted.isdecimal():
        number = int(wanted)
        if not 1 <= number <= len(events):
            raise UsageError(f"run {run_id} has no event {number}: its events are 1 to {len(events)}", hint=hint)
        found = next(moment for moment in moments(start, events) if moment.number == number)
    else:
        for moment in moments(start, events):
            if wanted.casefold() in {name.casefold() for name in moment.names}:
                found = moment
        if found is None:
            raise UsageError(f"run {run_id}: {_unknown(wanted, start, events)}", hint=hint)
    if why := why_not(found.after):
        raise UsageError(f"run {run_id}, event {found.number}: {why}", hint=hint)
    return found


def _unknown(wanted: str, start: RunState, events: Sequence[StoredEvent]) -> str:
    last = start
    for moment in moments(start, events):
        last = moment.after
    by_name = {task_id.casefold(): task_id for task_id in last.tasks}
    if (task_id := by_name.get(wanted.casefold())) is not None:
        return f"{task_id} was never merged, so there is no point after its merge"
    return f"{clean_line(wanted)!r} is not a point: give the number of an event, {PLAN}, or a task that was merged"
