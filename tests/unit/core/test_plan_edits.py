"""Tasks taken out of a plan and put back, dependencies edited away: none is lost, none waits for ever."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.core.effects import AttemptKind, Document, Land, MakePlan, Result, Work
from codexteam.core.events import (
    Answered,
    AttemptFailed,
    AttemptSucceeded,
    Continued,
    Event,
    LandingFailed,
    PlanEdited,
    Planned,
    RunStarted,
)
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_graph import Plan, Task, TaskStatus
from codexteam.core.state import Rules, TaskPhase
from codexteam.core.stored_state import decode_state, encode_state
from tests.examples import examples
from tests.unit.core.run_world import World, tasks

_RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False, max_attempts=1)
_LEFT = TaskStatus.DROPPED


class _Failing(World):
    """Attempts at these tasks fail."""

    failing: frozenset[str] = frozenset()

    def answer(self, effect: object) -> Event:
        if isinstance(effect, Work) and effect.kind is AttemptKind.IMPLEMENT:
            if effect.task_id in self.failing:
                return AttemptFailed(effect.task_id, effect.attempt, "no", "E")
            return AttemptSucceeded(effect.task_id, effect.attempt, self.commit(), "done")
        return super().answer(effect)  # type: ignore[arg-type]  # as given


class _Planning(World):
    """The orchestrator's plans, one after the other."""

    plans: list[tuple[Task, ...]]

    def answer(self, effect: object) -> Event:
        if isinstance(effect, MakePlan):
            return Planned(Plan("goal", tasks=self.plans.pop(0)))
        return super().answer(effect)  # type: ignore[arg-type]  # as given


def _phases(world: World) -> Mapping[str, str]:
    return {str(task_id): known.phase.value for task_id, known in world.state.tasks.items()}


def _go_on(world: World, *events: Event) -> Result:
    world.finished = None
    for event in events:
        world.send(event)
    if world.finished is None:
        world.send(Continued())
    assert encode_state(decode_state(encode_state(world.state))) == encode_state(world.state)
    return world.run().result


def test_a_task_that_a_later_plan_has_again_is_done() -> None:
    world = _Planning((), replace(_RULES, approve=("plan",)))
    world.plans = [tasks("T1", "T2", "T3"), tasks("T1", "T2"), tasks("T1", "T2", "T3:T1")]
    world.run()
    for words in ("drop T3", "I want T3 after all"):
        assert _go_on(world, Answered("plan", words, approved=False)) is Result.WAITING

    assert _go_on(world, Answered("plan", "", approved=True)) is Result.GREEN
    assert set(_phases(world).values()) == {"merged"}
    assert world.state.tasks[TaskId("T3")].task.deps == ("T1",)


def test_a_chain_that_a_later_plan_has_no_more_is_dropped_whole() -> None:
    world = _Planning((), replace(_RULES, approve=("plan",)))
    world.plans = [tasks("T1", "T2:T1", "T3:T2"), tasks("T4")]
    world.run()
    assert _go_on(world, Answered("plan", "another way", approved=False)) is Result.WAITING

    assert _phases(world) == {"T1": "dropped", "T2": "dropped", "T3": "dropped", "T4": "pending"}
    assert _go_on(world, Answered("plan", "", approved=True)) is Result.GREEN


def test_a_mark_that_is_taken_back_takes_a_task_up_again() -> None:
    world = _Failing(tasks("T1", "T2:T1", "T3"), _RULES)
    world.failing = frozenset({"T1"})
    world.run()
    one, two, three = (known.task for known in world.state.tasks.values())
    _go_on(world, PlanEdited(Plan("goal", tasks=(replace(one, status=_LEFT), replace(two, status=_LEFT), three))))
    assert _phases(world) == {"T1": "dropped", "T2": "dropped", "T3": "merged"}

    world.failing = frozenset()
    assert _go_on(world, PlanEdited(Plan("goal", tasks=(one, two, three)))) is Result.GREEN
    assert _phases(world) == {"T1": "merged", "T2": "merged", "T3": "merged"}
    assert world.state.tasks[TaskId("T1")].attempt == 2, "an attempt has its number for ever"


def test_a_task_whose_bad_dependency_is_edited_away_is_done() -> None:
    world = _Failing(tasks("T1", "T2:T1", "T3:T2"), _RULES)
    world.failing = frozenset({"T1"})
    assert world.run().result is Result.NOT_GREEN
    one, two, three = (known.task for known in world.state.tasks.values())
    edited = (replace(one, status=_LEFT), replace(two, deps=()), three)

    assert _go_on(world, PlanEdited(Plan("goal", tasks=edited))) is Result.GREEN
    assert _phases(world) == {"T1": "dropped", "T2": "merged", "T3": "merged"}


def test_what_waits_for_two_is_blocked_until_neither_is_hopeless() -> None:
    world = _Failing(tasks("T1", "T2", "T3:T1,T2"), _RULES)
    world.failing = frozenset({"T1", "T2"})
    world.run()
    one, two, three = (known.task for known in world.state.tasks.values())
    world.failing = frozenset()
    edited = Plan("goal", tasks=(replace(one, status=TaskStatus.FAILED), replace(two, status=_LEFT), three))

    assert _go_on(world, PlanEdited(edited)) is Result.NOT_GREEN
    assert _phases(world) == {"T1": "merged", "T2": "dropped", "T3": "blocked"}
    assert _go_on(world, PlanEdited(Plan("goal", tasks=(one, two, three)))) is Result.GREEN


def test_a_green_run_with_a_new_task_goes_on_from_where_it_landed() -> None:
    world = World(tasks("T1"), replace(_RULES, document=True))
    assert world.run().result is Result.GREEN
    landed = world.state.landed
    one = world.state.tasks[TaskId("T1")].task

    assert _go_on(world, PlanEdited(Plan("goal", tasks=(one, *tasks("T2"))))) is Result.GREEN
    assert _phases(world) == {"T1": "merged", "T2": "merged"}
    assert world.state.landed == world.state.tip != landed
    assert sum(isinstance(effect, Document) for effect in world.effects) == 1


def test_a_task_added_after_a_failed_landing_is_done_before_the_next() -> None:
    world = World(tasks("T1"), _RULES)
    world.send(RunStarted())
    while not isinstance(effect := world.state.in_flight[min(world.state.in_flight)], Land):
        world.send(world.answer(effect))
    world.send(LandingFailed("the repository is locked"))
    assert world.finished is not None
    one = world.state.tasks[TaskId("T1")].task

    assert _go_on(world, PlanEdited(Plan("goal", tasks=(one, *tasks("T2"))))) is Result.GREEN
    assert _phases(world) == {"T1": "merged", "T2": "merged"}


def test_a_given_plan_leaves_out_what_is_marked_so() -> None:
    world = World((), _RULES)
    left_out, todo = tasks("T1", "T2")
    world.send(Planned(Plan("goal", tasks=(replace(left_out, status=_LEFT), todo))))
    world.send(RunStarted())

    assert world.run().result is Result.GREEN
    assert _phases(world) == {"T1": "dropped", "T2": "merged"}


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_any_edits_between_sessions_leave_nothing_waiting_for_ever(data: st.DataObject) -> None:
    names = [f"T{number}" for number in range(1, 6)]
    edges = {
        name: data.draw(st.sets(st.sampled_from(names[:n]), max_size=2)) if n else () for n, name in enumerate(names)
    }
    world = _Failing(tasks(*(f"{name}:{','.join(sorted(deps))}" for name, deps in edges.items())), _RULES)
    world.failing = frozenset(data.draw(st.sets(st.sampled_from(names), min_size=1)))
    world.run()
    for _ in range(3):
        world.failing = frozenset(data.draw(st.sets(st.sampled_from(names))))
        edited = [
            replace(
                known.task,
                status=data.draw(st.sampled_from([TaskStatus.TODO, TaskStatus.FAILED, TaskStatus.DROPPED])),
                deps=known.task.deps if data.draw(st.booleans()) else (),
            )
            for known in world.state.tasks.values()
        ]
        _go_on(world, PlanEdited(Plan("goal", tasks=tuple(edited))))
    # no edit is left that could be in the way, and luck turns
    world.failing = frozenset()
    whole = [replace(known.task, status=TaskStatus.TODO) for known in world.state.tasks.values()]

    assert _go_on(world, PlanEdited(Plan("goal", tasks=tuple(whole)))) is Result.GREEN
    assert {known.phase for known in world.state.tasks.values()} == {TaskPhase.MERGED}
