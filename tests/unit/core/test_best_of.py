"""Several attempts at a hard task at once: which one is taken, and that nothing is lost, overspent or done twice."""

import random
from dataclasses import replace

import pytest

from codexteam.core.budget_amounts import Unit
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.contest import ChosenBy, ContenderPhase, Contest, Trial, UnseenTests
from codexteam.core.effects import (
    Clarify,
    IntegrateExtra,
    JudgeAttempts,
    Result,
    StackCandidate,
    TryAttempt,
    Work,
    WriteHiddenTests,
)
from codexteam.core.events import (
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptsJudged,
    AttemptSucceeded,
    AttemptTried,
    BudgetRefused,
    Continued,
    HiddenTestsWritten,
    IntegrationConflicted,
    RunStarted,
    StopRequested,
)
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_graph import OwedTests, Task, TaskRisk
from codexteam.core.state import Rules, TaskPhase, TaskState
from codexteam.core.steering_events import DropRequested, MessageLeft, RetryRequested
from codexteam.core.stored_state import decode_event, decode_state, encode_event, encode_state
from codexteam.errors import UsageError
from tests.unit.core.run_world import World, tasks

_T1 = TaskId("T1")
_GATES = (GateName.CI, GateName.QA)
_RULES = Rules(gates=_GATES, scout=False, document=False, release=False, best_of=3, max_threads=8)
_FAILS = Trial(("pytest",), lines=10, evidence="1 failed")


def _risky(*specs: str, tests: OwedTests = OwedTests.REQUIRED) -> tuple[Task, ...]:
    return tuple(replace(task, risk=TaskRisk.HIGH, tests=tests) for task in tasks(*specs))


def _begun(rules: Rules = _RULES, plan: tuple[Task, ...] | None = None) -> World:
    """Bring a world to where attempts are in flight."""
    world = World(_risky("T1") if plan is None else plan, rules)
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return world


def _of(world: World, kind: type) -> list[object]:
    return [effect for effect in world.state.in_flight.values() if isinstance(effect, kind)]


def _attempts(world: World) -> list[int]:
    return [effect.attempt for effect in world.state.in_flight.values() if isinstance(effect, Work)]


def _task(world: World) -> TaskState:
    return world.state.tasks[_T1]


def _contest(world: World) -> Contest:
    contest = _task(world).contest
    assert contest is not None
    return contest


def _hand_in(world: World, attempt: int) -> None:
    world.send(AttemptSucceeded(_T1, attempt, world.commit(), f"done by {attempt}", later=(f"idea {attempt}",)))


def _no_tests(world: World) -> None:
    world.send(HiddenTestsWritten(_T1, 1, UnseenTests(note="none")))


def _try(world: World, attempt: int, trial: Trial) -> None:
    world.send(AttemptTried(_T1, attempt, trial))


def test_it_is_off_by_default_and_for_tasks_that_are_not_hard() -> None:
    assert _attempts(_begun(replace(_RULES, best_of=Rules().best_of))) == [1]
    assert _attempts(_begun(plan=tasks("T1"))) == [1]
    assert _attempts(_begun(replace(_RULES, best_of_tasks=("failed",)))) == [1]


def test_a_risky_task_is_tried_several_times_at_once_beside_qa() -> None:
    world = _begun()

    places = [(effect.attempt, effect.place) for effect in world.state.in_flight.values() if isinstance(effect, Work)]
    assert places == [(1, 1), (2, 2), (3, 3)]
    assert len(_of(world, WriteHiddenTests)) == 1


def test_of_a_task_that_failed_once_only_the_first_continues_it() -> None:
    world = _begun(plan=tasks("T1"))
    world.send(AttemptFailed(_T1, 1, "tests fail", "E1"))

    works = [effect for effect in world.state.in_flight.values() if isinstance(effect, Work)]
    assert [(work.attempt, work.restore_attempt) for work in works] == [(2, 1), (3, None), (4, None)]
    assert all("tests fail" in work.evidence for work in works)


def test_the_first_that_passes_wins_and_the_others_end() -> None:
    world = _begun()
    _no_tests(world)
    _hand_in(world, 2)
    _try(world, 2, Trial(lines=9))

    contest = _contest(world)
    assert (contest.winner, contest.chosen) == (2, ChosenBy.PASSED)
    assert _attempts(world) == []
    assert [each.phase for each in contest.contenders] == [
        ContenderPhase.WITHDRAWN,
        ContenderPhase.TRIED,
        ContenderPhase.WITHDRAWN,
    ]
    assert (_task(world).attempt, _task(world).attempts, _task(world).summary) == (2, 3, "done by 2")
    assert world.state.later == ("idea 2",)
    assert world.run().result is Result.GREEN


def test_no_work_is_tried_before_qa_has_written_its_tests() -> None:
    world = _begun()
    _hand_in(world, 1)
    assert _of(world, TryAttempt) == []

    tests = UnseenTests(world.commit(), ("test_t1.py",), "pytest test_t1.py")
    world.send(HiddenTestsWritten(_T1, 1, tests))

    [trial] = [effect for effect in world.state.in_flight.values() if isinstance(effect, TryAttempt)]
    assert (trial.attempt, trial.tests) == (1, tests)
    _try(world, 1, Trial())
    world.run()
    extras = [effect for effect in world.effects if isinstance(effect, IntegrateExtra)]
    assert ("qa.T1", tests.commit) in [(extra.name, extra.commit) for extra in extras], "they are merged as well"


@pytest.mark.parametrize(
    ("rules", "plan"),
    [
        (replace(_RULES, gates=(GateName.CI,)), _risky("T1")),
        (_RULES, _risky("T1", tests=OwedTests.NONE)),
    ],
)
def test_without_qa_or_tests_that_are_owed_there_are_no_hidden_ones(rules: Rules, plan: tuple[Task, ...]) -> None:
    world = _begun(rules, plan)
    assert _of(world, WriteHiddenTests) == []
    _hand_in(world, 1)
    assert len(_of(world, TryAttempt)) == 1


@pytest.mark.parametrize(
    ("trials", "winner", "by"),
    [
        ((Trial(hidden_failed=2), Trial(hidden_failed=1), Trial(hidden_failed=3)), 2, ChosenBy.EVIDENCE),
        ((_FAILS, Trial(hidden_failed=9), Trial(hits=1)), 3, ChosenBy.EVIDENCE),
        ((Trial(hits=1, lines=100), Trial(hits=1, lines=50), Trial(hits=2, lines=1)), 2, ChosenBy.SIZE),
        ((Trial(hits=1, lines=100), Trial(hits=1, lines=105), Trial(hits=1, lines=900)), 0, ChosenBy.JUDGE),
    ],
)
def test_where_none_passes_it_is_by_evidence_then_size_then_a_judge(
    trials: tuple[Trial, ...], winner: int, by: ChosenBy
) -> None:
    world = _begun()
    _no_tests(world)
    for attempt in (1, 2, 3):
        _hand_in(world, attempt)
    for attempt, trial in enumerate(trials, 1):
        _try(world, attempt, trial)

    if winner:
        assert (_contest(world).winner, _contest(world).chosen) == (winner, by)
        return
    [judge] = [effect for effect in world.state.in_flight.values() if isinstance(effect, JudgeAttempts)]
    assert [each.attempt for each in judge.contenders] == [1, 2]
    world.send(AttemptsJudged(_T1, 1, 2, "it reads better"))
    assert (_contest(world).winner, _contest(world).chosen, _contest(world).why) == (2, by, "it reads better")


def test_without_a_judges_word_the_smallest_change_wins() -> None:
    world = _begun()
    _no_tests(world)
    for attempt, lines in ((1, 12), (2, 11), (3, 13)):
        _hand_in(world, attempt)
        _try(world, attempt, Trial(hits=1, lines=lines))
    world.send(BudgetRefused("judge.T1.1", "too little", BudgetScope("run", "", Unit.TOKENS, 1, 2, 3)))

    assert (_contest(world).winner, _contest(world).chosen) == (2, ChosenBy.SIZE)


def test_where_acceptance_fails_of_all_the_best_is_continued() -> None:
    world = _begun()
    _no_tests(world)
    for attempt, lines in ((1, 30), (2, 10), (3, 200)):
        _hand_in(world, attempt)
        _try(world, attempt, replace(_FAILS, lines=lines))

    assert _contest(world).chosen is ChosenBy.NOBODY
    [work] = [effect for effect in world.state.in_flight.values() if isinstance(effect, Work)]
    assert (work.attempt, work.restore_attempt, work.place) == (4, 2, 0)
    assert "1 failed" in work.evidence
    assert _task(world).failures == 1


def test_who_fails_or_asks_is_out_while_there_are_others() -> None:
    world = _begun()
    _no_tests(world)
    world.send(AttemptFailed(_T1, 1, "tests fail", "E1"))
    world.send(AttemptAsked(_T1, 2, "which?"))
    assert _task(world).phase is TaskPhase.WORKING
    _hand_in(world, 3)
    _try(world, 3, Trial(hits=1))

    assert (_contest(world).winner, _contest(world).chosen) == (3, ChosenBy.EVIDENCE)
    assert [each.reason for each in _contest(world).contenders] == ["tests fail", "it asked: which?", ""]
    assert _task(world).failures == 0


def test_the_last_one_is_an_attempt_like_any_other() -> None:
    world = _begun()
    for attempt in (1, 2):
        world.send(AttemptFailed(_T1, attempt, f"no {attempt}", "E"))
    world.send(AttemptAsked(_T1, 3, "which?"))

    assert [(effect.task_id, effect.attempt) for effect in _of(world, Clarify) if isinstance(effect, Clarify)] == [
        (_T1, 3)
    ]
    assert _task(world).phase is TaskPhase.ASKING
    assert "no 1" in _task(world).evidence
    assert "no 2" in _task(world).evidence


def test_all_failing_is_one_failure_of_the_task() -> None:
    world = _begun()
    for attempt in (1, 2, 3):
        world.send(AttemptFailed(_T1, attempt, f"no {attempt}", "E"))

    assert _task(world).failures == 1
    assert _attempts(world) == [4]


def test_who_a_budget_refuses_is_out_and_the_last_one_waits_for_budget() -> None:
    world = _begun(replace(_RULES, best_of=2))
    scope = BudgetScope("run", "", Unit.TOKENS, 1_000, 9_000, 1_000)
    world.send(BudgetRefused("hidden-tests.T1.1", "too little", scope))
    world.send(BudgetRefused("work.T1.1", "too little", scope))
    assert not world.state.shelved
    world.send(BudgetRefused("work.T1.2", "too little", scope))

    assert [*world.state.shelved] == ["work.T1.2"]
    assert world.finished is not None
    assert world.finished.result is Result.LIMIT
    world.send(Continued())
    assert _attempts(world) == [2]


def test_threads_hold_and_what_a_first_attempt_settles_is_not_begun() -> None:
    world = _begun(replace(_RULES, max_threads=1))
    assert _attempts(world) == [1]
    _hand_in(world, 1)
    assert len(_of(world, WriteHiddenTests)) == 1
    _no_tests(world)
    assert _attempts(world) == [2]
    _try(world, 1, Trial())

    assert _contest(world).winner == 1
    assert [each.attempt for each in _contest(world).contenders] == [1, 2, 0]


def test_contenders_that_a_stop_ended_begin_anew_from_where_they_were() -> None:
    world = _begun(replace(_RULES, best_of=2))
    world.send(StopRequested("Ctrl-C"))
    world.send(HiddenTestsWritten(_T1, 1, UnseenTests()))
    _hand_in(world, 1)
    world.send(AttemptFailed(_T1, 2, "stopped"))
    assert world.finished is not None
    assert world.finished.result is Result.INTERRUPTED

    world.finished = None
    world.send(Continued())

    [work] = [effect for effect in world.state.in_flight.values() if isinstance(effect, Work)]
    assert (work.attempt, work.restore_attempt, work.place) == (3, 2, 2)
    assert len(_of(world, TryAttempt)) == 1


def test_a_person_may_have_the_task_dropped_or_tried_again_meanwhile() -> None:
    world = _begun(plan=_risky("T1", "T2"))
    world.send(DropRequested(_T1))
    assert {effect.task_id for effect in world.state.in_flight.values() if isinstance(effect, Work)} == {"T2"}

    world = _begun()
    world.send(RetryRequested(_T1))
    assert _attempts(world) == [4, 5, 6]


def test_what_another_model_refuses_for_good_does_not_end_the_task() -> None:
    world = _begun()
    for attempt in (1, 2):
        world.send(AttemptFailed(_T1, attempt, "tests fail", "E"))
    world.send(AttemptFailed(_T1, 3, "its model refuses the request", "E", final=True))
    assert (_task(world).phase, _task(world).failures, _attempts(world)) == (TaskPhase.WORKING, 1, [4])

    world = _begun()
    for attempt in (3, 2):
        world.send(AttemptFailed(_T1, attempt, "tests fail", "E"))
    world.send(AttemptFailed(_T1, 1, "its model refuses the request", "E", final=True))
    assert _task(world).phase is TaskPhase.FAILED


def test_who_changed_nothing_is_not_the_smallest_change() -> None:
    world = _begun(replace(_RULES, best_of=2))
    _no_tests(world)
    world.send(AttemptSucceeded(_T1, 1, None, "there is nothing to do"))
    _hand_in(world, 2)
    _try(world, 1, Trial(hidden_failed=1))
    _try(world, 2, Trial(hidden_failed=1, lines=40))
    assert (_contest(world).winner, _contest(world).chosen) == (2, ChosenBy.EVIDENCE)


def test_what_is_said_when_all_have_handed_in_is_refused() -> None:
    world = _begun(replace(_RULES, best_of=2))
    _no_tests(world)
    _hand_in(world, 1)
    world.send(MessageLeft("T1", "use decimal"))
    _hand_in(world, 2)
    with pytest.raises(UsageError, match="nobody would read it"):
        world.send(MessageLeft("T1", "and no floats"))


def test_hidden_tests_are_merged_behind_the_work_that_passed_them() -> None:
    world = _begun(replace(_RULES, approve=("merge",)))
    world.send(HiddenTestsWritten(_T1, 1, UnseenTests(world.commit(), ("tests/test_x.py",), "pytest tests/test_x.py")))
    _hand_in(world, 1)
    _try(world, 1, Trial(lines=3))
    assert _task(world).phase is TaskPhase.ON_HOLD
    assert not _of(world, IntegrateExtra)

    world.finished = None  # the session waited for a person
    world.send(Answered("merge.T1.1", "yes"))
    world.send(Continued())
    [stack] = _of(world, StackCandidate)
    assert isinstance(stack, StackCandidate)
    world.send(IntegrationConflicted(_T1, 1, ("a.py",), "conflict", stack.number))
    assert not _of(world, IntegrateExtra)

    finish = world.run()
    while finish.result is Result.WAITING:
        finish = world.go_on(person=lambda item: Answered(item, "yes"))
    assert finish.result is Result.GREEN
    merged = [effect.name for effect in world.effects if isinstance(effect, IntegrateExtra)]
    assert merged.count("qa.T1") == 1


@pytest.mark.parametrize("seed", range(24))
def test_any_luck_order_and_crashes_end_and_replay_alike(seed: int) -> None:
    luck = random.Random(seed)
    plan = (*_risky("T1", "T2", "T3:T1"), *tasks("T4", "T5:T2"))
    rules = replace(_RULES, max_threads=luck.choice([1, 2, 4, 9]), best_of=luck.choice([2, 3]), on_task_budget="ask")
    trouble = luck.choice([0, 20, 60])
    crashes = iter([luck.randrange(10) == 0 for _ in range(30)])
    world = World(
        plan,
        rules,
        luck=lambda _, choices: luck.randrange(choices) if luck.randrange(100) < trouble else 0,
        pick=luck.randrange,
        crash=lambda: next(crashes, False),
    )
    finish = world.run()
    sessions = 0
    while finish.result is not Result.GREEN and sessions < 2:
        finish = world.go_on(person=lambda item: Answered(item, "yes"))
        sessions += 1

    assert world.refused or world.most_working <= rules.max_threads
    replayed = World(plan, rules)
    for number, event in enumerate(world.history):
        replayed.send(decode_event(*encode_event(event)))
        if replayed.state.contested and number % 5 == 0:
            assert decode_state(encode_state(replayed.state)) == replayed.state
    assert replayed.state == world.state
    merged = [known for known in world.state.tasks.values() if known.phase is TaskPhase.MERGED and known.contest]
    for known in merged:
        assert known.contest is not None
        assert not known.contest.is_open
