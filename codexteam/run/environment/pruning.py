"""Removes kept environments that nobody used for long, and those that there is no room for."""

from collections.abc import Collection, Sequence

from codexteam.environment.pruning import KeptEnvironment, expired
from codexteam.ports.environments import Environment, Environments


async def unneeded(
    environments: Environments, *, now_seconds: float, limit_bytes: int, also: Collection[str] = ()
) -> Sequence[Environment]:
    """Return the environments to remove, least recently used first: what is old or has no room, and those of `also`."""
    listed = await environments.list()
    kept = [KeptEnvironment(made.key, used_at_seconds, made.size_bytes) for made, used_at_seconds in listed]
    keys = {*expired(kept, now_seconds=now_seconds, limit_bytes=limit_bytes), *also}
    return [made for made, _ in reversed(listed) if made.key in keys]


async def prune(environments: Environments, *, now_seconds: float, limit_bytes: int) -> Sequence[str]:
    """Remove what is not needed and what nobody uses at this moment; return the keys of what is gone."""
    found = await unneeded(environments, now_seconds=now_seconds, limit_bytes=limit_bytes)
    return await environments.remove([made.key for made in found]) if found else ()
