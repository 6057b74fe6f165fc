"""`inbox`, `answer`, `approve`, `say`, `pause` and `stop`: what people decide while a run is active, or waits."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.view_commands import RunAtWork, RunOption, complete_item, complete_task
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.app.live_requests import Reply
    from codexteam.views.streams import OutputStreams

#: Anything longer belongs in a file that the answer names.
MAX_TEXT_BYTES = 64 * 1024

Item = Annotated[
    str,
    typer.Argument(metavar="ITEM", help="Name in the inbox, or a unique prefix.", autocompletion=complete_item),
]


Resume = Annotated[bool, typer.Option("--resume", help="Also resume the run if it is not running.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (inbox, answer, approve, say, pause, stop):
        app.command(command.__name__)(command)


def inbox(ctx: typer.Context, *, run: RunOption = None, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show what waits for you, and how to answer it."""
    from codexteam.app import inspect
    from codexteam.views.screens import show_inbox

    found = inspect.inbox(project_of(ctx, state_dir), run)
    return printed(output(ctx, as_json=as_json), lambda out: show_inbox(out, found))


def answer(
    ctx: typer.Context,
    *,
    item: Item,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Your text; - reads it from standard input.")
    ] = None,
    no: Annotated[bool, typer.Option("--no", help="Decline.")] = False,
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Answer a question, send work back, decline, or waive findings.

    TEXT for a plan or a merge says what to change; --no alone declines it. `answer findings waive F1` works at any
    time.
    """
    from codexteam.app import control
    from codexteam.core.replies import Choice

    text = read_text(words or [])
    choice = Choice.DECLINE if no else Choice.NONE
    found = output(ctx, as_json=as_json)
    project = project_of(ctx, state_dir)
    replies = [control.answer(project, item, run, text=text, choice=choice, resumes=resume)]
    return say_replies(ctx, replies, found, resume=resume, state_dir=state_dir)


def approve(
    ctx: typer.Context,
    *,
    item: Annotated[
        str | None,
        typer.Argument(metavar="ITEM", help="Name in the inbox, or a unique prefix.", autocompletion=complete_item),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Approve everything in the run that needs no text.")] = False,
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Approve a plan, a merge, or more rounds."""
    from codexteam.app import control
    from codexteam.core.replies import Choice

    if (item is None) is not every:
        raise UsageError(
            "approve takes either ITEM or --all" if item else "approve needs ITEM, or --all",
            hint="codexteam inbox lists what waits",
        )
    found = output(ctx, as_json=as_json)
    project = project_of(ctx, state_dir)

    replies: Iterable[Reply]
    if item is None:
        replies = control.approve_all(project, run, resumes=resume)
    else:
        replies = [control.answer(project, item, run, text="", choice=Choice.APPROVE, resumes=resume)]
    return say_replies(ctx, replies, found, resume=resume, state_dir=state_dir)


def say(
    ctx: typer.Context,
    *,
    to: Annotated[str, typer.Argument(metavar="TASK", help="Such as T3, or planner.", autocompletion=complete_task)],
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="Your text; - reads it from standard input.")],
    resume: Resume = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Send a message to who works on a task, or to the planner.

    It is read before the next turn. If nobody is at work on it, the next agent begins with the message.
    """
    from codexteam.app import steering

    text = read_text(words).strip()
    if not text:
        raise UsageError("the message is empty", hint=f'codexteam say {to} "..."')
    found = output(ctx, as_json=as_json)
    reply = steering.say(project_of(ctx, state_dir), to, text, run)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def pause(
    ctx: typer.Context,
    *,
    name: RunAtWork = None,
    off: Annotated[bool, typer.Option("--off", help="Allow new agents to start again.")] = False,
    resume: Resume = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Start no new agents; running ones finish."""
    from codexteam.app import steering

    if resume and not off:
        raise UsageError("--resume needs --off", hint="codexteam pause --off --resume")
    found = output(ctx, as_json=as_json)
    project = project_of(ctx, state_dir)
    reply = steering.pause(project, name, off=off, resumes=resume)
    return say_replies(ctx, [reply], found, resume=resume, state_dir=state_dir)


def stop(
    ctx: typer.Context,
    *,
    name: RunAtWork = None,
    now: Annotated[bool, typer.Option("--now", help="Stop agents at once.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Stop a run so it can be resumed.

    Running agents finish first; --now stops them at once.
    """
    from codexteam.app import steering

    reply = steering.stop(project_of(ctx, state_dir), name, now=now)
    return say_replies(ctx, [reply], output(ctx, as_json=as_json))


def say_replies(
    ctx: typer.Context,
    replies: "Iterable[Reply]",
    found: "OutputStreams",
    *,
    resume: bool = False,
    state_dir: Path | None = None,
) -> int:
    """Print the outcomes of requests, and continue their run if that was asked for and it is not running."""
    from codexteam.views.replies import print_reply

    heard: list[Reply] = []

    def show(out: "OutputStreams") -> None:
        for reply in replies:
            heard.append(reply)
            print_reply(out, reply)

    code = printed(found, show)
    if not resume or not heard or not heard[-1].resumable:
        return code
    from codexteam.app.run import RunOptions, resume_run
    from codexteam.cli.run_commands import view

    shown = view(ctx, json=found.json_lines)
    options = RunOptions(load_request(ctx), shown, state_dir=state_dir)
    return shown.show(lambda: resume_run(heard[-1].run_id, options))


def read_text(words: list[str]) -> str:
    """Return a text as it was typed, or all of standard input for `-`.

    Raises:
        UsageError: it is too long, or no UTF-8.
    """
    typed = " ".join(words).encode("utf-8", "surrogateescape")
    data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1) if words == ["-"] else typed
    if len(data) > MAX_TEXT_BYTES:
        raise UsageError(
            f"the text has more than {MAX_TEXT_BYTES:,} bytes",
            hint="put it into a file of the repository and name that",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the text is not valid UTF-8 (byte {error.start})") from error
