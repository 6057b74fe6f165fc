"""What the commands share: where they look, where they print, and the options for both."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, load_request

if TYPE_CHECKING:
    from codexteam.app.project import Project
    from codexteam.views.streams import OutputStreams

StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Read state from DIR instead of the git directory.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines.")]


def project_of(ctx: typer.Context, state_dir: Path | None) -> "Project":
    """Return the project that a command is about.

    Raises:
        RepoError: there is no repository.
    """
    from codexteam.app.project import find_project

    request = load_request(ctx)
    return find_project(request.cwd, request.environment, state_dir)


def project_or_none(ctx: typer.Context, state_dir: Path | None) -> "Project | None":
    """Return the project that a command is about; None outside any repository."""
    from codexteam.errors import RepoError

    try:
        return project_of(ctx, state_dir)
    except RepoError:
        return None


def output(ctx: typer.Context, *, as_json: bool) -> "OutputStreams":
    """Return where a command prints."""
    import sys

    from codexteam.config.request import read_environment
    from codexteam.views.streams import OutputStreams

    return OutputStreams(as_json, global_options(ctx).color.value, read_environment(), sys.stdout, sys.stderr)


def printed(found: "OutputStreams", show: "Callable[[OutputStreams], int | None]") -> int:
    """Print, and return the exit code; a reader that goes away early is not an error."""
    from codexteam.views.streams import run_printing

    return run_printing(show, found)
