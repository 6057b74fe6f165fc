"""`apply`, `clean` and `salvage`: the result into the current branch, leftovers away, work never lost."""

from pathlib import Path
from typing import Annotated

import typer

from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.view_commands import AllRuns, RunName, SomeRuns
from codexteam.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (apply, clean, salvage):
        app.command(command.__name__)(command)


def apply(
    ctx: typer.Context,
    *,
    name: RunName = None,
    not_green: Annotated[bool, typer.Option("--even-if-not-green", help="Apply a run that did not end green.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Merge a run's branch into the branch that is checked out.

    Runs your own git, with your identity and hooks.
    """
    from codexteam.app.clean import apply_run
    from codexteam.views.work import print_applied

    applied = apply_run(project_of(ctx, state_dir), name, not_green=not_green)
    return printed(output(ctx, as_json=as_json), lambda out: print_applied(out, applied))


def clean(
    ctx: typer.Context,
    *,
    name: SomeRuns = None,
    every: Annotated[bool, typer.Option("--all", help="Include all runs, even those that could be resumed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Remove what runs left behind.

    Work that exists nowhere else is archived first.

    Without RUN or --all, removes the sandboxes of all dead runs, everything that green runs left behind, and
    environments that have long been unused or that there is no room for.
    """
    from codexteam.app.clean import clean_runs
    from codexteam.views.work import print_cleaned

    if name and every:
        raise UsageError(f"--all and RUN ({name}) name different things", hint="give one of them")
    cleaned = clean_runs(project_of(ctx, state_dir), name, every=every, dry_run=dry_run)
    return printed(output(ctx, as_json=as_json), lambda out: print_cleaned(out, cleaned))


def salvage(
    ctx: typer.Context,
    *,
    name: AllRuns = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write all of it to DIR as patches and bundles.")
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """List all work that runs have produced, merged or not."""
    from codexteam.app.salvage import all_work, export_work
    from codexteam.views.work import print_exported, print_work

    project, found = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    work = all_work(project, name)
    if export is None:
        return printed(found, lambda out: print_work(out, work))
    written = export_work(project, work, export)
    return printed(found, lambda out: print_exported(out, work, written))
