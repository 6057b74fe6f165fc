"""What more or fewer threads would have meant: a run's decisions again, with the durations that were recorded.

The scheduler is the one that the run had, `core.step`; only `max_threads` is another. What is assumed: each agent, merge and
gate takes as long as it did, says what it said, and the services allow as many calls at once as are asked of them.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log2
from typing import Final

from codexteam.core.effects import (
    AdvanceBranch,
    AskPerson,
    Awaited,
    CheckCandidate,
    Effect,
    Finish,
    Land,
    RunGate,
    StackCandidate,
)
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    BranchMoved,
    BudgetRefused,
    CandidateAccepted,
    CandidateStacked,
    Continued,
    Event,
    GateFinished,
    IntegrationConflicted,
    Landed,
    MergeRefused,
    Planned,
    RunStarted,
)
from codexteam.core.ids import CommitId, JSONObject, TaskId
from codexteam.core.merge_train import merges_in
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.step import step
from codexteam.errors import CodexteamError

#: Decisions of one replay at most; no run comes near it.
_MOST_STEPS: Final = 50_000
#: Widths that are tried beside the run's own.
_WIDTHS: Final = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class ReplayedWidth:
    """A run at another width."""

    threads: int
    seconds: float
    is_own: bool = False
    """It is the width that the run had."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"threads": self.threads, "seconds": round(self.seconds, 3), "own": self.is_own}


@dataclass(frozen=True, slots=True)
class WidthReplay:
    """A run at several widths, or why there is nothing to say."""

    widths: tuple[ReplayedWidth, ...] = ()
    problem: str = ""

    @property
    def own(self) -> ReplayedWidth | None:
        """Return the replay at the run's own width."""
        return next((width for width in self.widths if width.is_own), None)

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"widths": [width.as_json() for width in self.widths], "problem": self.problem}


class _NotToReplayError(Exception):
    """What was recorded does not say how it would have been."""


@dataclass(slots=True)
class _Recorded:
    """What each effect answered, and how long it took."""

    answers: dict[str, tuple[Event, float]] = field(default_factory=dict)
    lags: dict[str, tuple[Event, float]] = field(default_factory=dict)
    """Item of the inbox to what a person said, and after how long."""
    given: Planned | None = None
    """The user's plan, which nobody was asked for."""
    problems: dict[tuple[TaskId, int], AcceptanceFailed | IntegrationConflicted | MergeRefused] = field(
        default_factory=dict
    )
    """Task and attempt to why its work was not merged."""
    began_seconds: float = 0.0
    """When the first decision was taken: until then sandboxes were made ready."""


def replayed_widths(
    state: RunState, recorded: Sequence[tuple[float, Event]], *, most: int | None = None
) -> WidthReplay:
    """Replay a run at several widths.

    Args:
        state: the run as it is; its rules are what it is replayed under.
        recorded: its events in order, each with the second of work at which it happened.
        most: decisions to repeat at most, about one an event and width; the widths nearest to the run's own come first.
            None is as many as it takes.
    """
    own = state.rules.max_threads
    if not any(known.phase is TaskPhase.MERGED for known in state.tasks.values()):
        return WidthReplay(problem="nothing was merged")
    fresh = RunState(state.run_id, state.goal, state.rules)
    widths = sorted({own, *(width for width in _WIDTHS if width <= max(4 * own, 2))})
    if most is not None:
        fitting = most // max(1, len(recorded)) - 1  # to read the events takes as long as one width
        if fitting < 1:
            return WidthReplay(problem="it takes a while for a run of this size, so that codexteam report has it")
        widths = sorted(sorted(widths, key=lambda width: abs(log2(width / max(1, own))))[:fitting])
    try:
        known = _read(fresh, recorded)
        return WidthReplay(tuple(ReplayedWidth(width, _replay(fresh, known, width), width == own) for width in widths))
    except _NotToReplayError as error:
        return WidthReplay(problem=str(error))
    except CodexteamError as error:  # the run was decided by other rules or by an older version
        return WidthReplay(problem=f"its decisions cannot be repeated: {error}")


def _read(fresh: RunState, recorded: Sequence[tuple[float, Event]]) -> _Recorded:
    """Follow what happened, for how long each effect was in flight."""
    found = _Recorded(began_seconds=recorded[0][0] if recorded else 0.0)
    state = fresh
    since: dict[str, float] = {}
    asked: dict[str, float] = {}
    for at, event in recorded:
        before = state
        state, effects = step(before, event)
        if isinstance(event, BudgetRefused):
            raise _NotToReplayError("a budget kept agents waiting, which a replay cannot repeat")
        done = [key for key in before.in_flight if key not in state.in_flight]
        if not done and not isinstance(event, RunStarted | Continued | Planned | Answered):
            raise _NotToReplayError(f"the run was steered meanwhile ({type(event).__name__})")
        # what fails in the merge train ends what ran on top of it as well, and what is merged what was overtaken
        trains = (key for key in done if isinstance(before.in_flight[key], StackCandidate | CheckCandidate))
        beside = {key for key in trains if key != _key_of(event)} if len(done) > 1 else set()
        answered = next((key for key in done if key not in beside), "")
        if answered:
            found.answers[answered] = (event, at - since.get(answered, at))
        elif isinstance(event, Planned):
            found.given = event
        elif isinstance(event, Answered):
            if event.item not in asked:
                raise _NotToReplayError("a person decided what nobody had asked")
            found.lags[event.item] = (event, at - asked.get(event.item, at))
        for key in state.in_flight:
            since.setdefault(key, at)
        for effect in effects:
            if isinstance(effect, AskPerson):
                asked[effect.item] = at
    found.problems = _problems([event for _, event in recorded])
    return found


def _problems(
    events: Sequence[Event],
) -> dict[tuple[TaskId, int], AcceptanceFailed | IntegrationConflicted | MergeRefused]:
    merged = {(merge.task_id, merge.attempt) for merge in merges_in(events)}
    return {
        (event.task_id, event.attempt): event
        for event in events
        if isinstance(event, AcceptanceFailed | IntegrationConflicted | MergeRefused)
        and (event.task_id, event.attempt) not in merged
    }


def _key_of(event: Event) -> str:
    match event:
        case AcceptanceFailed(task_id, attempt, number=number) | CandidateAccepted(task_id, attempt, number):
            return f"check.{task_id}.{attempt}.{number}"
        case IntegrationConflicted(task_id, attempt, number=number) | CandidateStacked(task_id, attempt, number):
            return f"stack.{task_id}.{attempt}.{number}"
        case _:
            return ""


def _replay(fresh: RunState, known: _Recorded, threads: int) -> float:
    """Return how long the run would have taken.

    Raises:
        _NotToReplayError: something would have been done that never was.
    """
    state = replace(fresh, rules=replace(fresh.rules, max_threads=threads))
    begun = known.began_seconds
    events: list[tuple[float, int, Event]] = [(begun, 1, RunStarted())]
    if known.given is not None:  # a plan is given before the run starts
        events.insert(0, (begun, 0, known.given))
    count, now, flying = 1, begun, set[str]()
    answered: dict[int, str] = {}
    for _ in range(_MOST_STEPS):
        if not events:
            return now
        due, number, event = heapq.heappop(events)
        if answered.get(number, "") not in {"", *state.in_flight}:
            continue  # a decision took it back meanwhile
        now = due
        state, effects = step(state, event)
        flying &= set(state.in_flight)
        for key, effect in state.in_flight.items():
            if key not in flying:
                flying.add(key)
                answer, seconds = _answer_to(state, effect, known)
                count += 1
                answered[count] = key
                heapq.heappush(events, (now + seconds, count, answer))
        for begun_effect in effects:
            for answer, seconds in _said(begun_effect, known, resumes=bool(events)):
                count += 1
                heapq.heappush(events, (now + seconds, count, answer))
    raise _NotToReplayError("it would not have come to an end")


def _said(effect: Effect, known: _Recorded, *, resumes: bool) -> list[tuple[Event, float]]:
    """Return what a person said to a question, or what makes a session that waited for it continue."""
    match effect:
        case AskPerson(item) if item in known.lags:
            return [known.lags[item]]
        case Finish() if resumes:
            # what is still to come are answers of people: after the last of them, the run is resumed
            return [(Continued(), max(seconds for _, seconds in known.lags.values()))] if known.lags else []
        case _:
            return []


def _answer_to(state: RunState, effect: Awaited, known: _Recorded) -> tuple[Event, float]:
    if effect.key in known.answers:
        event, seconds = known.answers[effect.key]
    elif said := [each for each in known.answers.values() if _would_answer(each[0], effect)]:
        event, seconds = said[-1]
    else:
        raise _NotToReplayError(f"it would have come to {effect.key}, which never ran")
    return _said_of(state, effect, event, known), max(0.0, seconds)


def _said_of(state: RunState, effect: Awaited, event: Event, known: _Recorded) -> Event:
    """Return an answer as it would be: at another width trains and batches are other ones, and with them the commits.

    What was merged in the end merges, and what was not has its problem, wherever in the train it stands.
    """
    match effect, event:
        case RunGate(), GateFinished():
            return replace(event, round=effect.round, commit=effect.commit)
        case Land(), Landed():
            return replace(event, commit=effect.commit)
        case StackCandidate(task_id, attempt, number), _:
            problem = known.problems.get((task_id, attempt))
            if isinstance(problem, IntegrationConflicted):
                return replace(problem, number=number)
            return CandidateStacked(task_id, attempt, number, CommitId(f"{task_id}.{attempt}.{number}"))
        case CheckCandidate(task_id, attempt, number), _:
            tried = [(name, state.tasks[name].attempt) for name in (*effect.riders, task_id)]
            failed = any(isinstance(known.problems.get(each), AcceptanceFailed) for each in tried)
            said = AcceptanceFailed(task_id, attempt, "", number)
            return said if failed else CandidateAccepted(task_id, attempt, number)
        case AdvanceBranch(commit, _, merges), _:
            for merge in merges:
                problem = known.problems.get((merge.task_id, merge.attempt))
                if isinstance(problem, MergeRefused):
                    return replace(problem, number=merge.number)
            return BranchMoved(commit, merges)
        case _:
            return event


def _would_answer(event: Event, effect: Awaited) -> bool:
    """Whether something that was said of another commit stands for what would be said of this one."""
    match effect:
        case RunGate(gate=gate):
            return isinstance(event, GateFinished) and event.gate is gate
        case Land():
            return isinstance(event, Landed)
        case StackCandidate():
            return isinstance(event, CandidateStacked | IntegrationConflicted)
        case CheckCandidate():
            return isinstance(event, CandidateAccepted | AcceptanceFailed)
        case AdvanceBranch():
            return isinstance(event, BranchMoved)
        case _:
            return False
