"""An edited plan is looked at whole before any of it counts; what comes too late is said."""

from dataclasses import replace

import pytest

from codexteam.core.effects import Result, Work
from codexteam.core.events import AttemptAsked, Continued, PlanEdited, RunStarted
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_check import PlanNames, check_plan
from codexteam.core.plan_edit import compare
from codexteam.core.plan_graph import Plan, Task, TaskStatus
from codexteam.core.plan_md import parse
from codexteam.core.state import Rules, RunState, TaskPhase, TaskState
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, encode_event
from codexteam.errors import PlanError
from codexteam.run.effects import plan_of_state
from tests.unit.core.run_world import World, tasks

NAMES = PlanNames(writers=("documentation", "implementer"), readers=("reviewer",))
RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False)


def _refused(text: str) -> PlanError:
    document = parse(text)
    with pytest.raises(PlanError) as error:
        check_plan(document, text, "plan.md", document.plan().tasks, NAMES)
    return error.value


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (
            "- [ ] **T1** One `implementr` (effort 1)",
            "plan.md:2: role of T1: found `implementr`, which is not a role here; allowed: documentation, implementer",
            "did you mean `implementer`?",
        ),
        ("- [ ] **T1** One `reviewer`", "plan.md:2: role of T1: found `reviewer`, which changes no files", ""),
        ("- [ ] **T1** One\n  - paths: `/etc/x`", "plan.md:3: paths of T1: `/etc/x` leaves the repository", "globs"),
        ("- [ ] **T1** One\n  words\n  - paths: `a/../../b`", "plan.md:4: paths of T1: `a/../../b` leaves", "globs"),
        ("- [ ] **T1** One\n  - files: `a`, `src\\a`", "plan.md:3: paths of T1: `src\\a` has a backslash", "globs"),
        ("- [ ] **T1** One\n  - paths: `./`", "plan.md:3: paths of T1: `./` names no file", "`**` for everything"),
        ("- [ ] **T1** One\n  - after: T9", "plan.md:3: task T1 waits for T9, which is not in the plan", "take it out"),
        ("- [ ] **T1** One\n  - deps: T1", "plan.md:3: after of T1: it waits for itself", "leave the line out"),
        (
            "- [ ] **T1** One\n  - fixes: F2",
            "plan.md:3: fixes of T1: there is no finding F2: there are none yet",
            "gates",
        ),
        ("- [ ] **T01** One", "plan.md:2: found the id T01", "did you mean T1?"),
    ],
)
def test_what_does_not_hold_is_said_with_line_and_what_is_meant(lines: str, message: str, hint: str) -> None:
    error = _refused(f"## Tasks\n{lines}\n")

    assert str(error).startswith(message)
    assert hint in error.hint


def test_all_that_is_wrong_is_said_at_once() -> None:
    error = _refused("## Tasks\n- [ ] **T1** One `x`\n- [ ] **T2** Two `y`\n  - after: T8\n")

    assert [line.partition(": ")[0] for line in str(error).splitlines()] == ["plan.md:2", "plan.md:3", "plan.md:4"]


def _world() -> World:
    """T2 is merged, T1 is at work, T3 waits for both."""
    world = World(tasks("T1", "T2", "T3:T1,T2"), RULES)
    world.send(RunStarted())
    while world.state.tasks.get(TaskId("T2"), TaskState(Task(TaskId("T2"), ""))).phase is not TaskPhase.MERGED:
        key = min(key for key in world.state.in_flight if not key.startswith("work.T1"))
        world.send(world.answer(world.state.in_flight[key]))
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.WORKING
    return world


def _edited(world: World, **titles: str) -> Plan:
    plan = plan_of_state(world.state)
    return replace(plan, tasks=tuple(replace(task, title=titles.get(task.id, task.title)) for task in plan.tasks))


def test_a_task_that_was_cut_off_goes_on_under_its_new_words() -> None:
    world = _world()
    edited = _edited(world, T1="Another", T3="Else")
    edit = compare(edited, world.state, marked=())
    assert (edit.restarted, edit.late) == (("T1",), ())

    world.send(PlanEdited(edited, edit.restarted))
    world.send(Continued())

    known = world.state.tasks[TaskId("T1")]
    assert (known.task.title, known.attempt, known.phase) == ("Another", 2, TaskPhase.WORKING)
    [work] = [effect for effect in world.state.in_flight.values() if isinstance(effect, Work)]
    assert (work.attempt, work.restore_attempt) == (2, 1)
    assert world.run().result is Result.GREEN
    assert replayed(world) == world.state


def test_a_task_at_work_can_be_taken_out() -> None:
    world = _world()
    plan = plan_of_state(world.state)
    edited = replace(plan, tasks=(replace(plan.tasks[2], deps=(TaskId("T2"),)), plan.tasks[1]))

    world.send(PlanEdited(edited, compare(edited, world.state, marked=()).restarted))

    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.DROPPED
    assert world.run().result is Result.GREEN


def test_an_event_of_an_older_version_leaves_a_task_at_work_as_it_is() -> None:
    world = _world()
    world.send(PlanEdited(_edited(world, T1="Another")))

    known = world.state.tasks[TaskId("T1")]
    assert (known.task.title, known.attempt, known.phase) == ("task T1", 1, TaskPhase.WORKING)


def test_an_edit_of_what_was_merged_meanwhile_is_said() -> None:
    world = _world()
    assert (
        "T2 is merged: your change of it comes too late"
        in compare(_edited(world, T2="x"), world.state, marked=()).late[0]
    )
    plan = plan_of_state(world.state)
    without = replace(plan, tasks=plan.tasks[::2])
    assert "T2 is merged and stays" in compare(without, world.state, marked=()).late[0]
    again = replace(plan, tasks=tuple(replace(task, status=TaskStatus.TODO) for task in plan.tasks))
    assert compare(again, world.state, marked=()).late == (), "a mark from before a crash is not an edit"
    assert "does not do it again" in compare(again, world.state, marked=(TaskId("T2"),)).late[0]
    done = replace(plan, tasks=tuple(replace(task, status=TaskStatus.DONE) for task in plan.tasks))
    assert "nothing of it is merged" in compare(done, world.state, marked=(TaskId("T3"),)).late[0]


def test_an_edit_of_work_that_is_handed_in_is_said() -> None:
    world = _world()
    work = world.state.in_flight["work.T1.1"]
    world.send(world.answer(work))
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.INTEGRATING

    edit = compare(_edited(world, T1="x"), world.state, marked=())
    assert edit.restarted == ()
    assert "T1 has handed in its work" in edit.late[0]


def test_a_task_whose_question_is_with_the_orchestrator_can_be_changed() -> None:
    world = _world()
    world.send(AttemptAsked(TaskId("T1"), 1, "which?"))
    edited = _edited(world, T1="the second one")

    world.send(PlanEdited(edited, compare(edited, world.state, marked=()).restarted))

    assert world.state.tasks[TaskId("T1")].task.title == "the second one"
    assert world.run().result is Result.GREEN


def replayed(world: World) -> RunState:
    state = RunState(world.state.run_id, "goal", RULES)
    for event in world.history:
        state, _ = step(state, decode_event(*encode_event(event)))
    return state
