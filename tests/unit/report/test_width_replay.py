"""What other widths would have meant: the scheduler again, with recorded durations."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace

from codexteam.core.effects import AdvanceBranch, Awaited, CheckCandidate, Land, Prepare, RunGate, StackCandidate, Work
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptSucceeded,
    BranchMoved,
    CandidateAccepted,
    CandidateStacked,
    Event,
    GateFinished,
    IntegrationConflicted,
    Landed,
    Planned,
    Rules,
    RunPrepared,
    RunStarted,
    StopRequested,
    Verdict,
)
from codexteam.core.ids import CommitId, GateName, RunId, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.state import RunState
from codexteam.core.step import step
from codexteam.report.width_replay import replayed_widths

SECONDS = {Work: 10.0, CheckCandidate: 1.0, RunGate: 5.0}
RULES = Rules(max_threads=2, gates=(GateName.CI,), scout=False, document=False, release=False)


CHECK = (Acceptance("it passes", "pytest"),)


def answer_to(effect: Awaited) -> Event:
    match effect:
        case Prepare():
            return RunPrepared(CommitId("b" * 40))
        case Work(task_id, attempt):
            return AttemptSucceeded(task_id, attempt, CommitId("c" * 40), "done")
        case StackCandidate(task_id, attempt, number):
            return CandidateStacked(
                task_id, attempt, number, CommitId(f"{int(task_id[1:]) * 100 + attempt * 10 + number:040x}")
            )
        case CheckCandidate(task_id, attempt, number):
            return CandidateAccepted(task_id, attempt, number)
        case AdvanceBranch(commit, _, merges):
            return BranchMoved(commit, merges)
        case RunGate(number, gate, commit):
            return GateFinished(number, gate, commit, Verdict.SHIP, ran=1)
        case Land(commit):
            return Landed("refs/heads/x", commit)
        case _:
            raise AssertionError(effect)


def problem_of(state: RunState, effect: Awaited, problems: Mapping[str, "Problem"]) -> Event | None:
    kinds = {StackCandidate: IntegrationConflicted, CheckCandidate: AcceptanceFailed}
    if not isinstance(effect, StackCandidate | CheckCandidate):
        return None
    riders = effect.riders if isinstance(effect, CheckCandidate) else ()
    for name in (*riders, effect.task_id):
        problem = problems.get(name)
        if problem is not None and isinstance(problem, kinds[type(effect)]) and state.tasks[TaskId(name)].attempt == 1:
            return replace(problem, task_id=effect.task_id, number=effect.number)
    return None


Problem = AcceptanceFailed | IntegrationConflicted


def recorded(
    tasks: Sequence[Task], rules: Rules = RULES, problems: Mapping[str, Problem] | None = None
) -> tuple[RunState, list[tuple[float, Event]]]:
    """Return a run in which every kind of effect takes a fixed time, and its events with their seconds.

    What has a problem has it in its first attempt.
    """
    state = RunState(RunId("r"), "goal", rules)
    due: list[tuple[float, int, Event]] = [(0.0, 0, Planned(Plan("goal", tasks=tuple(tasks)))), (0.0, 1, RunStarted())]
    story: list[tuple[float, Event]] = []
    seen: set[str] = set()
    answers: dict[int, str] = {}
    while due:
        now, number, event = heapq.heappop(due)
        if answers.get(number, "") not in {"", *state.in_flight}:
            continue
        story.append((now, event))
        state, _ = step(state, event)
        for key, effect in state.in_flight.items():
            if key not in seen:
                seen.add(key)
                answer = problem_of(state, effect, problems or {}) or answer_to(effect)
                answers[len(seen) + 1] = key
                heapq.heappush(due, (now + SECONDS.get(type(effect), 0.0), len(seen) + 1, answer))
    return state, story


def independent(count: int) -> list[Task]:
    return [
        Task(TaskId(f"T{number}"), "x", paths=(f"{number}.py",), acceptance=CHECK) for number in range(1, count + 1)
    ]


def test_at_its_own_width_a_replay_takes_as_long_as_the_run() -> None:
    state, story = recorded(independent(6))

    assert state.result is not None
    replay = replayed_widths(state, story)
    assert replay.own is not None
    assert replay.own.seconds == story[-1][0]


def test_more_threads_help_as_far_as_tasks_can_run_at_once() -> None:
    replay = replayed_widths(*recorded(independent(6)))

    seconds = {width.threads: width.seconds for width in replay.widths}
    assert seconds[1] > seconds[2] > seconds[4] > seconds[8]
    # ten seconds of work, six merges checked at once, and the gate
    assert seconds[8] == 10.0 + 1.0 + 5.0


def test_where_decisions_are_limited_the_nearest_widths_are_replayed() -> None:
    state, story = recorded(independent(6))

    every = replayed_widths(state, story)
    some = replayed_widths(state, story, most=4 * len(story))
    assert len(every.widths) > len(some.widths) == 3
    assert set(some.widths) < set(every.widths)
    assert some.own == every.own


def test_a_run_too_long_to_be_replayed_in_time_says_where_it_is() -> None:
    state, story = recorded(independent(6))

    replay = replayed_widths(state, story, most=len(story))
    assert replay.widths == ()
    assert "codexteam report" in replay.problem


def test_work_that_was_sent_back_is_so_at_every_width() -> None:
    first_fails: dict[str, Problem] = {
        "T2": AcceptanceFailed(TaskId("T2"), 1, "1 failed"),
        "T4": IntegrationConflicted(TaskId("T4"), 1, (), ""),
    }
    state, story = recorded(independent(6), problems=first_fails)

    replay = replayed_widths(state, story)

    assert replay.problem == ""
    assert replay.own is not None
    assert replay.own.seconds == story[-1][0]
    assert [known.attempt for known in state.tasks.values()] == [1, 2, 1, 2, 1, 1]


def test_more_threads_help_nothing_where_tasks_wait_for_each_other() -> None:
    chain = [Task(TaskId("T1"), "a", paths=("a",)), Task(TaskId("T2"), "b", deps=(TaskId("T1"),), paths=("b",))]
    replay = replayed_widths(*recorded(chain))

    assert len({width.seconds for width in replay.widths}) == 1


def test_a_run_that_was_stopped_is_not_replayed() -> None:
    state, story = recorded(independent(2))

    replay = replayed_widths(state, [*story[:4], (story[3][0], StopRequested("by Ctrl-C")), *story[4:]])
    assert replay.widths == ()
    assert "steered" in replay.problem


def test_a_decision_that_nobody_had_asked_for_is_not_replayed() -> None:
    state, story = recorded(independent(2))

    replay = replayed_widths(state, [*story[:4], (story[3][0], Answered("findings", "waive F1"))])
    assert replay.widths == ()
    assert replay.problem
