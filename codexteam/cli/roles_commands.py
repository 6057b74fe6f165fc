"""`codexteam roles`: who is on the team, and what each of them would be started with."""

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, output, printed

if TYPE_CHECKING:
    from codexteam.config.settings import RoleSettings, Settings


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command("roles")(roles)


def _complete_role(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the roles with this prefix; none, without an error, if the configuration does not load."""
    from codexteam.config.load import load_settings
    from codexteam.config.locations import BUNDLED_ROLES
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
    as_json: Json = False,
) -> int:
    """List the roles, or show what one of them would be started with."""
    from codexteam.config.load import load_settings
    from codexteam.config.receipt import receipt
    from codexteam.views.roles import print_receipt, print_roles

    request = load_request(ctx)
    settings = load_settings(request)
    found = output(ctx, as_json=as_json)
    if name is None:
        return printed(found, lambda out: print_roles(out, settings, request.environment))
    shown = receipt(_named(settings, name), settings)
    return printed(found, lambda out: print_receipt(out, shown, request.environment))


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
