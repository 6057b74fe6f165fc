"""What a command line names or pipes in place of a text: a goal on standard input, constraints in a file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import checked_text, global_options, working_directory

if TYPE_CHECKING:
    from codexteam.app.issue_goal import IssueGoal

IssueName = Annotated[
    str | None,
    typer.Option("--issue", metavar="N|URL", help="Take an issue on GitHub as the goal; its comments are data."),
]
Batches = Annotated[
    int | None,
    typer.Option(
        "--batches", metavar="N", min=1, help="End this session after N passes of the gates; resume continues."
    ),
]


def read_constraints(ctx: typer.Context, said: str | None) -> str:
    """Return the constraints as they were typed, or all of the file that was named.

    Raises:
        UsageError: the file is not there, no UTF-8 text, or longer than any goal; or nothing was said.
    """
    from codexteam.app.run import MAX_GOAL_BYTES
    from codexteam.errors import UsageError

    if said is None:
        return ""
    text = checked_text("--constraints", said)
    path = working_directory(global_options(ctx)) / Path(text).expanduser() if len(text) < 4096 else None
    try:
        if path is not None and "\n" not in text and path.is_file():
            with path.open("rb") as file:
                data = file.read(MAX_GOAL_BYTES + 1)
            if len(data) > MAX_GOAL_BYTES:
                raise UsageError(
                    f"--constraints {said}: the file is too long: at most {MAX_GOAL_BYTES:,} bytes are allowed"
                )
            text = data.decode("utf-8").removeprefix("\ufeff")
        elif path is not None and _names_a_path(text):
            what = "it is not a file" if path.exists() else "there is no such file"
            raise UsageError(f"--constraints {said}: {what}", hint="name a file, or write the constraint itself")
    except UnicodeDecodeError as error:
        raise UsageError(f"--constraints {said}: the file is not valid UTF-8 (byte {error.start})") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"--constraints {said}: the file cannot be read: {error}") from error
    if not text.strip():
        raise UsageError("--constraints: it is empty", hint="say what every task must keep to, or leave the flag out")
    return text


def _names_a_path(text: str) -> bool:
    """Return whether a text can hardly be meant as words: one word that is a path, or ends as a file of text does."""
    word = text.strip()
    if not word or any(each.isspace() for each in word):
        return False
    return "/" in word or word in {".", "..", "~"} or word.lower().endswith((".md", ".txt", ".rst"))


def read_goal(goal: str | None) -> str | None:
    """Return the goal as it was typed, or all of standard input for `-`.

    Raises:
        UsageError: standard input is not UTF-8 text, or is too long.
    """
    if goal != "-":
        return goal
    from codexteam.app.run import MAX_GOAL_BYTES
    from codexteam.errors import UsageError

    # one byte more than is allowed is enough to know
    data = sys.stdin.buffer.read(MAX_GOAL_BYTES + 1)
    if len(data) > MAX_GOAL_BYTES:
        raise UsageError(
            f"the goal on standard input is too long: at most {MAX_GOAL_BYTES:,} bytes are allowed",
            hint="put the details into a file of the repository and name it in the goal",
        )
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(f"the goal on standard input is not valid UTF-8 (byte {error.start})") from error


def given_goal(
    ctx: typer.Context, goal: str | None, issue: str | None, note: Callable[[str], None], state_dir: Path | None
) -> "IssueGoal":
    """Return the goal as it was typed, or what the issue asks for that was named in its place.

    Raises:
        UsageError: both are given, or one cannot be read.
        LandingError: GitHub does not show the issue.
    """
    from codexteam.app.issue_goal import IssueGoal, issue_goal
    from codexteam.config.request import read_environment
    from codexteam.errors import UsageError

    if issue is None:
        return IssueGoal(read_goal(goal))
    if goal is not None:
        raise UsageError(
            "GOAL and --issue both say what is to be achieved",
            hint="give one of them; --constraints says what every task must keep to",
        )
    found = issue_goal(
        checked_text("--issue", issue),
        cwd=working_directory(global_options(ctx)),
        environment=read_environment(),
        state_dir=state_dir,
        command=f"codexteam {ctx.info_name} --issue",
    )
    for words in found.notes:
        note(words)
    return found


def writable_file(ctx: typer.Context, file: Path) -> Path:
    """Return a file that can be written, before anything is spent on what it is to hold."""
    from codexteam.errors import UsageError

    path = working_directory(global_options(ctx)) / file.expanduser()
    try:
        with path.open("ab"):
            return path
    except OSError as error:
        raise UsageError(
            f"--output-last-message {file}: it cannot be written: {error.strerror}",
            hint="name a file in a folder that is there",
        ) from error
