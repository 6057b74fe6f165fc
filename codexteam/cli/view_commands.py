"""`runs`, `status`, `show`, `logs`, `diff` and `events`: read only, also while a run goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import ArgumentInfo

from codexteam.cli.options import global_options, load_request
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.app.looking import Where
    from codexteam.app.output import Output
    from codexteam.core.state import RunState

StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where the state is, if not in the git directory.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines for programs.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Give the runs whose id starts so; a shell is told of no error."""
    return [name for name in _from_store(ctx, _run_ids) if name.startswith(incomplete)]


def complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Give the run's tasks whose id starts so."""
    return [name for name in _from_store(ctx, _task_ids) if name.startswith(incomplete.upper())]


def complete_item(ctx: typer.Context, incomplete: str) -> list[str]:
    """Give what waits in a run whose name starts so."""
    return [name for name in _from_store(ctx, _item_names) if name.startswith(incomplete)]


def _run_argument(otherwise: str) -> ArgumentInfo:
    """Give the argument RUN; `otherwise` says which run is meant without it."""
    told: ArgumentInfo = typer.Argument(
        metavar="RUN",
        help=f"A run, or the start of its id; else {otherwise}.",
        show_default=False,
        autocompletion=complete_run,
    )
    return told


RunName = Annotated[str | None, _run_argument("the newest")]
RunAtWork = Annotated[str | None, _run_argument("the one that goes on")]
SomeRuns = Annotated[str | None, _run_argument("as above")]
AllRuns = Annotated[str | None, _run_argument("all")]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="RUN", help="A run, or the start of its id; else the newest.", autocompletion=complete_run
    ),
]
TaskName = Annotated[
    str | None,
    typer.Argument(metavar="TASK", help="Such as T3.", show_default=False, autocompletion=complete_task),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (runs, status, show, logs, diff, events):
        app.command(command.__name__)(command)


def runs(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="The newest N; 0 for all.")] = 20,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """List runs, newest first: state, age, tasks merged, cost, goal."""
    from codexteam.app import viewing

    found = output(ctx, as_json=as_json)
    return printed(lambda: viewing.runs(where(ctx, state_dir), found, limit=limit), found)


def status(ctx: typer.Context, *, name: RunName = None, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show one run on one screen; what waits for you comes first."""
    from codexteam.app import viewing

    found = output(ctx, as_json=as_json)
    return printed(lambda: viewing.status(where(ctx, state_dir), found, name), found)


def show(
    ctx: typer.Context,
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Such as T3.", autocompletion=complete_task)],
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Show a task's story: each attempt, what was run, what came of it."""
    from codexteam.app import viewing

    found = output(ctx, as_json=as_json)
    return printed(lambda: viewing.show(where(ctx, state_dir), found, task, run), found)


def logs(
    ctx: typer.Context,
    *,
    task: TaskName = None,
    run: RunOption = None,
    follow: Follow = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Print a run's history, a line for each event.

    With TASK: that task's, and what its agents did.
    """
    from codexteam.app import following

    found = output(ctx, as_json=as_json)
    return printed(lambda: following.logs(where(ctx, state_dir), found, task, run, follow=follow), found)


def events(
    ctx: typer.Context,
    *,
    name: RunName = None,
    follow: Follow = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Print a run's events.jsonl as it is.

    With --json a terminal record follows.
    """
    from codexteam.app import following

    found = output(ctx, as_json=as_json)
    return printed(lambda: following.events(where(ctx, state_dir), found, name, follow=follow), found)


def diff(
    ctx: typer.Context,
    *,
    task: TaskName = None,
    run: RunOption = None,
    stat: Annotated[bool, typer.Option("--stat", help="Files and how much changed in each.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Files alone.")] = False,
    patch_out: Annotated[
        Path | None, typer.Option("--patch-out", metavar="FILE", help="Write a patch that git apply takes.")
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Show what a run changed, or one task's work.

    A task's work is shown against the base that its agent saw.
    """
    from codexteam.app import diffing

    if stat and name_only:
        raise UsageError("--stat and --name-only are two forms of the same", hint="give one of them")
    kind = diffing.Kind.STAT if stat else diffing.Kind.NAMES if name_only else diffing.Kind.PATCH
    found = output(ctx, as_json=as_json)
    return printed(lambda: diffing.diff(where(ctx, state_dir), found, task, run, kind=kind, patch_out=patch_out), found)


# what all commands here, and those of people and tidying, begin with


def where(ctx: typer.Context, state_dir: Path | None) -> "Where":
    """Give where a command looks."""
    from codexteam.app.looking import Where

    request = load_request(ctx)
    return Where(request.cwd, request.environment, state_dir)


def output(ctx: typer.Context, *, as_json: bool) -> "Output":
    """Give where a command prints."""
    import sys

    from codexteam.app.output import Output
    from codexteam.config.environment import read_environment

    return Output(as_json, global_options(ctx).color.value, read_environment(), sys.stdout, sys.stderr)


def printed(command: Callable[[], int], found: "Output") -> int:
    """Run what prints; a reader that goes away early is no error."""
    from codexteam.app.output import run_printing

    return run_printing(command, found)


def _from_store(ctx: typer.Context, names: "Callable[[RunState | None, list[str]], list[str]]") -> list[str]:
    from codexteam.app.names import known_names
    from codexteam.errors import CodexteamError

    try:
        run_ids, state = known_names(where(ctx, ctx.params.get("state_dir")), ctx.params.get("run"))
    except CodexteamError:
        return []
    return names(state, run_ids)


def _run_ids(_state: "RunState | None", run_ids: list[str]) -> list[str]:
    return run_ids


def _task_ids(state: "RunState | None", _run_ids: list[str]) -> list[str]:
    return [str(task_id) for task_id in state.tasks] if state else []


def _item_names(state: "RunState | None", _run_ids: list[str]) -> list[str]:
    return list(state.holds) if state else []
