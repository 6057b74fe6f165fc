"""A clock that continues only when told to, or when somebody sleeps."""

import asyncio


class FakeClock:
    """Starts at a fixed time. `sleep` moves it on at once and lets others run."""

    def __init__(self, wall_seconds: float = 1_795_000_000.0) -> None:
        self._wall = wall_seconds
        self._monotonic = 1_000.0
        self.slept: list[float] = []

    def wall_seconds(self) -> float:
        return self._wall

    def monotonic_seconds(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._wall += seconds
        self._monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)
