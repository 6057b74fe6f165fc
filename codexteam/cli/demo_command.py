"""`demo`: the whole loop, without a key."""

from pathlib import Path
from typing import Annotated

import typer

from codexteam.cli.options import global_options, working_directory


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Put the sample repository here; else a new folder.")
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", min=0, max=1000, help="How fast the model answers; 0 is at once.")
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, the last one a terminal record.")] = False,  # noqa: FBT002
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the last screen.")] = False,  # noqa: FBT002
) -> int:
    """See a run on a sample repository; no key, no network.

    The model is a recording, all else is real: git, sandboxes (bubblewrap, no Docker), tests, gates.
    """
    from codexteam.app.demo import DemoOptions, play
    from codexteam.cli.run_commands import view
    from codexteam.config.environment import read_environment

    place = working_directory(global_options(ctx)) / folder.expanduser() if folder is not None else None
    options = DemoOptions(place, read_environment(), view(ctx, json=json, quiet=quiet), speed)
    return play(options)
