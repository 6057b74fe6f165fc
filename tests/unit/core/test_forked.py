"""A run that begins as another one was at a point: from any point of any run it comes to an end of its own."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.effects import Result
from codexteam.core.events import Continued, Forked
from codexteam.core.facts import story
from codexteam.core.ids import RunId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.errors import InvalidTransitionError
from tests.examples import examples
from tests.unit.core.run_world import World, tasks
from tests.unit.core.test_step import approve, plans, rules

SOURCE, FORK = RunId("20261121-0231-7f3a"), RunId("20261122-0900-11aa")


def forked(world: World, number: int) -> World:
    """Return a world of a run that begins as another one was at an event; what happened there is known in it."""
    made = World(world.tasks, world.rules, luck=world.luck, pick=world.pick)
    made.state = replace(made.state, run_id=FORK)
    for event in world.history[:number]:
        made.state, _ = step(made.state, event)
    made.history = [*world.history[:number]]
    made.commits, made.parents, made.trees, made.passed = world.commits, world.parents, world.trees, world.passed
    made.send(Forked(SOURCE, number))
    made.finished = None
    return made


def points(world: World) -> list[int]:
    """Return the events after which the run was not done."""
    state = RunState(SOURCE, "goal", world.rules)
    found = []
    for number, event in enumerate(world.history, start=1):
        state, _ = step(state, event)
        if state.result not in {Result.GREEN, Result.ANSWERED}:
            found.append(number)
    return found


def ended(world: World) -> World:
    world.send(Continued())
    finish = world.finished or world.run()
    for _ in range(4):
        if finish.result in {Result.GREEN, Result.ANSWERED}:
            break
        finish = world.go_on(person=approve)
    return world


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=plans(),
    rules=rules,
    seed=st.randoms(use_true_random=False),
    trouble=st.sampled_from([0, 20, 60]),
    share=st.floats(0, 1),
)
def test_a_fork_at_any_point_ends_and_leaves_the_other_run_alone(
    plan: tuple[Task, ...], rules: Rules, seed: object, trouble: int, share: float
) -> None:
    randrange: Callable[[int], int] = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    source = World(
        plan,
        rules,
        luck=lambda _, choices: randrange(choices) if randrange(100) < trouble else 0,
        pick=randrange,
    )
    source.run()
    before, history = source.state, [*source.history]

    possible = points(source)
    fork = ended(forked(source, possible[round(share * (len(possible) - 1))]))

    assert (source.state, source.history) == (before, history)
    assert fork.state.run_id == FORK
    assert fork.finished is not None


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans(), seed=st.randoms(use_true_random=False), share=st.floats(0, 1))
def test_a_fork_with_good_luck_lands_a_branch_of_its_own(plan: tuple[Task, ...], seed: object, share: float) -> None:
    randrange: Callable[[int], int] = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    source = World(plan, Rules(), pick=randrange)
    source.run()
    possible = points(source)

    fork = ended(forked(source, possible[round(share * (len(possible) - 1))]))

    assert fork.state.result is Result.GREEN
    assert fork.state.landed == fork.state.tip


def test_a_run_that_landed_short_of_green_is_forked_without_its_branch() -> None:
    source = World(tasks("T1", "T2"), Rules(max_attempts=1), luck=lambda what, _: 3 if what == "work T2" else 0)
    source.run()
    landed = source.state.landed
    assert landed is not None

    fork = forked(source, len(source.history))

    assert (fork.state.landed, fork.state.landed_ref) == (None, "")
    assert source.state.landed == landed


def test_nothing_begins_from_a_run_that_is_done() -> None:
    source = World(tasks("T1"))
    source.run()

    with pytest.raises(InvalidTransitionError, match="Forked: the run is done"):
        forked(source, len(source.history))


def test_a_fork_tells_what_it_takes_over_as_it_is() -> None:
    source = World(tasks("T1", "T2:T1"))
    source.run()
    merged = next(
        number
        for number, event in enumerate(source.history, start=1)
        if type(event).__name__ == "BranchMoved" and number < len(source.history)
    )
    fork = forked(source, merged)

    facts = story(Forked(SOURCE, merged), RunState(FORK, "goal", source.rules), fork.state, ())

    assert facts[0] == ("run.forked", {"from": SOURCE, "from_event": merged, "rewound": False})
    assert [kind for kind, _ in facts if kind.startswith("task.")][:2] == ["task.added", "task.merged"]
