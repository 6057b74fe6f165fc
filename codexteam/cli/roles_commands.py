"""`codexteam roles`: who is on the team, and what each of them would be started with."""

import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request

if TYPE_CHECKING:
    from codexteam.config.settings import RoleSettings, Settings
    from codexteam.core.json_types import JSONObject


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command("roles")(roles)


def _complete_role(ctx: typer.Context, incomplete: str) -> list[str]:
    """Give the roles whose name starts so; a shell is told nothing of a configuration that does not load."""
    from codexteam.config.bundled import BUNDLED_ROLES
    from codexteam.config.load import load_settings
    from codexteam.errors import CodexteamError

    try:
        names = sorted(load_settings(load_request(ctx)).roles)
    except CodexteamError:
        names = sorted(BUNDLED_ROLES)
    return [name for name in names if name.startswith(incomplete)]


def roles(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this role's receipt.", show_default=False, autocompletion=_complete_role
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines for programs.")] = False,
) -> None:
    """List the roles, or show what one of them would be started with."""
    from codexteam.config.load import load_settings
    from codexteam.config.receipt import receipt

    request = load_request(ctx)
    settings = load_settings(request)
    if name is None:
        _list(settings, as_json=as_json)
        return
    found = receipt(_named(settings, name), settings)
    if as_json:
        _json_lines([{"type": "receipt", **found}], kind="roles.completed")
    else:
        from codexteam.cli.receipt_view import receipt_text

        sys.stdout.write(receipt_text(found, Path(request.environment.get("HOME") or "/nonexistent")))


def _named(settings: "Settings", name: str) -> "RoleSettings":
    from codexteam.core.text import clean_line
    from codexteam.errors import UsageError

    role = settings.roles.get(name)
    if role is not None:
        return role
    near = difflib.get_close_matches(name, settings.roles, n=1)
    known = ", ".join(sorted(settings.roles))
    raise UsageError(
        f"there is no role {clean_line(name)!r}; there are {known}", hint=f"did you mean {near[0]}?" if near else ""
    )


def _list(settings: "Settings", *, as_json: bool) -> None:
    ordered = _ordered(settings)
    if as_json:
        records: list[JSONObject] = [
            {
                "type": "role",
                "name": role.name,
                "description": role.description,
                "model": role.model.model,
                "effort": role.model.effort,
                "sandbox": role.sandbox_mode.value,
                "source": role.source,
            }
            for role in ordered
        ]
        _json_lines(records, kind="roles.completed")
        return
    rows = [
        (role.name, role.model.model, role.model.effort or "-", role.sandbox_mode.value, _layer(role, settings))
        for role in ordered
    ]
    sys.stdout.write(_table(("ROLE", "MODEL", "EFFORT", "SANDBOX", "FROM"), rows))
    sys.stdout.write("\nOne role in full: codexteam roles NAME\n")


def _ordered(settings: "Settings") -> "list[RoleSettings]":
    """Give the roles in the order in which a run meets them, then the user's own by name."""
    from codexteam.config.bundled import BUNDLED_ROLES

    place = {name: index for index, name in enumerate(BUNDLED_ROLES)}
    return sorted(settings.roles.values(), key=lambda role: (place.get(role.name, len(place)), role.name))


def _layer(role: "RoleSettings", settings: "Settings") -> str:
    """Give in a word whose file it is; a path would not fit into 80 columns."""
    from codexteam.config.request import SYSTEM_FOLDER

    if not Path(role.source).is_absolute():
        return role.source
    if Path(role.source).is_relative_to(settings.codex_home):
        return "user"
    return "system" if Path(role.source).is_relative_to(SYSTEM_FOLDER) else "project"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from codexteam.core.text import clean_line

    lines = [head, *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _json_lines(records: "Sequence[JSONObject]", *, kind: str) -> None:
    for record in (*records, {"type": kind, "count": len(records)}):
        sys.stdout.write(json.dumps(record) + "\n")
