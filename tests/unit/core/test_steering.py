"""What people ask of a run's tasks: taken in where it makes sense, refused with what does, and nothing done is lost."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.core.budget_amounts import Unit
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.budget_text import TaskBudget
from codexteam.core.effects import MakePlan, Replan, Result, Work
from codexteam.core.events import (
    Answered,
    AttemptFailed,
    AttemptSucceeded,
    BudgetRefused,
    Continued,
    Event,
    GateFinished,
    PauseRequested,
    Planned,
    RunPrepared,
    RunStarted,
    StopRequested,
    Verdict,
)
from codexteam.core.facts import story
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import GateName, RunId, TaskId
from codexteam.core.plan_graph import Plan, Task, graph_of
from codexteam.core.state import Rules, RunState, TaskPhase
from codexteam.core.steering_events import (
    PLANNER,
    AddRequested,
    DropRequested,
    FeedbackGiven,
    MessageLeft,
    PriorityRequested,
    RetryRequested,
    RunBudgetSet,
    Steering,
    TaskBudgetSet,
)
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, decode_state, encode_event, encode_state
from codexteam.errors import PlanError, UsageError
from tests.examples import examples
from tests.unit.core.run_world import World, tasks

_RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False, max_attempts=1)
_T1, _T2, _T3 = (TaskId(f"T{number}") for number in (1, 2, 3))


def _begun(*specs: str, rules: Rules = _RULES) -> World:
    """Return a run at work on a plan."""
    world = World(tasks(*specs), rules)
    world.send(RunStarted())
    world.send(RunPrepared(world.commit()))
    world.send(Planned(Plan("goal", tasks=world.tasks)))
    return world


def _phases(world: World) -> Mapping[str, str]:
    return {str(task_id): known.phase.value for task_id, known in world.state.tasks.items()}


def _work(world: World, task_id: str) -> Work:
    return next(e for e in world.state.in_flight.values() if isinstance(e, Work) and e.task_id == task_id)


def _failed(world: World, task_id: str) -> None:
    world.send(AttemptFailed(TaskId(task_id), _work(world, task_id).attempt, "no", "E"))


def _handed_in(world: World, task_id: str) -> None:
    world.send(AttemptSucceeded(TaskId(task_id), _work(world, task_id).attempt, world.commit(), "done"))


def _facts(world: World, event: Event) -> list[str]:
    before = world.state
    effects = world.send(event)
    return [kind for kind, _ in story(event, before, world.state, effects)]


# messages


def test_a_message_is_for_the_agent_at_work_and_for_every_attempt_after_it() -> None:
    world = _begun("T1", rules=replace(_RULES, max_attempts=3))
    world.send(MessageLeft("T1", "use tabs"))
    known = world.state.tasks[_T1]
    assert known.said[known.heard :] == ("use tabs",)

    _failed(world, "T1")
    assert "The user says: use tabs" in _work(world, "T1").evidence
    assert world.state.tasks[_T1].heard == 1, "the prompt has it"


def test_a_message_to_a_task_that_waits_is_in_its_first_prompt() -> None:
    world = _begun("T1", "T2:T1")
    world.send(MessageLeft("T2", "short names"))
    _handed_in(world, "T1")
    while not any(isinstance(e, Work) for e in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    assert _work(world, "T2").evidence == "The user says: short names"


def test_a_message_that_nobody_would_read_is_refused_with_what_to_do() -> None:
    world = _begun("T1", "T2")
    world.send(PauseRequested())
    _handed_in(world, "T1")
    with pytest.raises(UsageError, match="has handed in its work"):
        world.send(MessageLeft("T1", "too late"))
    with pytest.raises(UsageError, match="there is no task T9; there are T1, T2"):
        world.send(MessageLeft("T9", "who?"))
    world.send(DropRequested(_T2))
    with pytest.raises(UsageError, match="T2 is dropped") as error:
        world.send(MessageLeft("T2", "hello"))
    assert error.value.hint.startswith("codexteam retry T2")


def test_what_the_planner_is_told_before_it_plans_is_in_its_prompt() -> None:
    world = World((), replace(_RULES, scout=True))
    world.send(RunStarted())
    world.send(MessageLeft(PLANNER, "three tasks at most"))
    while not any(isinstance(e, MakePlan) for e in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    plan = next(e for e in world.state.in_flight.values() if isinstance(e, MakePlan))
    assert plan.feedback == "The user says: three tasks at most"

    world.send(MessageLeft(PLANNER, "and no new module"))
    assert world.state.planner_mail == ("and no new module",)


def test_what_the_planner_is_told_later_is_in_the_next_replan() -> None:
    world = _begun("T1")
    world.send(MessageLeft(PLANNER, "fix it in the parser"))
    _handed_in(world, "T1")
    found = (Finding("wrong", "detail", Severity.MUST_FIX, Category.CORRECTNESS, gate=GateName.CI),)
    while world.state.judging is None:
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    judging = world.state.judging
    world.send(GateFinished(judging.round, GateName.CI, judging.commit, Verdict.BLOCK, found, ran=1))

    replan = next(e for e in world.state.in_flight.values() if isinstance(e, Replan))
    assert replan.said == ("fix it in the parser",)
    assert world.state.planner_notes == ()


# retry


def test_a_failed_task_is_tried_again_by_another_model() -> None:
    world = _begun("T1", "T2:T1")
    _failed(world, "T1")
    assert _phases(world) == {"T1": "failed", "T2": "blocked"}
    world.finished = None
    facts = _facts(world, RetryRequested(_T1, "gpt-large", "high"))

    assert {"task.retried", "task.unblocked"} <= {*facts}
    known = world.state.tasks[_T1]
    assert (known.model, known.model_effort, known.failures, known.restore_attempt) == ("gpt-large", "high", 0, 1)
    world.send(Continued())
    assert _work(world, "T1").attempt == 2
    assert world.run().result is Result.GREEN


def test_a_retry_ends_the_attempt_at_work_and_continues_from_its_work() -> None:
    world = _begun("T1")
    world.send(RetryRequested(_T1))

    work = _work(world, "T1")
    assert (work.attempt, work.restore_attempt) == (2, 1)
    assert "work.T1.1" not in world.state.in_flight


def test_a_retry_takes_a_dropped_task_up_again() -> None:
    world = _begun("T1", "T2")
    world.send(DropRequested(_T1))
    assert "work.T1.1" not in world.state.in_flight
    world.send(RetryRequested(_T1))

    work = _work(world, "T1")
    assert (work.attempt, work.restore_attempt) == (2, 1), "what was written before it was dropped is continued"


def test_a_task_that_was_dropped_is_taken_up_again_after_the_run_was_green() -> None:
    world = _begun("T1", "T2")
    world.send(DropRequested(_T1))
    assert world.run().result is Result.GREEN
    with pytest.raises(UsageError, match="finished and green"):
        world.send(RetryRequested(_T2))
    world.finished = None
    world.send(RetryRequested(_T1))
    world.send(Continued())

    assert world.run().result is Result.GREEN
    assert _phases(world) == {"T1": "merged", "T2": "merged"}


def test_a_task_behind_a_failed_one_is_not_retried_itself() -> None:
    world = _begun("T1", "T2:T1", "T3")
    _failed(world, "T1")
    with pytest.raises(UsageError, match="waits for T1 failed") as error:
        world.send(RetryRequested(_T2))
    assert error.value.hint == "codexteam retry T1"


def test_a_retry_of_what_waits_only_sets_its_model() -> None:
    world = _begun("T1", "T2:T1")
    with pytest.raises(UsageError, match="waits for its turn"):
        world.send(RetryRequested(_T2))
    world.send(RetryRequested(_T2, model="gpt-large"))
    assert world.state.tasks[_T2].model == "gpt-large"
    assert _phases(world)["T2"] == "pending"


# drop


def test_a_task_that_others_wait_for_is_not_dropped_alone() -> None:
    world = _begun("T1", "T2:T1", "T3:T2", "T4")
    with pytest.raises(UsageError, match="T2, T3 wait for T1"):
        world.send(DropRequested(_T1))
    facts = _facts(world, DropRequested(_T1, dependents=True))

    assert facts.count("task.dropped") == 3
    assert _phases(world) == {"T1": "dropped", "T2": "dropped", "T3": "dropped", "T4": "working"}
    assert world.run().result is Result.GREEN


def test_the_last_task_of_a_plan_is_not_dropped() -> None:
    world = _begun("T1", "T2:T1")
    with pytest.raises(UsageError, match="nothing is left of the plan"):
        world.send(DropRequested(_T1, dependents=True))


def test_work_that_waits_to_be_merged_is_kept_when_its_task_is_dropped() -> None:
    world = _begun("T1", "T2")
    world.send(PauseRequested())
    _handed_in(world, "T1")
    world.send(DropRequested(_T1))

    known = world.state.tasks[_T1]
    assert (known.phase, known.restore_attempt, world.state.merge_queue) == (TaskPhase.DROPPED, 1, ())
    with pytest.raises(UsageError, match="dropped already"):
        world.send(DropRequested(_T1))


def test_a_question_of_a_dropped_task_waits_no_more_and_that_is_told() -> None:
    world = _begun("T1", "T2", rules=replace(_RULES, approve=("merge",)))
    _handed_in(world, "T1")
    assert "merge.T1.1" in world.state.holds
    assert "person.withdrawn" in _facts(world, DropRequested(_T1))
    assert not world.state.holds


# add, priority


def test_an_added_task_gets_the_next_id_and_what_a_person_named_is_open() -> None:
    world = _begun("T1")
    world.send(AddRequested(Task(TaskId("T0"), "CI too", deps=(_T1,), paths=(".github/workflows/ci.yml",))))

    known = world.state.tasks[_T2]
    assert (known.task.title, known.granted) == ("CI too", (".github/workflows/ci.yml",))
    assert world.run().result is Result.GREEN
    assert _phases(world) == {"T1": "merged", "T2": "merged"}


def test_a_task_added_to_a_green_run_is_done_when_it_continues() -> None:
    world = _begun("T1")
    assert world.run().result is Result.GREEN
    with pytest.raises(UsageError, match="finished and green"):
        world.send(RetryRequested(_T1))
    world.finished = None
    world.send(AddRequested(Task(TaskId("T0"), "more")))
    assert world.state.result is Result.INTERRUPTED
    world.send(Continued())

    assert world.run().result is Result.GREEN
    assert _phases(world)["T2"] == "merged"


def test_a_task_is_not_added_before_there_is_a_plan_or_beyond_the_limit() -> None:
    world = World((), _RULES)
    world.send(RunStarted())
    with pytest.raises(UsageError, match="no plan yet"):
        world.send(AddRequested(Task(TaskId("T0"), "early")))
    full = _begun("T1", rules=replace(_RULES, max_tasks=1))
    with pytest.raises(UsageError, match="has 1 tasks, and may have 1"):
        full.send(AddRequested(Task(TaskId("T0"), "late")))
    with pytest.raises(UsageError, match="no task T9"):
        _begun("T1").send(AddRequested(Task(TaskId("T0"), "lost", deps=(TaskId("T9"),))))


def test_a_task_with_priority_starts_first_with_what_it_waits_for() -> None:
    world = _begun("T1", "T2", "T3", "T4:T3", rules=replace(_RULES, max_threads=1))
    assert [e.task_id for e in world.state.in_flight.values() if isinstance(e, Work)] == ["T3"]
    world = _begun("T1", "T2", "T3", "T4:T2", rules=replace(_RULES, max_threads=1))
    world.send(PriorityRequested(TaskId("T3"), 1))
    assert world.state.ready[0] == "T3"
    world.send(PriorityRequested(TaskId("T1"), 2))
    assert world.state.ready[0] == "T1"


def test_priority_passes_to_what_a_task_waits_for_and_last_stays_last() -> None:
    one, two, three = tasks("T1", "T2", "T3:T2")
    urgent = graph_of((one, two, replace(three, priority=2)))
    assert urgent.priority(_T2) < urgent.priority(_T1)
    last = graph_of((one, replace(two, priority=-1), three))
    assert last.priority(_T2) > last.priority(_T1)


# budgets


def _refused(world: World, task_id: str, scope: str) -> None:
    key = _work(world, task_id).key
    world.send(BudgetRefused(key, "too little", BudgetScope(scope, task_id, Unit.TOKENS, 900, 9_000, 1_000)))


def test_more_budget_for_the_run_lets_what_it_refused_continue() -> None:
    world = _begun("T1", "T2")
    _refused(world, "T1", "run")
    assert "work.T1.1" in world.state.shelved
    facts = _facts(world, RunBudgetSet(tokens=20_000, words="20,000 tokens"))

    assert "budget.changed" in facts
    assert "work.T1.1" in world.state.in_flight
    assert world.run().result is Result.GREEN


def test_a_budget_for_a_task_answers_its_question() -> None:
    world = _begun("T1", "T2", rules=replace(_RULES, on_task_budget="ask"))
    _refused(world, "T1", "task")
    assert "budget.T1" in world.state.holds
    world.send(TaskBudgetSet(_T1, TaskBudget(tokens=20_000)))

    assert not world.state.holds
    assert world.state.tasks[_T1].task.budget == TaskBudget(tokens=20_000)
    assert "work.T1.1" in world.state.in_flight


def test_budget_that_comes_while_the_run_stops_counts_when_it_continues() -> None:
    world = _begun("T1", "T2")
    _refused(world, "T1", "run")
    world.send(StopRequested("stop"))
    world.send(RunBudgetSet(usd=5.0, words="$5.00"))
    assert "work.T1.1" in world.state.shelved
    world.run()
    world.finished = None
    world.send(Continued())
    assert "work.T1.1" in world.state.in_flight


# all of them


def _feedback(chance: Random) -> Finding:
    gate, source, revision = chance.choice([GateName.CI, GateName.QA]), chance.choice("AB"), chance.choice("12")
    title = f"Review {source}"
    return Finding(title, "no", Severity.MUST_FIX, Category.TESTS, gate=gate, source=source, revision=revision)


def _any_request(chance: Random) -> Steering:
    name = TaskId(f"T{chance.randint(1, 7)}")
    words = chance.choice(["use tabs", "no", "Ä"])
    new = Task(TaskId("T0"), words, deps=(name,) if chance.randrange(2) else (), paths=("new.txt",))
    asked: list[Steering] = [
        MessageLeft(chance.choice([name, PLANNER]), words),
        RetryRequested(name, chance.choice(["", "gpt-large"])),
        DropRequested(name, bool(chance.randrange(2))),
        AddRequested(new),
        PriorityRequested(name, chance.randint(-3, 3)),
        TaskBudgetSet(name, TaskBudget(tokens=9_000)),
        RunBudgetSet(5.0),
        FeedbackGiven("pull request 7", (_feedback(chance),)),
    ]
    return chance.choice(asked)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_is_asked_at_any_moment_the_run_ends_and_replays_the_same(seed: int) -> None:
    chance = Random(seed)
    choose = chance.randrange
    left = [_any_request(chance) for _ in range(choose(12))]
    world = World(
        tasks("T1", "T2:T1", "T3", "T4:T2,T3"),
        replace(_RULES, max_attempts=2, on_task_budget="ask"),
        luck=lambda _question, choices: choose(choices) if choose(3) == 0 else 0,
        pick=choose,
    )
    world.send(RunStarted())
    for _ in range(6):
        while world.finished is None:
            if left and choose(3) == 0:
                _ask(world, left.pop())
            elif choose(15) == 0:
                world.send(Continued())
            elif world.state.in_flight:
                waiting = sorted(world.state.in_flight)
                world.send(world.answer(world.state.in_flight[waiting[choose(len(waiting))]]))
        while left and choose(2):
            _ask(world, left.pop())  # of a run that nobody drives
        for item in sorted(world.state.holds):
            if item in world.state.holds:
                world.send(Answered(item, ""))
        world.finished = None
        world.send(Continued())
    assert decode_state(encode_state(world.state)) == world.state
    replayed = RunState(RunId("20261121-0231-7f3a"), "goal", world.rules)
    for event in world.history:
        kind, payload = encode_event(event)
        replayed, _ = step(replayed, decode_event(kind, payload))
    assert replayed == world.state


def _ask(world: World, event: Steering) -> None:
    """Ask it; where it is refused, nothing has changed."""
    before = world.state
    with suppress(UsageError, PlanError):
        world.send(event)
    assert {*before.tasks} <= {*world.state.tasks}, "no task is lost"
    merged = {i for i, known in before.tasks.items() if known.phase is TaskPhase.MERGED}
    assert all(world.state.tasks[i].phase is TaskPhase.MERGED for i in merged), "nothing that is merged is undone"
