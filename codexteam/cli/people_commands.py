"""`inbox`, `answer`, `approve`, `say`, `pause` and `stop`: what people decide while a run goes on, or waits."""

import sys
from typing import Annotated

import typer

from codexteam.cli.view_commands import (
    Json,
    RunAtWork,
    RunOption,
    StateDir,
    complete_item,
    complete_task,
    output,
    printed,
    where,
)
from codexteam.errors import UsageError

#: More than this is no answer but a file; name it instead.
MAX_TEXT_BYTES = 64 * 1024

Item = Annotated[
    str,
    typer.Argument(metavar="ITEM", help="Its name in the inbox, or the start of it.", autocompletion=complete_item),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (inbox, answer, approve, say, pause, stop):
        app.command(command.__name__)(command)


def inbox(ctx: typer.Context, *, run: RunOption = None, as_json: Json = False, state_dir: StateDir = None) -> int:
    """Show what waits for you, and how to answer it."""
    from codexteam.app import viewing

    found = output(ctx, as_json=as_json)
    return printed(lambda: viewing.inbox(where(ctx, state_dir), found, run), found)


def answer(
    ctx: typer.Context,
    *,
    item: Item,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="What you say; - reads it from standard input.")
    ] = None,
    no: Annotated[bool, typer.Option("--no", help="Decline.")] = False,
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Answer a question, send work back, or decline.

    Words beside a plan or a merge say what to change; --no alone declines it.
    """
    from codexteam.app import people
    from codexteam.core.replies import Choice

    text = read_text(words or [])
    choice = Choice.DECLINE if no else Choice.NONE
    found = output(ctx, as_json=as_json)
    return printed(lambda: people.answer(where(ctx, state_dir), found, item, run, text=text, choice=choice), found)


def approve(
    ctx: typer.Context, *, item: Item, run: RunOption = None, as_json: Json = False, state_dir: StateDir = None
) -> int:
    """Approve a plan, a merge, or more rounds."""
    from codexteam.app import people
    from codexteam.core.replies import Choice

    found = output(ctx, as_json=as_json)
    return printed(
        lambda: people.answer(where(ctx, state_dir), found, item, run, text="", choice=Choice.APPROVE), found
    )


def say(
    ctx: typer.Context,
    *,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Such as T3.", autocompletion=complete_task)],
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="What you say; - reads it from standard input.")],
    run: RunOption = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Tell the agent at work on a task something, before its next turn."""
    from codexteam.app import people

    text = read_text(words).strip()
    if not text:
        raise UsageError("the message is empty", hint=f'codexteam say {task} "..."')
    found = output(ctx, as_json=as_json)
    return printed(lambda: people.say(where(ctx, state_dir), found, task, text, run), found)


def pause(
    ctx: typer.Context,
    *,
    name: RunAtWork = None,
    off: Annotated[bool, typer.Option("--off", help="Let new agents start again.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Let agents at work go on and no new one start."""
    from codexteam.app import people

    found = output(ctx, as_json=as_json)
    return printed(lambda: people.pause(where(ctx, state_dir), found, name, go_on=off), found)


def stop(
    ctx: typer.Context,
    *,
    name: RunAtWork = None,
    now: Annotated[bool, typer.Option("--now", help="Stop agents where they are.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """End a run so that resume goes on with it.

    Its agents may end first, unless --now is said.
    """
    from codexteam.app import people

    found = output(ctx, as_json=as_json)
    return printed(lambda: people.stop(where(ctx, state_dir), found, name, now=now), found)


def read_text(words: list[str]) -> str:
    """Give a text as it was typed, or all of standard input for `-`.

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
        raise UsageError(f"the text is no UTF-8: byte {error.start}") from error
