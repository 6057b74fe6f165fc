"""The real time. The only module that reads the clock."""

import asyncio
import time


class SystemClock:
    """The Clock port over the machine's clocks."""

    def wall_seconds(self) -> float:
        """Return seconds since 1970, UTC."""
        return time.time()

    def monotonic_seconds(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
