"""Values that a cap overrides: reported once with both places, and refused where a command line asks for them. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from codexteam.config.codex_schema import key_at
from codexteam.config.layers import Layer, LayerKind, MergedLayers
from codexteam.config.origins import BUILT_IN, words
from codexteam.config.role_reach import RunReach
from codexteam.config.settings import NetworkKind, RoleSettings, SandboxMode, StatedValue
from codexteam.errors import ConfigError

_COMMAND_LINE = (LayerKind.OVERRIDE, LayerKind.FLAG)
#: What a machine may cap.
_CAPPED_KEYS = ("sandbox_mode", "default_permissions", "web_search")


@dataclass(frozen=True, slots=True)
class Difference:
    """Roles whose files ask for something other than what they get, for one reason."""

    asked: StatedValue
    """The place is that of the first role."""
    used: str
    cap: StatedValue | None
    """None: it is a word that means what is used."""
    roles: tuple[tuple[str, str], ...]
    """Each role with the place that asks."""


def differences(roles: Iterable[RoleSettings]) -> list[Difference]:
    """Return each difference from what role files and configuration ask for, once."""
    found: dict[tuple[str, str, str, StatedValue | None], list[tuple[str, StatedValue]]] = {}
    for role in roles:
        for key, asked in role.asked.items():
            cap = role.capped_by.get(key)
            if cap is not None or key == "model_reasoning_effort":
                found.setdefault((asked.key, asked.value, _used(role, key), cap), []).append((role.name, asked))
    return [
        Difference(each[0][1], used, cap, tuple((name, asked.place) for name, asked in each))
        for (_, _, used, cap), each in found.items()
    ]


def difference_notices(roles: Iterable[RoleSettings]) -> Iterator[str]:
    """Describe each difference on a line."""
    for one in differences(roles):
        names = ", ".join(f"{name} ({place})" for name, place in one.roles)
        yield f"{one.asked.key}: `{one.used}` is used and not `{one.asked.value}`{because(one.cap)}: {names}"


def because(cap: StatedValue | None) -> str:
    """Describe what caps a value."""
    if cap is None:
        return ", which means the same to a service"
    if cap.place == BUILT_IN:
        return f", as a project's role gets no more than the run (`{cap.value}`)"
    return f", as {cap.place} says {cap.key} = {cap.value}"


def full_access_notice(roles: Mapping[str, RoleSettings]) -> str:
    """Explain what full access means here; empty if no role has it."""
    full = [role for role in roles.values() if role.sandbox_mode is SandboxMode.DANGER_FULL_ACCESS]
    if not full:
        return ""
    is_open = all(role.network.kind is NetworkKind.OPEN for role in full)
    network = "the network open" if is_open else "the hosts of allow_hosts"
    return (
        f"danger-full-access for {', '.join(role.name for role in full)}: each has {network} and, in a container, root, "
        "inside a sandbox of its own; your files and keys stay out of reach"
    )


def run_notices(reach: RunReach) -> Iterator[str]:
    """Describe what the machine's requirements deny the run itself."""
    said = reach.mode_said
    if reach.mode_cap is not None:
        yield _not_allowed("sandbox_mode", said, reach.mode.value, reach.mode_cap)
    if reach.search_cap is not None and reach.search_said is not None:
        yield _not_allowed("web_search", reach.search_said, reach.search_limit, reach.search_cap)


def _not_allowed(key: str, said: StatedValue | None, used: str, cap: StatedValue) -> str:
    asked = f"`{said.value}` ({said.place})" if said is not None else "what is the default"
    return f"{cap.place}: {key}: {asked} is not allowed here; `{used}` is used"


def refuse_capped_flags(layers: Iterable[Layer], merged: MergedLayers, reach: RunReach) -> None:
    """Refuse a command line that asks for what the machine's own files do not allow.

    Raises:
        ConfigError: it does; in a file it would be a notice.
    """
    typed = [layer for layer in layers if layer.kind in _COMMAND_LINE]
    caps = {"sandbox_mode": reach.mode_cap, "default_permissions": reach.mode_cap, "web_search": reach.search_cap}
    for key in _CAPPED_KEYS:
        flags = [layer for layer in typed if layer.values.get(key) is not None]
        counting = merged.origin((key,))
        if not flags or counting is None:
            continue
        asked = words(flags[-1].values[key])
        if counting.kind is LayerKind.MANAGED and words(counting.values[key]) != asked:
            raise _contradiction(
                flags[-1], key, asked, f"{counting.place((key,))} sets `{words(counting.values[key])}`"
            )
        cap = caps[key]
        if cap is not None and counting is flags[-1]:
            raise _contradiction(flags[-1], key, asked, f"{cap.place} allows `{cap.value}` at most")


def _contradiction(layer: Layer, key: str, asked: str, why: str) -> ConfigError:
    return ConfigError(
        f"{key_at(layer.name, key)}: found `{asked}`, but {why}, which no flag can change",
        hint="leave the flag out, or ask for what is allowed",
    )


def _used(role: RoleSettings, key: str) -> str:
    return {
        "sandbox_mode": role.sandbox_mode.value,
        "sandbox_workspace_write": role.network.kind.value,
        "web_search": role.model.web_search,
        "model_reasoning_effort": role.model.effort or "",
        "features.shell_tool": words(role.shell_tool),
        "skills.include_instructions": words(role.skills.include_instructions),
        "skills.bundled.enabled": words(role.skills.bundled_enabled),
    }[key]
