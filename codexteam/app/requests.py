"""What other commands ask of a run that goes on: kept in the store, and announced by a signal; nobody polls."""

import os
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.core.events import Answered, Continued, Event, PauseRequested, StopRequested
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.ports.store import Store


@dataclass(frozen=True, slots=True)
class SayTo:
    """A message for the agent that works on a task, put in before its next turn."""

    task_id: str
    text: str


@dataclass(frozen=True, slots=True)
class StopNow:
    """End at once; what is in flight goes on at `resume`."""


Asked: TypeAlias = Answered | PauseRequested | Continued | StopRequested | SayTo | StopNow


def _space(run_id: RunId) -> str:
    return f"{run_id}/requests"


async def leave(store: Store, run_id: RunId, asked: Asked, *, at_seconds: float) -> str:
    """Put a request where the run's sitting finds it; give its key."""
    taken = await store.list(_space(run_id))
    sitting = len(await store.sittings(run_id))
    # two commands may count the same number of requests before theirs
    key = f"{len(taken) + 1:06}.{os.getpid()}"
    await store.put(_space(run_id), key, {"at": at_seconds, "sitting": sitting, **_encode(asked)})
    return key


async def pending(store: Store, run_id: RunId, *, sitting: int = 0) -> list[tuple[str, Asked]]:
    """Give the requests that nobody has taken, oldest first.

    Those for a sitting before this one are left out: it is over. Clocks go back, numbers do not.
    """
    found = []
    for key, value in await store.list(_space(run_id)):
        asked = _decode(value)
        meant = value.get("sitting")
        late = (meant if isinstance(meant, int) else 0) < sitting
        if asked is not None and "result" not in value and not late:
            found.append((key, asked))
    return found


async def settle(store: Store, run_id: RunId, key: str, result: str) -> None:
    """Say what became of a request: `taken`, or why not."""
    value = await store.get(_space(run_id), key) or {}
    await store.put(_space(run_id), key, {**value, "result": result})


async def result_of(store: Store, run_id: RunId, key: str) -> str | None:
    """Give what became of a request; None while it waits."""
    result = (await store.get(_space(run_id), key) or {}).get("result")
    return result if isinstance(result, str) else None


def as_event(asked: Asked) -> Event | None:
    """Give the event that a request is; None for what is no decision."""
    return None if isinstance(asked, SayTo | StopNow) else asked


def _encode(asked: Asked) -> JSONObject:
    match asked:
        case Answered(item, text, approved):
            return {"kind": "answer", "item": item, "text": text, "approved": approved}
        case PauseRequested():
            return {"kind": "pause"}
        case Continued():
            return {"kind": "continue"}
        case StopRequested(reason, exit_code):
            return {"kind": "stop", "reason": reason, "exit_code": exit_code}
        case StopNow():
            return {"kind": "stop-now"}
        case SayTo(task_id, text):
            return {"kind": "say", "task": task_id, "text": text}


def _decode(value: JSONObject) -> Asked | None:
    match value:
        case {"kind": "answer", "item": str(item), "text": str(text), "approved": bool(approved)}:
            return Answered(item, text, approved)
        case {"kind": "pause"}:
            return PauseRequested()
        case {"kind": "continue"}:
            return Continued()
        case {"kind": "stop", "reason": str(reason), "exit_code": int(exit_code)}:
            return StopRequested(reason, exit_code)
        case {"kind": "stop-now"}:
            return StopNow()
        case {"kind": "say", "task": str(task_id), "text": str(text)}:
            return SayTo(task_id, text)
        case _:
            return None
