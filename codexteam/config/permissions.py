"""How far commands may go: `sandbox_mode`, `default_permissions` and `[permissions]`, as one mode and one network."""

from collections.abc import Iterator
from dataclasses import dataclass

from codexteam.config.layers import MergedLayers
from codexteam.config.schema import Problem, did_you_mean
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode
from codexteam.core.ids import JSONObject

_BUILT_IN = {
    ":read-only": SandboxMode.READ_ONLY,
    ":workspace": SandboxMode.WORKSPACE_WRITE,
    ":danger-full-access": SandboxMode.DANGER_FULL_ACCESS,
}

#: How far a web search goes, narrowest first.
WEB_SEARCH_ORDER = ("disabled", "cached", "indexed", "live")

#: Each agent writes in a copy of its own, never in the user's work tree, so writing needs no decision on trust.
DEFAULT_MODE = SandboxMode.WORKSPACE_WRITE


@dataclass(frozen=True, slots=True)
class Reach:
    """A sandbox mode and whether it has the network."""

    mode: SandboxMode
    network: bool

    def policy(self, hosts: tuple[str, ...]) -> NetworkPolicy:
        """Return the network policy; with hosts named, a network means those."""
        full = self.mode is SandboxMode.DANGER_FULL_ACCESS
        if not (self.network or full) or self.mode is SandboxMode.READ_ONLY:
            return NetworkPolicy()
        return NetworkPolicy(NetworkKind.ALLOWLIST, hosts) if hosts else NetworkPolicy(NetworkKind.OPEN)


def narrower_search(wanted: str, limit: str) -> str:
    """Return the more restrictive of two web search modes."""
    return min(wanted, limit, key=WEB_SEARCH_ORDER.index)


def permission_problems(merged: MergedLayers) -> Iterator[Problem]:
    """Return the problems of `default_permissions` and of the profiles it can name."""
    profiles = merged.table("permissions")
    chosen = merged.text("default_permissions")
    if profiles and chosen is None:
        yield Problem(
            ("permissions",), "profiles, but no `default_permissions`", "both or neither", "say which profile counts"
        )
    names = {*profiles, *_BUILT_IN}
    if chosen is not None and chosen not in names:
        yield Problem(
            ("default_permissions",),
            f"`{chosen}`, which is not defined",
            f"one of {', '.join(sorted(names))}",
            did_you_mean(chosen, names),
        )
    for name, profile in profiles.items():
        parent = profile.get("extends") if isinstance(profile, dict) else None
        if isinstance(parent, str) and parent not in names:
            yield Problem(
                ("permissions", name, "extends"),
                f"`{parent}`, which is not defined",
                f"one of {', '.join(sorted(names))}",
                did_you_mean(parent, names),
            )
        elif len(_chain(profiles, name)) > len(profiles) + 1:  # one more than all: a built-in may end it
            yield Problem(("permissions", name, "extends"), "a profile that extends itself", "a chain that ends")


def resolve_reach(values: JSONObject, fallback: Reach) -> Reach:
    """Return what a table of configuration asks for, `fallback` for what it does not say."""
    mode = fallback.mode
    named = values.get("sandbox_mode")
    if isinstance(named, str):
        mode = SandboxMode(named)
    section = values.get("sandbox_workspace_write")
    network = fallback.network
    if isinstance(section, dict) and isinstance(section.get("network_access"), bool):
        network = section["network_access"] is True
    profile = values.get("default_permissions")
    if isinstance(profile, str):
        permissions = values.get("permissions")
        mode, network = _profile_reach(permissions if isinstance(permissions, dict) else {}, profile, network=network)
    return Reach(mode, network)


def _profile_reach(profiles: JSONObject, name: str, *, network: bool) -> tuple[SandboxMode, bool]:
    mode = SandboxMode.READ_ONLY
    for step in reversed(_chain(profiles, name)[: len(profiles) + 1]):
        if step in _BUILT_IN:
            mode = _BUILT_IN[step]
            continue
        profile = profiles.get(step)
        if not isinstance(profile, dict):
            continue
        if mode is SandboxMode.READ_ONLY and _writes(profile.get("filesystem")):
            mode = SandboxMode.WORKSPACE_WRITE
        wanted = profile.get("network")
        if isinstance(wanted, dict) and isinstance(wanted.get("enabled"), bool):
            network = wanted["enabled"] is True
    return mode, network


def _writes(value: object) -> bool:
    return value == "write" or (isinstance(value, dict) and any(_writes(inner) for inner in value.values()))


def _chain(profiles: JSONObject, name: str) -> list[str]:
    """Return a profile and all it extends, nearest first; longer than all profiles together where it is a cycle."""
    chain = [name]
    while len(chain) <= len(profiles) + 1:
        profile = profiles.get(chain[-1])
        parent = profile.get("extends") if isinstance(profile, dict) else None
        if not isinstance(parent, str):
            break
        chain.append(parent)
    return chain
