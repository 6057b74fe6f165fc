"""`fork` and `rewind`: a run that begins as another one was at a point of its history."""

from typing import Annotated

import typer

from codexteam.cli.control_commands import Resume, say_replies
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.view_commands import RunName
from codexteam.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (fork, rewind):
        app.command(command.__name__)(command)


_POINT = "The number of an event, plan, or a task that was merged, such as T3; none lists them."

At = Annotated[str | None, typer.Option("--at", metavar="POINT", help=_POINT)]
To = Annotated[str | None, typer.Option("--to", metavar="POINT", help=_POINT)]


def fork(
    ctx: typer.Context,
    *,
    name: RunName = None,
    at: At = None,
    resume: Resume = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Begin another run from a point of a run's history.

    The run itself stays as it is. What was in flight at that point begins anew, with a budget of its own.
    """
    return _made(ctx, name, at, rewinds=False, resume=resume, as_json=as_json, state_dir=state_dir)


def rewind(
    ctx: typer.Context,
    *,
    name: RunName = None,
    to: To = None,
    resume: Resume = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Go back to a point of a run's history.

    A new run, forked at that point, takes its place. What came after is kept under the old name: branch, work, history.
    """
    return _made(ctx, name, to, rewinds=True, resume=resume, as_json=as_json, state_dir=state_dir)


def _made(
    ctx: typer.Context,
    name: str | None,
    point: str | None,
    *,
    rewinds: bool,
    resume: bool,
    as_json: bool,
    state_dir: StateDir,
) -> int:
    from codexteam.app import forks
    from codexteam.views.forks import fork_reply, print_points

    found, project = output(ctx, as_json=as_json), project_of(ctx, state_dir)
    if point is None:
        if resume:
            raise UsageError(
                f"--resume needs {'--to' if rewinds else '--at'} POINT", hint="without it points are listed"
            )
        points = forks.list_points(project, name)
        return printed(found, lambda out: print_points(out, points, rewinds=rewinds))
    made = forks.fork_run(project, name, point, rewinds=rewinds)
    return say_replies(ctx, [fork_reply(made, resumes=resume)], found, resume=resume, state_dir=state_dir)
