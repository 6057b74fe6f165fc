"""Hard tasks get a stronger model, and tasks whose model does not serve them the next of a list; a session may be one batch."""

from dataclasses import replace

import pytest

from codexteam.core.effects import Result, Work
from codexteam.core.escalation import Escalation, ModelChoice, choose_model
from codexteam.core.events import AttemptFailed, Continued, Rules, RunStarted
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_graph import Task, TaskRisk
from codexteam.core.state import TaskPhase, TaskState
from codexteam.core.steering_events import RetryRequested
from tests.unit.core.run_world import World, tasks

_SETTINGS = "[codexteam.escalation]"
_GIVEN = Escalation(2, "strong", "high", ("second", "third"))
_ROLE = "medium"
_TASK = Task(TaskId("T1"), "One")
_RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False, fallbacks=2)


def _known(task: Task = _TASK, *, failures: int = 0, unserved: int = 0, model: str = "", effort: str = "") -> TaskState:
    return TaskState(task, failures=failures, unserved=unserved, model=model, model_effort=effort)


def _choice(known: TaskState, given: Escalation = _GIVEN, role: str = _ROLE) -> ModelChoice:
    return choose_model(known, given, role_effort=role)


def test_the_first_attempts_use_what_the_role_has() -> None:
    assert _choice(_known()) == _choice(_known(failures=1)) == ModelChoice()


@pytest.mark.parametrize("known", [_known(failures=2), _known(failures=5), _known(replace(_TASK, risk=TaskRisk.HIGH))])
def test_after_failures_and_for_risk_it_is_the_stronger_model(known: TaskState) -> None:
    assert _choice(known) == ModelChoice("strong", "high", _SETTINGS)


@pytest.mark.parametrize(("role", "effort"), [("low", "high"), ("high", ""), ("xhigh", ""), ("", ""), ("odd", "")])
def test_an_effort_takes_the_place_of_a_lower_one_alone(role: str, effort: str) -> None:
    assert _choice(_known(failures=2), role=role).effort == effort


def test_what_a_person_and_the_plan_say_of_a_task_comes_first() -> None:
    planned = replace(_TASK, model="plan", reasoning="low")
    assert _choice(_known(planned, failures=2)) == ModelChoice("plan", "low", "plan.md")
    asked = _known(planned, failures=2, model="asked", effort="xhigh")
    assert _choice(asked) == ModelChoice("asked", "xhigh", "codexteam retry")
    assert _choice(_known(planned, model="asked")).by == "codexteam retry and plan.md"


@pytest.mark.parametrize(("unserved", "model"), [(1, "second"), (2, "third"), (7, "third")])
def test_a_task_whose_model_did_not_serve_it_gets_the_next_of_the_list(unserved: int, model: str) -> None:
    known = _known(unserved=unserved, model="asked")
    assert _choice(known) == ModelChoice(model, "", _SETTINGS)
    assert _choice(known, Escalation()).model == "asked"


def _unserved(world: World, attempt: int, *, final: bool = False) -> TaskState:
    world.send(AttemptFailed(TaskId("T1"), attempt, "the model refused", final=final, unserved=True))
    return world.state.tasks[TaskId("T1")]


def _at_work(world: World) -> World:
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return world


def test_an_attempt_that_was_not_served_is_no_failure_while_one_is_left() -> None:
    world = _at_work(World(tasks("T1"), replace(_RULES, max_attempts=1)))
    first = _unserved(world, 1, final=True)
    assert (first.phase, first.failures, first.unserved) == (TaskPhase.WORKING, 0, 1)
    second = _unserved(world, 2)
    assert (second.phase, second.failures, second.unserved) == (TaskPhase.WORKING, 0, 2)
    last = _unserved(world, 3, final=True)
    assert (last.phase, last.failures) == (TaskPhase.FAILED, 1)


def test_without_another_model_it_is_a_failure_as_before() -> None:
    world = _at_work(World(tasks("T1"), replace(_RULES, max_attempts=1, fallbacks=0)))
    assert _unserved(world, 1).phase is TaskPhase.FAILED


def test_a_person_who_tries_a_task_again_begins_with_its_own_model() -> None:
    world = _at_work(World(tasks("T1"), _RULES))
    _unserved(world, 1)
    world.send(RetryRequested(TaskId("T1"), "asked"))
    known = world.state.tasks[TaskId("T1")]
    assert (known.unserved, _choice(known).model) == (0, "asked")


def test_a_session_of_one_batch_ends_with_what_is_left() -> None:
    one = replace(_RULES, batch_size=1, max_threads=1, last_round=1)
    world = World(tasks("T1", "T2", "T3"), one)
    finish = world.run()
    assert (finish.result, finish.exit_code) == (Result.NOT_GREEN, 3)
    assert "as many batches as --batches allows are done, and tasks are left" in finish.reason
    assert world.state.round == 1
    # what was at work when the batch was full hands in its work; nothing else began
    phases = [known.phase for known in world.state.tasks.values()]
    assert phases == [TaskPhase.MERGED, TaskPhase.QUEUED, TaskPhase.PENDING]
    world.finished = None
    world.send(Continued(replace(one, last_round=0)))
    assert world.run().result is Result.GREEN


def test_a_session_of_enough_batches_is_green() -> None:
    assert World(tasks("T1", "T2"), replace(_RULES, last_round=1)).run().result is Result.GREEN
