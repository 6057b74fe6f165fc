"""A clock that runs ahead of the real one, for tests over real sockets whose waits are long."""

import asyncio
import time

#: While it sleeps: how often it looks whether it goes faster meanwhile.
_LOOKS_SECONDS = 0.05


class FastClock:
    """Each real second counts for `speed` seconds; sleeping takes as much less."""

    def __init__(self, speed: float = 100.0) -> None:
        self._speed = speed
        self._began_at = time.monotonic()
        self._before_seconds = 0.0
        self._wall = 1_795_000_000.0
        self.slept: list[float] = []

    def wall_seconds(self) -> float:
        return self._wall + self.monotonic_seconds()

    def monotonic_seconds(self) -> float:
        return self._before_seconds + (time.monotonic() - self._began_at) * self._speed

    def go(self, speed: float) -> None:
        """Go as fast as this from now on."""
        self._before_seconds, self._began_at = self.monotonic_seconds(), time.monotonic()
        self._speed = speed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.monotonic_seconds() + seconds
        while (left := until - self.monotonic_seconds()) > 0:
            await asyncio.sleep(min(left / self._speed, _LOOKS_SECONDS))
