"""Keeps an agent between two turns while people look at its workspace."""

import asyncio
from collections.abc import Callable

#: Why an agent waits that is held back.
HELD = "you have a shell open in a copy of its workspace"


class AgentHold:
    """Who holds an agent back, by process. For tasks of one event loop."""

    def __init__(self) -> None:
        self._holders: dict[int, str] = {}
        self._free = asyncio.Event()
        self._free.set()
        self.on_take: Callable[[], None] | None = None
        """Is called when the agent is held back, for one that works elsewhere; so is `on_free` when it may continue."""
        self.on_free: Callable[[], None] | None = None

    @property
    def is_taken(self) -> bool:
        """Return whether somebody holds the agent back."""
        return bool(self._holders)

    def take(self, pid: int, mark: str) -> None:
        """Let no turn begin until this process lets go; `mark` tells it from others that get its pid."""
        self._holders[pid] = mark
        self._free.clear()
        if self.on_take is not None:
            self.on_take()

    def let_go(self, pid: int) -> None:
        """Let turns begin, as far as this process is concerned; nothing happens where it holds nothing."""
        self._holders.pop(pid, None)
        if not self._holders:
            self._free.set()
            if self.on_free is not None:
                self.on_free()

    def let_go_for_dead(self, mark_of: Callable[[int], str]) -> None:
        """Let go for processes that are gone."""
        for pid, mark in [*self._holders.items()]:
            if mark_of(pid) != mark:
                self.let_go(pid)

    async def wait(self) -> None:
        """Return once nobody holds the agent back."""
        await self._free.wait()
