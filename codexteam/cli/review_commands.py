"""`review`: the gates judge a change that is there already."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.ci_options import Artifacts, Ci, pipeline
from codexteam.cli.given_texts import read_constraints
from codexteam.cli.options import checked_text, global_options, working_directory
from codexteam.cli.run_commands import run_options, view
from codexteam.cli.run_flags import (
    Budget,
    Constraints,
    Json,
    Oss,
    Quiet,
    Record,
    Replay,
    StateDir,
    Threads,
    Wait,
    budget_flags,
    recording_flags,
)

if TYPE_CHECKING:
    from codexteam.ports.repo import ChangeWanted

_ENDINGS = (".md", ".sarif", ".json")

#: What `review` and `audit` take alike.
FindingsFile = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help=f"Also write the findings here, as FILE ends: {', '.join(_ENDINGS)}."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("review")(review)


def review(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    span: Annotated[
        str | None, typer.Argument(metavar="RANGE", help="A..B, or A...B: what B adds to their common base.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", metavar="BRANCH", help="What HEAD adds to this branch.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", metavar="SHA", help="What this commit changes.")] = None,
    uncommitted: Annotated[bool, typer.Option("--uncommitted", help="Staged, unstaged and untracked changes.")] = False,  # noqa: FBT002 - the parser fills it by name
    pull: Annotated[
        int | None,
        typer.Option("--pr", metavar="N", min=1, help="What this pull request of origin's repository changes."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TITLE", help="What the change is called.")] = None,
    file: FindingsFile = None,
    budget: Budget = None,
    max_threads: Threads = None,
    constraints: Constraints = None,
    record: Record = None,
    replay: Replay = None,
    oss: Oss = False,  # noqa: FBT002
    wait: Wait = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    ci: Ci = False,  # noqa: FBT002
    artifacts: Artifacts = None,
    state_dir: StateDir = None,
) -> int:
    """Let the gates judge a change; nothing is planned or changed.

    Without a flag: what this branch adds to the one it was made from. Exit code 0 means ship, 3 means block. A second
    review of the same change says what is fixed, new and unchanged.
    """
    from codexteam.app.review import NothingToReview, review_change

    wanted = _wanted(span, base, commit, uncommitted=uncommitted, pull=pull)
    place = None if file is None else checked_file(ctx, file)
    flags = {**budget_flags(budget or []), **recording_flags(record, replay)}
    if max_threads is not None:
        flags["codexteam.limits.max_threads"] = max_threads
    left = pipeline(ctx, "review", ci=ci, artifacts=artifacts, budget=budget, json=json)
    shown = view(ctx, json=json, quiet=quiet, pipeline=left)
    options = run_options(ctx, flags, shown, oss=oss, wait=wait, state_dir=state_dir)
    options = replace(options, constraints=read_constraints(ctx, constraints))
    if place is not None:
        place.unlink(missing_ok=True)  # what is there is of another review
    with shown.leaving_errors():
        found = review_change(wanted, options, title=checked_text("--title", title or ""))
    code = shown.show_nothing_to_review(found.title) if isinstance(found, NothingToReview) else shown.show_result(found)
    if place is not None:
        from codexteam.views.review_files import write_findings

        write_findings(found, place)
        shown.note(f"findings: {place}")
    return code


def _wanted(
    span: str | None, base: str | None, commit: str | None, *, uncommitted: bool, pull: int | None
) -> "ChangeWanted":
    """Return what is to be reviewed.

    Raises:
        UsageError: it is named twice.
    """
    from codexteam.errors import UsageError
    from codexteam.ports.repo import ChangeWanted

    given = {
        "RANGE": span,
        "--base": base,
        "--commit": commit,
        "--uncommitted": "yes" if uncommitted else None,
        "--pr": str(pull) if pull is not None else None,
    }
    said = [name for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} name different changes", hint="give one of them")
    for name, value in given.items():
        if value is not None and not checked_text(name, value).strip():
            raise UsageError(f"{name}: it is empty", hint="for example --base main")
    return ChangeWanted(base or "", commit or "", uncommitted, span or "", pull or 0)


def checked_file(ctx: typer.Context, file: Path) -> Path:
    """Return a file whose ending says a format, and whose folder is there, before anything is spent.

    Raises:
        UsageError: it is not one.
    """
    from codexteam.errors import UsageError

    path = working_directory(global_options(ctx)) / file.expanduser()
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(
            f"--output {file}: its ending says no format; allowed are {', '.join(_ENDINGS)}",
            hint="for example review.md",
        )
    if path.is_dir() or not path.parent.is_dir():
        what = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"--output {file}: {what}", hint="name a file in a folder that is there")
    return path
