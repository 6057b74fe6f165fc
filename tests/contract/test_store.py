"""What every Store does: the SQLite one, and the one in memory that other tests use."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.budget_amounts import Amount, Usage
from codexteam.core.ids import AgentKey, CallKey, CommitId, JSONObject, JSONValue, Purpose, RunId
from codexteam.ports.model import AnsweredCall, CallRecord, ContextExceeded, ModelAnswer
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import Remark, Snapshot, WorkspaceState
from codexteam.ports.store import ForkRecord, OpenCall, RunRecord, Store, StoredAnswer, StoredSession, StoredTurn
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
AGENT = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
CALL = CallKey(AGENT, 1, Purpose.IMPLEMENT)
RECORD = CallRecord("gpt-5", Amount(2_000, None, 5), Amount(1, 2, 3), hand_over=True)


def answered(text: str, usage: Usage | None = None) -> AnsweredCall:
    return AnsweredCall(ModelAnswer(({"text": text},), usage, "resp_1"), RECORD)


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


async def test_a_fork_is_there_whole_and_marks_the_run_that_it_replaces(store: Store) -> None:
    await store.create_run(run("one", 1.0))
    facts = (RunEvent("run.forked", 3.0, {"from": "one"}), RunEvent("task.added", 3.0, {"task": "T1"}))
    await store.create_fork(
        ForkRecord(
            run("two", 2.0),
            [(1.0, "A", {"n": 1}), (3.0, "Forked", {})],
            {"schema": 1},
            facts,
            [("two/accepted", "T1.1", {"commit": "c"})],
            (RunId("one"), "rewound"),
        )
    )

    assert [(record.run_id, record.state) for record in await store.runs()] == [("two", "running"), ("one", "rewound")]
    assert [(event.sequence, event.kind) for event in await store.events(RunId("two"))] == [(1, "A"), (2, "Forked")]
    assert await store.checkpoint(RunId("two")) == (2, {"schema": 1})
    assert await store.get("two/accepted", "T1.1") == {"commit": "c"}
    assert [(fact.sequence, fact.kind, fact.fields["event"]) for fact in await store.facts(RunId("two"))] == [
        (1, "run.forked", 2),
        (2, "task.added", 2),
    ]
    assert await store.append(RunId("two"), [(4.0, "B", {})]) == 3


async def test_sittings_are_counted_per_run_and_one_that_was_killed_never_ends(store: Store) -> None:
    def session(run_id: str, at: float) -> StoredSession:
        return StoredSession(RunId(run_id), 0, "0.1.0", "host", 4711, "boot:1", at)

    assert await store.sessions(RunId("one")) == []
    assert await store.begin_session(session("one", 1.0)) == 1
    assert await store.begin_session(session("other", 2.0)) == 1
    assert await store.begin_session(session("one", 3.0)) == 2
    await store.end_session(RunId("one"), 2, at_seconds=4.0, ending="green")

    first, second = await store.sessions(RunId("one"))

    assert first == StoredSession(RunId("one"), 1, "0.1.0", "host", 4711, "boot:1", 1.0)
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


def fact(kind: str, **fields: JSONValue) -> RunEvent:
    return RunEvent(kind, 1.5, {**fields})


async def test_facts_are_numbered_in_the_order_in_which_they_were_given(store: Store) -> None:
    seen: list[RunEvent] = []
    store.watch(RUN, seen.extend)
    store.record_facts(RUN, [fact("notice", text="\udce4")])
    store.record_facts(RunId("other"), [fact("notice")])
    await store.append(RUN, [(1.0, "A", {}), (1.0, "B", {})], [[fact("a")], [fact("b1"), fact("b2", task="T1")]])
    store.record_facts(RUN, [fact("last")])
    await store.facts_recorded()

    found = await store.facts(RUN)

    assert found == seen
    assert [(one.sequence, one.kind, one.fields) for one in found] == [
        (1, "notice", {"text": "\udce4"}),
        (2, "a", {"event": 1}),
        (3, "b1", {"event": 2}),
        (4, "b2", {"task": "T1", "event": 2}),
        (5, "last", {}),
    ]
    assert [one.kind for one in await store.facts(RUN, after=4)] == ["last"]
    assert [one.sequence for one in await store.facts(RunId("other"))] == [1]


async def test_who_watches_has_each_fact_when_its_write_returns(store: Store) -> None:
    seen: list[RunEvent] = []
    end = store.watch(RUN, seen.extend)
    await store.append(RUN, [(1.0, "A", {})], [[fact("a")]])
    assert [one.kind for one in seen] == ["a"]
    end()
    await store.append(RUN, [(1.0, "A", {})], [[fact("b")]])
    assert [one.kind for one in seen] == ["a"]


async def test_facts_of_another_thread_reach_the_loop_that_watches(store: Store) -> None:
    threads: list[int] = []
    store.watch(RUN, lambda _: threads.append(threading.get_ident()))
    await asyncio.to_thread(store.record_facts, RUN, [fact("sandbox.progress")])
    await store.facts_recorded()
    if isinstance(store, SqliteStore):
        assert threads == [threading.get_ident()]
    assert [one.kind for one in await store.facts(RUN)] == ["sandbox.progress"]


async def test_an_answer_and_a_turn_are_told_once(store: Store) -> None:
    usage = Usage(10, 5, 3, 1)
    for _ in range(2):
        await store.record_answer(StoredAnswer(CALL, "hash", answered("yes", usage), usage), [fact("agent.turn")])
    await store.record_turn(StoredTurn(AGENT, 1, ()), [fact("agent.told")])
    assert [one.kind for one in await store.facts(RUN)] == ["agent.turn", "agent.told"]


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

    usage = Usage(10, 5, 3, 1)
    first = StoredAnswer(CALL, "hash", answered("yes", usage), usage)
    await store.record_answer(first)
    await store.record_answer(StoredAnswer(CALL, "hash", answered("no"), None))
    await store.open_call(call)
    await store.close_call(CALL)

    assert await store.answer(CALL) == first
    assert await store.answers(RUN) == [first]
    assert await store.open_calls(RUN) == []


async def test_a_call_that_will_not_be_billed_is_forgotten(store: Store) -> None:
    await store.open_call(OpenCall(CALL, "hash", 1_000, None, None))
    await store.close_call(CALL)

    assert await store.open_calls(RUN) == []


async def test_what_a_gateway_charged_is_kept_with_its_answer(store: Store) -> None:
    usage = Usage(10, 5, 3, 1, 12_500_000)
    await store.record_answer(StoredAnswer(CALL, "hash", answered("yes", usage), usage))
    known = await store.answer(CALL)
    assert known is not None
    assert known.usage == usage


async def test_missing_usage_stays_missing(store: Store) -> None:
    await store.record_answer(StoredAnswer(CALL, "hash", AnsweredCall(ContextExceeded("too long"), RECORD), None))

    stored = await store.answer(CALL)

    assert stored is not None
    assert stored.usage is None


async def test_turns_come_in_order_and_one_recorded_again_is_replaced(store: Store) -> None:
    second = StoredTurn(AGENT, 2, ({"type": "function_call_output"},))
    snapshot = Snapshot("abc", CommitId("0" * 40), Path("/state/turn-1.pack"), 512)
    first = StoredTurn(AGENT, 1, (), WorkspaceState(snapshot, (Remark("big.bin", "too large"),)))
    for turn in (second, StoredTurn(AGENT, 1, ({"old": True},)), first):
        await store.record_turn(turn)

    assert await store.turns(AGENT) == [first, second]
    assert await store.turns(AGENT, after=1) == [second]
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


async def test_values_are_stored_with_the_events_that_they_come_with(store: Store) -> None:
    values: list[tuple[str, str, JSONObject]] = [("run/requests", "1", {"result": "taken"})]
    await store.append(RUN, [(1.0, "Said", {})], values=values)

    assert await store.get("run/requests", "1") == {"result": "taken"}
    assert [event.kind for event in await store.events(RUN)] == ["Said"]


async def test_a_space_is_cleared_and_no_other(store: Store) -> None:
    for space in ("results", "results2"):
        await store.put(space, "a", {})
        await store.put(space, "b", {})

    assert await store.clear("results") == 2

    assert await store.list("results") == []
    assert len(await store.list("results2")) == 2
    assert await store.clear("results") == 0


async def test_hundreds_of_tasks_write_at_once(store: Store) -> None:
    async def write(number: int) -> None:
        await store.append(RUN, [(0.0, "E", {"n": number})])
        await store.put("space", f"{number:04}", {})

    await asyncio.gather(*(write(number) for number in range(300)))

    events = await store.events(RUN)
    assert [event.sequence for event in events] == list(range(1, 301))
    assert {event.payload["n"] for event in events} == set(range(300))
    assert len(await store.list("space")) == 300
