"""What every Store does: the SQLite one, and the one in memory that other tests use."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from codexteam.core.usage import Usage
from codexteam.ports.store import OpenCall, RunRecord, Store, StoredAnswer, StoredSitting, StoredTurn
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
AGENT = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
CALL = CallKey(AGENT, 1, Purpose.IMPLEMENT)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state.sqlite")
    yield made
    await made.close()


def run(run_id: str, at: float) -> RunRecord:
    return RunRecord(RunId(run_id), f"goal of {run_id}", "base", "running", at, {"a": [1, None, "\udce4"]})


async def test_runs_come_newest_first_and_making_one_again_changes_nothing(store: Store) -> None:
    await store.create_run(run("one", 1.0))
    await store.create_run(run("two", 2.0))
    await store.create_run(RunRecord(RunId("one"), "other", "x", "y", 9.0, {}))
    await store.set_run_state(RunId("one"), "green")

    found = await store.runs()

    assert [record.run_id for record in found] == ["two", "one"]
    assert found[1] == RunRecord(RunId("one"), "goal of one", "base", "green", 1.0, {"a": [1, None, "\udce4"]})


async def test_sittings_are_counted_per_run_and_one_that_was_killed_never_ends(store: Store) -> None:
    def sitting(run_id: str, at: float) -> StoredSitting:
        return StoredSitting(RunId(run_id), 0, "0.1.0", "host", 4711, "boot:1", at)

    assert await store.sittings(RunId("one")) == []
    assert await store.begin_sitting(sitting("one", 1.0)) == 1
    assert await store.begin_sitting(sitting("other", 2.0)) == 1
    assert await store.begin_sitting(sitting("one", 3.0)) == 2
    await store.end_sitting(RunId("one"), 2, at_seconds=4.0, ending="green")

    first, second = await store.sittings(RunId("one"))

    assert first == StoredSitting(RunId("one"), 1, "0.1.0", "host", 4711, "boot:1", 1.0)
    assert (second.number, second.started_at_seconds) == (2, 3.0)
    assert (second.ended_at_seconds, second.ending) == (4.0, "green")


async def test_events_are_numbered_without_gaps_per_run(store: Store) -> None:
    assert await store.append(RUN, [(1.0, "A", {"n": 1}), (1.5, "B", {})]) == 2
    assert await store.append(RunId("other"), [(1.0, "A", {})]) == 1
    assert await store.append(RUN, []) == 2
    assert await store.append(RUN, [(2.0, "C", {"x": "y"})]) == 3

    events = await store.events(RUN)

    assert [(e.sequence, e.at_seconds, e.kind, e.payload) for e in events] == [
        (1, 1.0, "A", {"n": 1}),
        (2, 1.5, "B", {}),
        (3, 2.0, "C", {"x": "y"}),
    ]
    assert [e.kind for e in await store.events(RUN, after=2)] == ["C"]


async def test_the_newest_checkpoint_stays(store: Store) -> None:
    assert await store.checkpoint(RUN) is None
    await store.save_checkpoint(RUN, 4, {"state": "four"})
    await store.save_checkpoint(RUN, 2, {"state": "two"})

    assert await store.checkpoint(RUN) == (4, {"state": "four"})


async def test_a_call_is_open_until_it_is_answered_and_its_first_answer_stays(store: Store) -> None:
    call = OpenCall(CALL, "hash", 1_000, 0.5, None)
    await store.open_call(call)
    assert await store.open_calls(RUN) == [call]
    assert await store.answer(CALL) is None

    first = StoredAnswer(CALL, "hash", {"text": "yes"}, Usage(10, 5, 3, 1))
    await store.record_answer(first)
    await store.record_answer(StoredAnswer(CALL, "hash", {"text": "no"}, None))
    await store.open_call(call)
    await store.close_call(CALL)

    assert await store.answer(CALL) == first
    assert await store.answers(RUN) == [first]
    assert await store.open_calls(RUN) == []


async def test_a_call_that_will_not_be_billed_is_forgotten(store: Store) -> None:
    await store.open_call(OpenCall(CALL, "hash", 1_000, None, None))
    await store.close_call(CALL)

    assert await store.open_calls(RUN) == []


async def test_missing_usage_stays_missing(store: Store) -> None:
    await store.record_answer(StoredAnswer(CALL, "hash", {}, None))

    stored = await store.answer(CALL)

    assert stored is not None
    assert stored.usage is None


async def test_turns_come_in_order_and_one_recorded_again_is_replaced(store: Store) -> None:
    second = StoredTurn(AGENT, 2, ({"type": "function_call_output"},), None)
    first = StoredTurn(AGENT, 1, (), {"tip": "abc"})
    for turn in (second, StoredTurn(AGENT, 1, ({"old": True},), None), first):
        await store.record_turn(turn)

    assert await store.turns(AGENT) == [first, second]
    assert await store.turns(AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 2)) == []


async def test_values_are_found_by_space_and_prefix(store: Store) -> None:
    for key in ("b/1", "a/2", "a/1", "a%"):
        await store.put("receipts", key, {"key": key})
    await store.put("receipts", "a/1", {"key": "newer"})
    await store.put("other", "a/1", {})

    assert await store.get("receipts", "a/1") == {"key": "newer"}
    assert await store.get("receipts", "none") is None
    assert [key for key, _ in await store.list("receipts", prefix="a/")] == ["a/1", "a/2"]
    assert len(await store.list("receipts")) == 4


async def test_hundreds_of_tasks_write_at_once(store: Store) -> None:
    async def write(number: int) -> None:
        await store.append(RUN, [(0.0, "E", {"n": number})])
        await store.put("space", f"{number:04}", {})

    await asyncio.gather(*(write(number) for number in range(300)))

    events = await store.events(RUN)
    assert [event.sequence for event in events] == list(range(1, 301))
    assert {event.payload["n"] for event in events} == set(range(300))
    assert len(await store.list("space")) == 300
