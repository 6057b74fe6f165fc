"""What people ask of a run is stored as older versions stored it, and what those left is read."""

import json

import pytest

from codexteam.app import requests
from codexteam.app.requests import Asked, HoldAgent, LetAgentGo, StopAgent, StopNow, StoredRequest
from codexteam.core.codec import decode, encode_object
from codexteam.core.events import Answered, Continued, PauseRequested, StopRequested
from codexteam.core.ids import RunId, TaskId
from codexteam.core.steering_events import MessageLeft, RetryRequested
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ('"kind": "answer", "item": "T1", "text": "yes", "approved": true', Answered("T1", "yes", approved=True)),
        ('"kind": "pause"', PauseRequested()),
        ('"kind": "continue"', Continued()),
        ('"kind": "stop", "reason": "told to", "exit_code": 143', StopRequested("told to", 143)),
        ('"kind": "say", "task": "T1", "text": "look"', MessageLeft("T1", "look")),
        ('"kind": "retry", "task_id": "T1", "model": "m", "effort": ""', RetryRequested(TaskId("T1"), "m")),
        ('"kind": "stop-now"', StopNow()),
        ('"agent": "implementer T1.1", "kind": "stop-agent"', StopAgent("implementer T1.1")),
        ('"attempt": "T1.1", "kind": "hold-agent", "mark": "boot:7", "pid": 47', HoldAgent("T1.1", 47, "boot:7")),
        ('"attempt": "T1.1", "kind": "let-agent-go", "pid": 47', LetAgentGo("T1.1", 47)),
    ],
)
def test_requests_are_written_and_read_as_in_older_versions(written: str, asked: Asked) -> None:
    value, request = json.loads(f'{{"at": 1.5, "sitting": 2, {written}}}'), StoredRequest(asked, 1.5, 2)
    assert decode(StoredRequest, value, "request") == request
    assert value.items() <= encode_object(request).items()


async def test_a_request_that_cannot_be_read_is_refused_and_keeps_none_back() -> None:
    store = MemoryStore()
    await store.put(f"{RUN}/requests", "000001.1", {"at": 1.0, "sitting": 1, "kind": "teleport", "to": "Mars"})
    await store.put(f"{RUN}/requests", "000002.1", {"at": 1.0, "kind": "pause"})
    assert await requests.pending(store, RUN) == [("000002.1", PauseRequested())]
    refusal = await requests.result_of(store, RUN, "000001.1")
    assert refusal is not None
    assert "unknown kind 'teleport'" in refusal


async def test_what_concerns_the_run_is_taken_by_its_next_session_too() -> None:
    store = MemoryStore()
    await store.put(f"{RUN}/requests", "000001.1", {"at": 1.0, "sitting": 1, "kind": "say", "task": "T1", "text": "x"})
    await store.put(f"{RUN}/requests", "000002.1", {"at": 1.0, "sitting": 1, "kind": "stop", "reason": "x"})
    assert await requests.pending(store, RUN, session=2) == [("000001.1", MessageLeft("T1", "x"))]


async def test_requests_for_an_earlier_session_are_not_taken() -> None:
    store = MemoryStore()
    await store.put(f"{RUN}/requests", "000001.1", {"at": 1.0, "sitting": 1, "kind": "pause"})
    await store.put(f"{RUN}/requests", "000002.1", {"at": 1.0, "sitting": 2, "kind": "continue", "result": "taken"})
    assert await requests.pending(store, RUN, session=2) == []


async def test_a_request_keeps_who_asked_and_an_older_one_names_nobody() -> None:
    store = MemoryStore()
    key = await requests.leave(store, RUN, PauseRequested(), at_seconds=1.0, by="ann")
    assert requests.asked_by(await requests.settled(store, RUN, key)) == "ann"
    await store.put(f"{RUN}/requests", "000009.1", {"at": 1.0, "kind": "pause"})
    assert requests.asked_by(await requests.settled(store, RUN, "000009.1")) == ""
