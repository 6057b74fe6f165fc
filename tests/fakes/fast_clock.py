"""A clock that runs ahead of the real one, for tests over real sockets whose waits are long."""

import asyncio
import time


class FastClock:
    """Each real second counts for `speed` seconds; sleeping takes as much less."""

    def __init__(self, speed: float = 100.0) -> None:
        self._speed = speed
        self._began_at = time.monotonic()
        self._wall = 1_795_000_000.0
        self.slept: list[float] = []

    def wall_seconds(self) -> float:
        return self._wall + self.monotonic_seconds()

    def monotonic_seconds(self) -> float:
        return (time.monotonic() - self._began_at) * self._speed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds / self._speed)
