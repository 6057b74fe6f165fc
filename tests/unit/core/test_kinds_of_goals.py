"""What a plan may say beside tasks: an answer, a plan alone, what to look at first; and what became of documentation."""

from dataclasses import replace

import pytest

from codexteam.core.answers import PlanAnswer, PlannedTask
from codexteam.core.command_ending import Ending
from codexteam.core.effects import CheckBase, Document, Land, MakePlan, Release, Result, Scout, Work
from codexteam.core.events import (
    Answered,
    BaseCheck,
    BaseChecked,
    Continued,
    Documented,
    ExtraIntegrated,
    Planned,
    Rules,
    RunStarted,
    Scouted,
)
from codexteam.core.ids import CommitId, GateName
from codexteam.core.plan_answer import plan_of
from codexteam.core.plan_edit import changes_between
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.state import RunPhase, TaskPhase
from codexteam.errors import PlanError
from tests.unit.core.run_world import World, tasks

QUIET = Rules(gates=(GateName.CI,), scout=False, document=False, release=False)
SCOUTS = replace(QUIET, scout=True)


def planning(world: World) -> MakePlan:
    """Bring a world to where its plan is made."""
    if not world.history:
        world.send(RunStarted())
    while not (found := [e for e in world.state.in_flight.values() if isinstance(e, MakePlan)]):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return found[0]


def in_flight(world: World) -> list[str]:
    return sorted(world.state.in_flight)


def test_a_goal_that_is_a_question_is_answered_and_no_one_implements() -> None:
    world = World((), QUIET)
    planning(world)

    world.send(Planned(Plan("why?", answer="Because.")))

    assert world.finished is not None
    assert (world.finished.result, world.finished.exit_code) == (Result.ANSWERED, 0)
    assert world.state.answer == "Because."
    assert not any(isinstance(effect, Work | Land) for effect in world.effects)


def test_an_answered_run_stays_answered_when_it_is_resumed() -> None:
    world = World((), QUIET)
    planning(world)
    world.send(Planned(Plan("why?", answer="Because.")))

    effects = world.send(Continued())

    assert [effect.key for effect in effects] == ["finish"]
    assert world.state.result is Result.ANSWERED


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_needs_no_gate_command_that_can_run(late: bool) -> None:
    world = World((), replace(QUIET, check_base=True))
    planning(world)
    check = next(effect for effect in world.state.in_flight.values() if isinstance(effect, CheckBase))
    broken = BaseCheck("pytest", Ending.CANNOT_RUN, 127, "no pytest", gate=True)
    checked = BaseChecked(check.number, check.commit, (broken,))
    answered = Planned(Plan("why?", answer="Because."))

    for event in (answered, checked) if late else (checked, answered):
        world.send(event)

    assert world.finished is not None
    assert world.finished.result is Result.ANSWERED
    assert not world.state.holds


def test_a_goal_that_wants_a_plan_alone_ends_with_it_and_exits_0() -> None:
    world = World((), QUIET)
    planning(world)

    world.send(Planned(Plan("plan it", tasks=tasks("T1"), plan_only=True)))

    assert world.finished is not None
    assert (world.finished.result, world.finished.exit_code) == (Result.WAITING, 0)
    assert list(world.state.holds) == ["plan"]

    finish = world.go_on(person=lambda item: Answered(item, ""))

    assert finish.result is Result.GREEN


def test_the_planner_sends_scouts_once_more_and_plans_then() -> None:
    world = World(tasks("T1"), SCOUTS)
    first = planning(world)
    assert world.state.scout_rounds == 1

    world.send(Planned(Plan("goal", probes=("how rows are stored",))))

    assert in_flight(world) == ["scout.2"]
    [again] = world.state.in_flight.values()
    assert isinstance(again, Scout)
    assert again.areas == ("how rows are stored",)

    world.send(Scouted())

    assert planning(world).attempt == first.attempt + 1
    assert world.run().result is Result.GREEN


ANSWER = PlanAnswer("summary", (), (), (), ())
TASK = PlannedTask("T1", "Do it", "", "implementer", (), (), (), 1, ())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (replace(ANSWER, answer=" Because. "), Plan("goal", "summary", answer="Because.")),
        (replace(ANSWER, probes=(" a\n b ", "a b")), Plan("goal", "summary", probes=("a b",))),
        (replace(ANSWER, answer="Because.", questions=("Which?",)), Plan("goal", "summary", questions=("Which?",))),
        (replace(ANSWER, answer="Because.", probes=("a",)), Plan("goal", "summary", answer="Because.")),
    ],
)
def test_an_answer_without_tasks_is_what_it_says(answer: PlanAnswer, expected: Plan) -> None:
    assert plan_of(answer, goal="goal", roles=["implementer"], max_tasks=9, may_probe=True) == expected


def test_with_tasks_there_is_work_whatever_else_is_said() -> None:
    answer = replace(ANSWER, tasks=(TASK,), answer="Because.", probes=("a",), plan_only=True)

    plan = plan_of(answer, goal="goal", roles=["implementer"], max_tasks=9, may_probe=True)

    assert (plan.answer, plan.probes, plan.plan_only, len(plan.tasks)) == ("", (), True, 1)


def test_scouts_that_do_not_look_again_are_no_plan() -> None:
    with pytest.raises(PlanError, match="scouts do not look again"):
        plan_of(replace(ANSWER, probes=("a",)), goal="goal", roles=["implementer"], max_tasks=9)


def test_a_corrected_plan_says_what_changed_and_drops_what_is_gone() -> None:
    world = World((), replace(QUIET, approve=("plan",)))
    planning(world)
    world.send(Planned(Plan("goal", tasks=tasks("T1", "T2", "T3:T2"))))
    world.send(Answered("plan", "without T3", approved=False))
    world.finished = None
    if not any(isinstance(effect, MakePlan) for effect in world.state.in_flight.values()):
        world.send(Continued())

    world.send(Planned(Plan("goal", tasks=tasks("T1", "T2@b.py", "T4"))))

    assert world.state.plan_changes == ("T4 is new: task T4", "T2 changed (paths): task T2", "T3 was dropped: task T3")
    assert world.state.tasks["T3"].phase is TaskPhase.DROPPED  # type: ignore[index]  # a TaskId


def test_marks_are_no_difference_between_plans() -> None:
    [task] = tasks("T1")

    assert changes_between([replace(task, paths=("a.py", "b.py"))], [replace(task, paths=("a.py", "b.py"))]) == ()


def test_a_task_that_names_no_paths_works_alone() -> None:
    world = World(tasks("T1@", "T2", "T3"), QUIET)
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    assert in_flight(world) == ["work.T1.1"]
    assert world.run().result is Result.GREEN


def test_older_runs_let_tasks_without_paths_work_beside_others() -> None:
    world = World(tasks("T1@", "T2@"), replace(QUIET, decisions=2))
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))

    assert in_flight(world) == ["work.T1.1", "work.T2.1"]


DOCUMENTS = replace(QUIET, document=True)


def documenting(world: World) -> Document:
    while not (found := [e for e in world.state.in_flight.values() if isinstance(e, Document)]):
        if not world.history:
            world.send(RunStarted())
        world.send(world.answer(world.state.in_flight[min(world.state.in_flight)]))
    return found[0]


def test_documentation_that_was_refused_is_said_where_a_run_is_green() -> None:
    world = World(tasks("T1"), DOCUMENTS)
    documenting(world)

    world.send(Documented(None, "refused", "it was refused: a.py"))
    finish = world.run()

    assert finish.result is Result.GREEN
    assert finish.reason.startswith("with documentation not written: it was refused: a.py; every gate passed")


WITHOUT = replace(QUIET, document=False, documentation_asked=True)


@pytest.mark.parametrize(
    ("plan", "rules", "said"),
    [
        (tasks("T1"), WITHOUT, True),
        (tasks("T1", "T2@docs/use.md"), WITHOUT, False),
        (tasks("T1"), replace(WITHOUT, documentation_asked=False), False),
        (tasks("T1"), replace(WITHOUT, decisions=3), False),
    ],
)
def test_documentation_that_is_off_is_said_where_the_goal_wants_it(
    plan: tuple[Task, ...], rules: Rules, *, said: bool
) -> None:
    finish = World(plan, rules).run()

    assert finish.result is Result.GREEN
    why = "with documentation not written: the goal asks for it, and the step is off"
    assert finish.reason.startswith(why) is said


def test_a_run_whose_goal_wants_documentation_is_not_green_without_it() -> None:
    world = World(tasks("T1"), replace(DOCUMENTS, documentation_asked=True))
    documenting(world)

    world.send(Documented(None, "refused", "it was refused: a.py"))
    finish = world.run()

    assert finish.result is Result.NOT_GREEN
    assert "the documentation that the goal asks for was not written: it was refused: a.py" in finish.reason

    world.finished = None
    world.send(Continued())

    assert documenting(world).number == 2


def test_documentation_that_breaks_the_gates_is_not_dropped_silently() -> None:
    world = World(tasks("T1"), replace(DOCUMENTS, documentation_asked=True))
    documenting(world)

    world.send(Documented(CommitId("d" * 40), "described"))
    world.send(ExtraIntegrated("documentation", None, "`pytest` fails"))
    finish = world.run()

    assert finish.result is Result.NOT_GREEN
    assert "`pytest` fails" in finish.reason


@pytest.mark.parametrize(("always", "notes"), [(True, 1), (False, 0)])
def test_auto_writes_no_release_notes_where_nothing_was_changed(always: bool, notes: int) -> None:
    rules = replace(QUIET, gates=(GateName.CI, GateName.REVIEW), release=True, release_unchanged=always)
    world = World(tasks("T1"), rules, luck=lambda what, n: 5 if what.startswith("work") else 0)

    finish = world.run()

    assert finish.result is Result.GREEN
    assert sum(isinstance(effect, Release) for effect in world.effects) == notes
    assert world.state.phase is RunPhase.FINISHED
