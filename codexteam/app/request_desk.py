"""Takes what other commands ask of a run, for as long as the run is driven."""

import asyncio
from collections.abc import Awaitable, Callable

from codexteam.app import requests
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.errors import CodexteamError
from codexteam.ports.store import Store


class RequestDesk:
    """Looks for requests when told to. Owned by a sitting, which closes it before what requests are kept in."""

    def __init__(
        self,
        store: Store,
        run_id: RunId,
        sitting: int,
        *,
        take: Callable[[requests.Asked], Awaitable[None]],
        tell: Callable[[str, JSONObject], None],
    ) -> None:
        """Serve a sitting, by its number; `take` does what is asked, or raises why not."""
        self._store = store
        self._run_id = run_id
        self._sitting = sitting
        self._take = take
        self._tell = tell
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
            self._tell("notice", {"text": f"what other commands ask of this run could not be taken: {error}"})

    async def _take_all(self) -> None:
        async with self._taking:  # signals may come faster than requests are taken
            for key, asked in await requests.pending(self._store, self._run_id, sitting=self._sitting):
                try:
                    await self._take(asked)
                except CodexteamError as error:
                    await requests.settle(self._store, self._run_id, key, str(error))
                else:
                    await requests.settle(self._store, self._run_id, key, "taken")
