"""What a run tells its workers: an actor beside the run that keeps it until they take it."""

import asyncio
from collections import defaultdict, deque
from typing import Any

#: A worker that hears nothing for so long asks again; it shows it whether the actor, and so the run, is still there.
TAKE_SECONDS = 20.0


class Letters:
    """An asyncio actor. All methods are called from afar."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._arrived: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._files: dict[str, list[Any]] = {}
        self._ended: set[str] = set()

    async def put(self, worker: str, letter: bytes) -> None:
        """Keep a letter for a worker."""
        if worker not in self._ended:
            self._waiting[worker].append(letter)
            self._arrived[worker].set()

    async def take(self, worker: str) -> list[bytes] | None:
        """Return what there is for a worker, at least one letter unless none came for long; None: nobody reads it any more."""
        if worker in self._ended:
            return None
        arrived = self._arrived[worker]
        try:
            await asyncio.wait_for(arrived.wait(), TAKE_SECONDS)
        except TimeoutError:
            return []
        if worker in self._ended:
            return None
        letters = list(self._waiting[worker])
        self._waiting[worker].clear()
        arrived.clear()
        return letters

    async def end(self, worker: str) -> None:
        """Let a worker know that nobody reads it any more."""
        self._ended.add(worker)
        self._waiting.pop(worker, None)
        self._arrived[worker].set()

    async def share(self, digest: str, reference: list[Any]) -> None:
        """Keep the reference of a file's bytes; in a list, or it would be looked up on the way."""
        self._files[digest] = reference

    async def file(self, digest: str) -> list[Any]:
        """Return the reference of a file's bytes, in a list."""
        return self._files[digest]
