"""The points of a run's history: how they are named, and why one cannot be taken."""

import pytest

from codexteam.app.fork_points import find_point, first_state, first_state_mark, refuse_source
from codexteam.app.project import CLEANED, review_mark
from codexteam.core.ids import RunId
from codexteam.core.state import Rules, RunState
from codexteam.core.stored_state import encode_event, encode_state
from codexteam.errors import StoreError, UsageError
from codexteam.ports.store import RunRecord, StoredEvent
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import World, tasks

RUN = RunId("20261121-0231-7f3a")
RECORD = RunRecord(RUN, "goal", "0" * 40, "green", 1.0, {})


def rows(world: World) -> list[StoredEvent]:
    return [
        StoredEvent(number, float(number), *encode_event(event)) for number, event in enumerate(world.history, start=1)
    ]


@pytest.fixture(scope="module")
def green() -> World:
    world = World(tasks("T1", "T2:T1"))
    world.run()
    return world


def start(world: World) -> RunState:
    return RunState(RUN, "goal", world.rules)


def test_a_point_is_an_events_number_or_the_plan_or_a_merged_task(green: World) -> None:
    events = rows(green)
    plan = find_point(start(green), events, "plan")
    first, second = find_point(start(green), events, "t1"), find_point(start(green), events, "T2")

    assert list(plan.after.tasks) == ["T1", "T2"]
    assert plan.number < first.number < second.number
    assert list(first.merged) == ["T1"]
    assert find_point(start(green), events, f" {first.number} ").after == first.after


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("0", "has no event 0: its events are 1 to"),
        ("999", "has no event 999: its events are 1 to"),
        ("-1", "'-1' is not a point: give the number of an event, plan, or a task that was merged"),
        ("T9", "'T9' is not a point"),
        ("last", "nothing was left to do"),
    ],
)
def test_an_impossible_point_is_one_error_that_says_which_there_are(green: World, point: str, why: str) -> None:
    events = rows(green)
    with pytest.raises(UsageError, match="run 20261121-0231-7f3a") as error:
        find_point(start(green), events, str(len(events)) if point == "last" else point)

    assert why in str(error.value)
    assert error.value.hint == f"codexteam fork {RUN} lists the points"


def test_a_task_that_was_never_merged_is_no_point() -> None:
    world = World(tasks("T1"), Rules(max_attempts=1), luck=lambda what, _: 3 if what == "work T1" else 0)
    world.run()

    with pytest.raises(UsageError, match="T1 was never merged"):
        find_point(start(world), rows(world), "T1")


def test_neither_reviews_nor_cleaned_runs_are_begun_from() -> None:
    with pytest.raises(UsageError, match="is a review"):
        refuse_source(RunRecord(RUN, "goal", "0" * 40, "green", 1.0, review_mark("a change")))
    with pytest.raises(UsageError, match="was cleaned"):
        refuse_source(RunRecord(RUN, "goal", "0" * 40, CLEANED, 1.0, {}))


async def stored(world: World, newest: RunState) -> MemoryStore:
    store = MemoryStore()
    await store.append(RUN, [(row.at_seconds, row.kind, row.payload) for row in rows(world)])
    await store.save_checkpoint(RUN, len(world.history), encode_state(newest))
    return store


async def test_the_first_state_is_the_one_that_was_kept(green: World) -> None:
    store = await stored(green, green.state)
    kept = RunState(RUN, "goal", Rules(max_threads=7))
    await store.put(*first_state_mark(RUN), encode_state(kept))

    assert await first_state(store, RECORD, rows(green)) == kept


async def test_an_older_versions_run_is_begun_from_if_its_limits_never_changed(green: World) -> None:
    store = await stored(green, green.state)

    assert (await first_state(store, RECORD, rows(green))).rules == green.rules


async def test_an_older_versions_run_whose_limits_changed_is_refused(green: World) -> None:
    other = World(tasks("T1", "T2:T1"), Rules(max_threads=7, gates=()))
    other.run()
    store = await stored(green, other.state)

    with pytest.raises(StoreError, match="did not keep the limits that it began with"):
        await first_state(store, RECORD, rows(green))
