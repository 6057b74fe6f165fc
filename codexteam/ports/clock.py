"""Time, as an argument."""

from typing import Protocol


class Clock(Protocol):
    """The only way to the time."""

    def wall_seconds(self) -> float:
        """Return seconds since 1970, UTC; for stamps that people read, never for durations."""
        ...

    def monotonic_seconds(self) -> float:
        """Return seconds from an arbitrary start; for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
