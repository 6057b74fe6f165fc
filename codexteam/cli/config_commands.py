"""`codexteam config`: what would really be used, and what is wrong with it."""

import typer

config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.add_typer(config_app, name="config")
