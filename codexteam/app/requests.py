"""What other commands ask of an active run: kept in the store, and announced by a signal; nobody polls."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.events import Answered, Continued, PauseRequested, StopRequested
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.steering_events import Steering
from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError, StoreError
from codexteam.ports.store import Store
from codexteam.system.fault_points import reach


@stored(StoredForm(tag="kind", name="stop-now"))
@dataclass(frozen=True, slots=True)
class StopNow:
    """End at once; `resume` continues what is in flight."""


@stored(StoredForm(tag="kind", name="stop-agent"))
@dataclass(frozen=True, slots=True)
class StopAgent:
    """End one agent; its attempt fails, and what it wrote is kept."""

    agent: str
    """Its name, `implementer T1.1`."""


@stored(StoredForm(tag="kind", name="hold-agent"))
@dataclass(frozen=True, slots=True)
class HoldAgent:
    """Let the agent of an attempt begin no turn while a process lives, or until `LetAgentGo`."""

    attempt: str
    """`T1.2`."""
    pid: int
    mark: str
    """Tells the process from others that get its pid."""


@stored(StoredForm(tag="kind", name="let-agent-go"))
@dataclass(frozen=True, slots=True)
class LetAgentGo:
    """Let the agent continue that a process held back."""

    attempt: str
    pid: int


#: What is said of a request that was taken.
TAKEN: Final = "taken"

#: What is asked of one agent at work.
AgentRequest: TypeAlias = StopAgent | HoldAgent | LetAgentGo

#: Of a run that was asked to stop: as if it had been sent SIGTERM.
STOP_EXIT_CODE = 143
#: Space, key and value in the store.
StoredValue: TypeAlias = tuple[str, str, JSONObject]

Asked: TypeAlias = Answered | PauseRequested | Continued | StopRequested | Steering | StopNow | AgentRequest


@stored(StoredForm(tag="", flat=("asked",), names={"at_seconds": "at", "session": "sitting"}, optional=("result",)))
@dataclass(frozen=True, slots=True)
class StoredRequest:
    """One request as it is kept."""

    asked: Asked
    at_seconds: float = 0.0
    session: int = 0
    """The run's newest when it was made; 0 in what older versions left."""
    by: str = ""
    """Who asks; empty in what older versions left."""
    result: str | None = None
    """What became of it; None while nobody has taken it."""


def _space(run_id: RunId) -> str:
    return f"{run_id}/requests"


async def leave(
    store: Store,
    run_id: RunId,
    asked: Asked,
    *,
    at_seconds: float,
    by: str = "",
    suffix: str = "",
    result: str | None = None,
    session: int | None = None,
) -> str:
    """Put a request where the run's session finds it, with the name of who asks; give its key, which ends with `suffix`.

    With a `result` it is one that is settled already: the session never takes it. `session` is the one that it is for, the
    newest without it.
    """
    taken = await store.list(_space(run_id))
    if session is None:
        session = len(await store.sessions(run_id))
    # two commands may count the same number of requests before theirs
    key = f"{len(taken) + 1:06}.{suffix or os.getpid()}"
    await store.put(_space(run_id), key, encode_object(StoredRequest(asked, at_seconds, session, by, result)))
    return key


async def pending(store: Store, run_id: RunId, *, session: int = 0) -> list[tuple[str, Asked]]:
    """Return the requests that nobody has taken, oldest first.

    Of those for a session before this one, which is over, only what concerns the run counts, and neither a pause nor a
    stop. Clocks go back, numbers do not.
    """
    found = []
    for key, value in await store.list(_space(run_id)):
        if "result" in value:
            continue
        try:
            request = decode(StoredRequest, value, f"request {key}")
        except StoreError as error:  # a newer version left it; it must not keep the others from being taken
            await settle(store, run_id, key, f"{error}; this run cannot do it")
            continue
        concerns_run = isinstance(request.asked, Answered | Steering) and request.session > 0
        if request.session >= session or concerns_run:
            found.append((key, request.asked))
    return found


async def settle(store: Store, run_id: RunId, key: str, result: str) -> None:
    """Say what became of a request: `TAKEN`, or why not."""
    await store.put(*await settled(store, run_id, key, result))


async def settled(store: Store, run_id: RunId, key: str, result: str = TAKEN) -> StoredValue:
    """Return what says of a request what became of it, to be stored with what follows from it."""
    # as it was left, also where it cannot be read
    value = await store.get(_space(run_id), key) or {}
    return _space(run_id), key, {**value, "result": result}


async def key_of(store: Store, run_id: RunId, suffix: str) -> str | None:
    """Return the key of the request that was left with this suffix; None while there is none."""
    return next((key for key, _ in await store.list(_space(run_id)) if key.partition(".")[2] == suffix), None)


def asked_by(taken: StoredValue) -> str:
    """Return who made a request, from what is stored of it."""
    _, _, value = taken
    by = value.get("by")
    return clean_line(by) if isinstance(by, str) else ""


async def result_of(store: Store, run_id: RunId, key: str) -> str | None:
    """Return what became of a request; None while it waits."""
    value = await store.get(_space(run_id), key)
    result = value.get("result") if value else None
    return result if isinstance(result, str) else None


class RequestListener:
    """Looks for requests when told to. Owned by a session, which closes it before what requests are kept in."""

    def __init__(
        self,
        store: Store,
        run_id: RunId,
        session: int,
        *,
        take: Callable[[Asked, StoredValue], Awaitable[None]],
        report: Callable[[str, JSONObject], None],
    ) -> None:
        """Serve a session, by its number.

        `take` does what is asked, or raises why not. What it is given beside the request says that it was taken: stored
        in the transaction of what follows, it lets no crash come between the two.
        """
        self._store = store
        self._run_id = run_id
        self._session = session
        self._take = take
        self._report = report
        self._taking = asyncio.Lock()
        self._looks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Take what waits, in the background."""
        task = asyncio.create_task(self._take_all())
        self._looks.add(task)
        task.add_done_callback(self._looked)

    async def close(self) -> None:
        """Wait until what was taken is said to be."""
        if self._looks:
            await asyncio.wait(self._looks)

    def _looked(self, task: "asyncio.Task[None]") -> None:
        self._looks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report("notice", {"text": f"what other commands ask of this run could not be taken: {error}"})

    async def _take_all(self) -> None:
        async with self._taking:  # signals may come faster than requests are taken
            for key, asked in await pending(self._store, self._run_id, session=self._session):
                reach("request.take.before")
                try:
                    await self._take(asked, await settled(self._store, self._run_id, key))
                except CodexteamError as error:
                    await settle(self._store, self._run_id, key, str(error))
                else:
                    reach("request.take.after")
                    await settle(self._store, self._run_id, key, TAKEN)
