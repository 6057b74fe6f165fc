"""How far commands may go (`sandbox_mode`, `default_permissions`, `[permissions]`), and what the machine's requirements allow.

`requirements.toml` holds not values but what values may be. A refused one falls back, and is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from codexteam.config.layers import MergedLayers
from codexteam.config.schema import Problem, did_you_mean
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode, StatedValue
from codexteam.config.toml_file import TomlText
from codexteam.core.ids import JSONObject, JSONValue

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


_MODES, _SEARCHES = "allowed_sandbox_modes", "allowed_web_search_modes"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the machine allows; an empty set allows everything."""

    file: TomlText | None = None
    sandbox_modes: tuple[SandboxMode, ...] = ()
    web_searches: tuple[str, ...] = ()

    def cap_mode(self, mode: SandboxMode) -> tuple[SandboxMode, StatedValue | None]:
        """Return a mode if it is allowed, else the widest allowed one that is narrower, else the narrowest allowed.

        With it comes the line that refuses the one that was asked for.
        """
        if not self.sandbox_modes or mode in self.sandbox_modes:
            return mode, None
        order = list(SandboxMode)
        allowed = sorted(self.sandbox_modes, key=order.index)
        narrower = [known for known in allowed if order.index(known) < order.index(mode)]
        used = narrower[-1] if narrower else allowed[0]
        return used, self._line(_MODES, used.value)

    def cap_search(self, search: str) -> tuple[str, StatedValue | None]:
        """Return a web search if it is allowed, else the widest allowed one that reaches less far; and the line."""
        if not self.web_searches or search in self.web_searches or search == "disabled":
            return search, None
        narrower = WEB_SEARCH_ORDER[: WEB_SEARCH_ORDER.index(search)]
        allowed = [mode for mode in narrower if mode in self.web_searches or mode == "disabled"]
        return allowed[-1], self._line(_SEARCHES, allowed[-1])

    def _line(self, key: str, used: str) -> StatedValue:
        """Return the item of a list that counts, else the list, which does not have the value that is used."""
        assert self.file is not None
        items = _words(self.file.values.get(key))
        if used in items:
            return StatedValue(key, used, self.file.place((key, items.index(used))))
        return StatedValue(key, ", ".join(items), self.file.place((key,)))


def read_requirements(file: TomlText | None) -> Requirements:
    """Return the requirements of a file; words that are not known allow nothing."""
    if file is None:
        return Requirements()
    return Requirements(file=file, sandbox_modes=_modes(file), web_searches=tuple(_words(file.values.get(_SEARCHES))))


def _modes(file: TomlText) -> tuple[SandboxMode, ...]:
    words = _words(file.values.get(_MODES))
    known = tuple(mode for mode in SandboxMode if mode.value in words)
    # no mode at all would be no limit
    return known or ((SandboxMode.READ_ONLY,) if words else ())


def _words(value: JSONValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
