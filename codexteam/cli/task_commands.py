"""`retry`, `drop`, `add`, `priority`, `budget` and `shell`: what people ask of a run's tasks, while it is active or waits."""

import sys
from typing import Annotated

import typer

from codexteam.cli.control_commands import Resume, read_text, say_replies
from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, project_of
from codexteam.cli.view_commands import RunOption, complete_task
from codexteam.errors import UsageError

Task = Annotated[str, typer.Argument(metavar="TASK", help="Such as T3.", autocompletion=complete_task)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (retry, drop, add, priority, budget, shell):
        app.command(command.__name__)(command)


def retry(
    ctx: typer.Context,
    *,
    task: Task,
    model: Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="Use this model from now on.")] = "",
    effort: Annotated[
        str, typer.Option("--effort", metavar="EFFORT", help="Use this reasoning effort, such as high, from now on.")
    ] = "",
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Try a task again, from the work that there is.

    A task that failed or was dropped is taken up again. If an agent is working on it, that agent ends, and a new one
    continues from its work.
    """
    from codexteam.app import task_requests

    found, project = output(ctx, as_json=as_json), project_of(ctx, state_dir)
    reply = task_requests.retry(project, load_request(ctx), task, run, model=model.strip(), effort=effort.strip())
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def drop(
    ctx: typer.Context,
    *,
    task: Task,
    dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Also drop the tasks that wait for it.")
    ] = False,
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Take a task out of the plan; its work is kept.

    A task that others wait for is not dropped alone. `retry` takes a dropped task up again.
    """
    from codexteam.app import task_requests

    found = output(ctx, as_json=as_json)
    reply = task_requests.drop(project_of(ctx, state_dir), task, run, dependents=dependents)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def add(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="TASK", help="Its title, and below it any details; - reads standard input.")
    ],
    after: Annotated[
        list[str] | None, typer.Option("--after", metavar="TASK", help="Start when this is merged; repeatable.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="GLOB", help="What it may write; repeatable.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="COMMAND", help="Must exit with 0 when it is done; repeatable."),
    ] = None,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="Who works on it.")] = "implementer",
    effort: Annotated[int, typer.Option("--effort", metavar="1-5", min=1, max=5, help="Its relative size.")] = 1,
    budget: Annotated[
        str, typer.Option("--budget", metavar="AMOUNT", help="What it may use: 25% of the run's limits, 2usd, 400k.")
    ] = "",
    first: Annotated[bool, typer.Option("--first", help="Start it before other tasks.")] = False,  # noqa: FBT002
    resume: Resume = False,  # noqa: FBT002
    run: RunOption = None,
    as_json: Json = False,  # noqa: FBT002
    state_dir: StateDir = None,
) -> int:
    """Add a task to the plan."""
    from codexteam.app import task_requests

    new = task_requests.NewTask(
        read_text(words),
        role=role,
        after=tuple(after or ()),
        paths=tuple(path or ()),
        accept=tuple(accept or ()),
        effort=effort,
        budget=budget,
        first=first,
    )
    found = output(ctx, as_json=as_json)
    reply = task_requests.add(project_of(ctx, state_dir), load_request(ctx), new, run)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def priority(
    ctx: typer.Context,
    *,
    task: Task,
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="first, last, normal, or a number; higher ones start first.")
    ] = "first",
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Start a task before others, or after them.

    What it waits for moves with it.
    """
    from codexteam.app import task_requests

    found = output(ctx, as_json=as_json)
    reply = task_requests.prioritize(project_of(ctx, state_dir), task, place, run)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def budget(
    ctx: typer.Context,
    *,
    amounts: Annotated[
        list[str], typer.Argument(metavar="AMOUNT...", help="In all, as 20usd or 2000k; or more, as +5usd.")
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASK", help="Of this task alone.", autocompletion=complete_task),
    ] = None,
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Change what a run, or one of its tasks, may spend.

    Agents that wait for budget continue.
    """
    from codexteam.app import task_requests

    if any(not amount.strip() for amount in amounts):
        raise UsageError("an amount is empty", hint="codexteam budget +5usd")
    found, project = output(ctx, as_json=as_json), project_of(ctx, state_dir)
    reply = task_requests.set_budget(project, load_request(ctx), [each.strip() for each in amounts], task, run)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def shell(
    ctx: typer.Context,
    *,
    task: Task,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Of this attempt, not of the newest.")
    ] = None,
    run: RunOption = None,
    state_dir: StateDir = None,
) -> int:
    """Open a shell in a copy of a task's workspace.

    Its sandbox is like the agent's. If an agent is working on the task, it waits with its next turn until you leave.
    """
    from codexteam.app.environments import EnvironmentOptions
    from codexteam.app.task_shell import find_tree, open_task_shell
    from codexteam.views.environments import progress, say_whose_shell_it_is

    out, project = output(ctx, as_json=False), project_of(ctx, state_dir)
    tree = find_tree(project, task, run, attempt=attempt)
    both = sys.stdin.isatty() and sys.stdout.isatty()
    ends = (sys.stdin.fileno(), sys.stdout.fileno()) if both else None
    options = EnvironmentOptions(load_request(ctx), state_dir, progress(out))
    return open_task_shell(project, options, tree, ends, on_ready=lambda tree: say_whose_shell_it_is(out, tree))
