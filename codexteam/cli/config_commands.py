"""`codexteam config`: what would really be used, and what is wrong with it."""

from typing import Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, output, printed

config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.add_typer(config_app, name="config")


@config_app.command("show")
def show(
    ctx: typer.Context,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Show the file and line that set each value.")] = False,
    as_json: Json = False,
) -> int:
    """Show the effective values as TOML; secrets are hidden."""
    from codexteam.config.display import effective_values
    from codexteam.config.load import load_layers, load_settings
    from codexteam.views.configuration import print_values

    request = load_request(ctx)
    settings = load_settings(request)
    values = effective_values(load_layers(request), settings)
    return printed(output(ctx, as_json=as_json), lambda out: print_values(out, values, settings.notices, origin=origin))


@config_app.command("check")
def check(ctx: typer.Context, *, as_json: Json = False) -> int:
    """Check every file and report unused keys.

    Both unknown keys, and those that Codex uses and codexteam does not.
    """
    from codexteam.config.load import load_layers, load_settings
    from codexteam.views.configuration import print_check

    request = load_request(ctx)
    settings = load_settings(request)
    loaded = load_layers(request)
    return printed(output(ctx, as_json=as_json), lambda out: print_check(out, loaded, settings))
