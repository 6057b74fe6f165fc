"""`apply`, `clean` and `salvage`: the result into the current branch, leftovers away, work never lost."""

from pathlib import Path
from typing import Annotated

import typer

from codexteam.cli.view_commands import AllRuns, Json, RunName, SomeRuns, StateDir, output, printed, where
from codexteam.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (apply, clean, salvage):
        app.command(command.__name__)(command)


def apply(
    ctx: typer.Context,
    *,
    name: RunName = None,
    not_green: Annotated[
        bool, typer.Option("--even-if-not-green", help="Take what a run merged that did not end green.")
    ] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Merge a run's branch into the branch that is checked out.

    As you: with your own git, identity and hooks.
    """
    from codexteam.app import tidying

    found = output(ctx, as_json=as_json)
    return printed(lambda: tidying.apply(where(ctx, state_dir), found, name, not_green=not_green), found)


def clean(
    ctx: typer.Context,
    *,
    name: SomeRuns = None,
    every: Annotated[bool, typer.Option("--all", help="All runs, those that could be resumed too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Remove what runs left behind.

    Work that is nowhere else is archived first.

    Without RUN and --all: sandboxes of all dead runs, and everything of runs that ended green.
    """
    from codexteam.app import tidying

    if name and every:
        raise UsageError(f"--all and RUN ({name}) name different things", hint="give one of them")
    found = output(ctx, as_json=as_json)
    return printed(lambda: tidying.clean(where(ctx, state_dir), found, name, every=every, dry_run=dry_run), found)


def salvage(
    ctx: typer.Context,
    *,
    name: AllRuns = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write all of it into DIR as patches and bundles.")
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """List all work that runs ever produced, merged or not."""
    from codexteam.app import salvaging

    found = output(ctx, as_json=as_json)
    return printed(lambda: salvaging.salvage(where(ctx, state_dir), found, name, export=export), found)
