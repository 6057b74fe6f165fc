"""What `roles` prints: the roles of the team, or what one of them would be started with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from codexteam.config.capped import differences
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.config.origins import BUILT_IN
from codexteam.config.request import SYSTEM_FOLDER
from codexteam.config.settings import RoleSettings, Settings, StatedValue
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.views.receipt import receipt_text, tilde
from codexteam.views.streams import OutputStreams


def print_roles(output: OutputStreams, settings: Settings, environment: Mapping[str, str]) -> None:
    """Print the roles, each on a line, and what differs from their files."""
    home = _home(environment)
    ordered = _ordered(settings)
    if output.json_lines:
        output.records((_as_json(role) for role in ordered), "roles.completed")
        return
    rows = [
        (role.name, role.model.model, role.model.effort or "-", role.sandbox_mode.value, _layer(role, settings))
        for role in ordered
    ]
    output.write(_table(("ROLE", "MODEL", "EFFORT", "SANDBOX", "FROM"), rows))
    for warning in settings.warnings:
        output.warn(f"warning: {clean_line(warning)}")
    output.write("".join(f"{clean_line(line)}\n" for line in _difference_lines(settings, home)))
    output.write("\nOne role in full: codexteam roles NAME\n")


def _difference_lines(settings: Settings, home: Path) -> list[str]:
    """Return where roles differ from what their files ask for: each difference once, with both places."""
    lines = []
    for one in differences(settings.roles.values()):
        width = max(len(name) for name, _ in one.roles)
        width = max(width, len("capped at"))
        lines += ["", f"{one.asked.key}: {one.used} is used, not {one.asked.value}"]
        if one.cap is not None:
            lines.append(f"  {'capped at':<{width}}  {_cap_words(one.cap, home)}")
        lines += [f"  {name:<{width}}  {tilde(place, home)}" for name, place in one.roles]
    return lines


def _cap_words(cap: StatedValue, home: Path) -> str:
    return "what the run has, as they are a project's roles" if cap.place == BUILT_IN else tilde(cap.place, home)


def print_receipt(output: OutputStreams, receipt: JSONObject, environment: Mapping[str, str]) -> None:
    """Print what a role would be started with."""
    if output.json_lines:
        output.records([{"type": "receipt", **receipt}], "roles.completed")
    else:
        output.write(receipt_text(receipt, _home(environment)))


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "/nonexistent")


def _as_json(role: RoleSettings) -> JSONObject:
    return {
        "type": "role",
        "name": role.name,
        "description": role.description,
        "model": role.model.model,
        "effort": role.model.effort,
        "sandbox": role.sandbox_mode.value,
        "source": role.source,
        "asked": {key: _stated(said) for key, said in role.asked.items()},
        "capped_by": {key: _stated(said) for key, said in role.capped_by.items()},
    }


def _stated(said: StatedValue) -> JSONObject:
    return {"key": said.key, "value": said.value, "origin": said.place}


def _ordered(settings: Settings) -> list[RoleSettings]:
    """Return the roles in the order in which a run meets them, then the user's own by name."""
    place = {name: index for index, name in enumerate(BUNDLED_ROLES)}
    return sorted(settings.roles.values(), key=lambda role: (place.get(role.name, len(place)), role.name))


def _layer(role: RoleSettings, settings: Settings) -> str:
    """Return in a word whose file it is; a path would not fit into 80 columns."""
    if not Path(role.source).is_absolute():
        return role.source
    if Path(role.source).is_relative_to(settings.codex_home):
        return "user"
    return "system" if Path(role.source).is_relative_to(SYSTEM_FOLDER) else "project"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
