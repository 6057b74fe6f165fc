"""Which kept environments are removed: those that nobody used for long, then the least recently used beyond the room."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

#: One that no run used for so long is made again if anybody wants it.
UNUSED_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class KeptEnvironment:
    """What counts for whether one stays."""

    key: str
    used_at_seconds: float
    """When it was last used, since the epoch."""
    size_bytes: int = 0


def expired(
    kept: Sequence[KeptEnvironment], *, now_seconds: float, limit_bytes: int, in_use: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the keys of what is to be removed, least recently used first."""
    by_use = sorted(kept, key=lambda each: (each.used_at_seconds, each.key))
    total_bytes = sum(each.size_bytes for each in kept)
    gone: list[str] = []
    for each in by_use:
        is_old = now_seconds - each.used_at_seconds > UNUSED_SECONDS
        if each.key not in in_use and (is_old or total_bytes > limit_bytes):
            gone.append(each.key)
            total_bytes -= each.size_bytes
    return tuple(gone)
