"""`runs`, `watch`, `status`, `show`, `logs`, `diff`, `artifacts` and `events`: read only, also while a run is at work."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import ArgumentInfo

from codexteam.cli.printing import Json, StateDir, output, printed, project_of, project_or_none
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.core.state import RunState

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Follow until the run ends.")]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs whose id has this prefix; none in case of an error."""
    return [name for name in _from_store(ctx, _run_ids) if name.startswith(incomplete)]


def complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the run's tasks whose id starts so."""
    return [name for name in _from_store(ctx, _task_ids) if name.startswith(incomplete.upper())]


def complete_item(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what waits in a run whose name starts so."""
    return [name for name in _from_store(ctx, _item_names) if name.startswith(incomplete)]


def _run_argument(otherwise: str) -> ArgumentInfo:
    """Return the argument RUN; `otherwise` says which run is meant without it."""
    argument: ArgumentInfo = typer.Argument(
        metavar="RUN",
        help=f"Run id or unique prefix (default: {otherwise}).",
        show_default=False,
        autocompletion=complete_run,
    )
    return argument


RunName = Annotated[str | None, _run_argument("the newest")]
RunAtWork = Annotated[str | None, _run_argument("the active run")]
SomeRuns = Annotated[str | None, _run_argument("as above")]
RunToWatch = Annotated[str | None, _run_argument("all that are at work")]
AllRuns = Annotated[str | None, _run_argument("all")]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="RUN", help="Run id or unique prefix (default: the newest).", autocompletion=complete_run
    ),
]
TaskOrRun = Annotated[
    str | None,
    typer.Argument(
        metavar="TASK|RUN",
        help="Task id, such as T3, or a run's id.",
        show_default=False,
        autocompletion=complete_task,
    ),
]
_LOOKS_LIKE_RUN = re.compile(r"\d{8}(-[0-9a-f-]*)?")


def _task_and_run(named: str | None, run: str | None) -> tuple[str | None, str | None]:
    """Tell a task from a run in what was named, which no task's id can be taken for."""
    if named is None or run is not None or not _LOOKS_LIKE_RUN.fullmatch(named):
        return named, run
    return None, named


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (runs, watch, status, show, logs, diff, artifacts, events):
        app.command(command.__name__)(command)


def runs(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="The newest N; 0 for all.")] = 20,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """List runs, newest first: state, age, tasks merged, cost, goal."""
    from codexteam.app import inspect
    from codexteam.views.screens import show_runs

    found = inspect.runs(project_of(ctx, state_dir), limit=limit)
    return printed(output(ctx, as_json=as_json), lambda out: show_runs(out, found))


def status(ctx: typer.Context, *, name: RunName = None, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show one run on one screen; what waits for you comes first."""
    from codexteam.app import inspect
    from codexteam.views.screens import show_status

    found = inspect.status(project_of(ctx, state_dir), name)
    return printed(output(ctx, as_json=as_json), lambda out: show_status(out, found))


def watch(ctx: typer.Context, *, name: RunToWatch = None, state_dir: StateDir = None) -> int:
    """Open the live view of a run, or of all that are at work.

    Keys act as the commands do: say, answer, pause, stop. Leaving the view does not stop a run.
    """
    from codexteam.views.watch import watch_all, watch_run

    found = output(ctx, as_json=False)
    if name is None:
        return watch_all(found, project_or_none(ctx, state_dir))
    return watch_run(found, project_of(ctx, state_dir), name)


def show(
    ctx: typer.Context,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="TASK|AGENT",
            help="Task id, such as T3, or an agent: T3.1, scout.2, 'reviewer review.1'.",
            autocompletion=complete_task,
        ),
    ],
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show all that the task's agents were asked, said and called.")
    ] = False,
    receipt: Annotated[
        bool, typer.Option("--receipt", help="Show what the agent was started with, and where each value comes from.")
    ] = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Show a task's history, or all that one agent did.

    Of a task: attempts, commands and results. Of an agent: its prompt, then each turn with the reasoning that the
    service shows, what it said, its tool calls and their whole output.
    """
    from codexteam.app import inspect
    from codexteam.app.agent_transcripts import transcripts
    from codexteam.views.screens import show_task
    from codexteam.views.transcript import show_receipts, show_transcripts

    project = project_of(ctx, state_dir)
    is_task = inspect.names_task(project, name, run)
    if transcript or receipt or not is_task:
        found = transcripts(project, name, run, of_task=is_task)
        if receipt:
            return printed(output(ctx, as_json=as_json), lambda out: show_receipts(out, found, Path.home()))
        return printed(output(ctx, as_json=as_json), lambda out: show_transcripts(out, found))
    story = inspect.show(project, name, run)
    return printed(output(ctx, as_json=as_json), lambda out: show_task(out, story))


def logs(
    ctx: typer.Context,
    *,
    task: TaskOrRun = None,
    run: RunOption = None,
    follow: Follow = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Print a run's history, one line per event.

    With TASK, only that task's history, and what its agents did.
    """
    from codexteam.app import inspect
    from codexteam.views.history import print_logs

    history = inspect.history(project_of(ctx, state_dir), *_task_and_run(task, run))
    return printed(output(ctx, as_json=as_json), lambda out: print_logs(out, history, follow=follow))


def events(
    ctx: typer.Context,
    *,
    name: RunName = None,
    follow: Follow = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Print a run's history as the lines of its events.jsonl.

    With --json, a terminal record follows.
    """
    from codexteam.app import inspect
    from codexteam.views.history import print_events

    history = inspect.history(project_of(ctx, state_dir), None, name)
    return printed(output(ctx, as_json=as_json), lambda out: print_events(out, history, follow=follow))


def diff(
    ctx: typer.Context,
    *,
    task: TaskOrRun = None,
    run: RunOption = None,
    stat: Annotated[bool, typer.Option("--stat", help="Show a diffstat.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Show only the names of changed files.")] = False,
    patch_out: Annotated[
        Path | None, typer.Option("--patch-out", metavar="FILE", help="Write a patch for git apply.")
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Show what a run changed, or one task's work.

    A task's work is shown against the base that its agent saw.
    """
    from codexteam.app.diff import changed_files, diff_text, write_patch
    from codexteam.views import changes

    if stat and name_only:
        raise UsageError("--stat and --name-only are two forms of the same", hint="give one of them")
    project, found = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    task, run = _task_and_run(task, run)
    if patch_out is not None:
        patch = write_patch(project, task, run, patch_out)
        return printed(found, lambda out: changes.print_written(out, patch))
    if as_json or name_only:
        changed = changed_files(project, task, run)
        return printed(found, lambda out: changes.print_changes(out, changed))
    text = diff_text(project, task, run, stat=stat)
    return printed(found, lambda out: changes.print_diff(out, text, paint=not stat))


def artifacts(ctx: typer.Context, *, name: RunName = None, as_json: Json = False, state_dir: StateDir = None) -> int:
    """List the files of a run: plan, report, notes, logs, snapshots."""
    from codexteam.app.artifacts import run_artifacts
    from codexteam.views.artifacts import show_artifacts

    found = run_artifacts(project_of(ctx, state_dir), name)
    return printed(output(ctx, as_json=as_json), lambda out: show_artifacts(out, found))


def _from_store(ctx: typer.Context, names: "Callable[[RunState | None, list[str]], list[str]]") -> list[str]:
    from codexteam.app.project import known_names
    from codexteam.errors import CodexteamError

    try:
        run_ids, state = known_names(project_of(ctx, ctx.params.get("state_dir")), ctx.params.get("run"))
    except CodexteamError:
        return []
    return names(state, run_ids)


def _run_ids(_state: "RunState | None", run_ids: list[str]) -> list[str]:
    return run_ids


def _task_ids(state: "RunState | None", _run_ids: list[str]) -> list[str]:
    return [str(task_id) for task_id in state.tasks] if state else []


def _item_names(state: "RunState | None", _run_ids: list[str]) -> list[str]:
    return list(state.holds) if state else []
