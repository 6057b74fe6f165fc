"""`audit`: the gates judge what is there, without a change."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.ci_options import Artifacts, Ci, pipeline
from codexteam.cli.given_texts import read_constraints
from codexteam.cli.options import global_options, working_directory
from codexteam.cli.review_commands import FindingsFile, checked_file
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
    from codexteam.app.run import RunResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit)


def audit(  # noqa: PLR0917 - the parser fills them by name
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files and folders (default: the whole repository).")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Write what should be fixed as a plan: codexteam run --plan FILE."),
    ] = None,
    file: FindingsFile = None,
    budget: Budget = None,
    max_threads: Threads = None,
    constraints: Constraints = None,
    record: Record = None,
    replay: Replay = None,
    oss: Oss = False,  # noqa: FBT002 - the parser fills it by name
    wait: Wait = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    quiet: Quiet = False,  # noqa: FBT002
    ci: Ci = False,  # noqa: FBT002
    artifacts: Artifacts = None,
    state_dir: StateDir = None,
) -> int:
    """Let the gates judge what is there; nothing is changed.

    They look for faults, dead code, missing tests and holes in security. Exit code 0 means that nothing must be fixed, 3
    that something must. A second audit of the same paths says what is fixed, new and unchanged.
    """
    from codexteam.app.review import NothingToReview, audit_wanted, review_change
    from codexteam.errors import InternalError

    place = None if file is None else checked_file(ctx, file)
    planned = None if plan is None else _new_plan(ctx, plan)
    flags = {**budget_flags(budget or []), **recording_flags(record, replay)}
    if max_threads is not None:
        flags["codexteam.limits.max_threads"] = max_threads
    left = pipeline(ctx, "audit", ci=ci, artifacts=artifacts, budget=budget, json=json)
    shown = view(ctx, json=json, quiet=quiet, pipeline=left)
    options = run_options(ctx, flags, shown, oss=oss, wait=wait, state_dir=state_dir)
    options = replace(options, constraints=read_constraints(ctx, constraints))
    with shown.leaving_errors():
        wanted = audit_wanted(paths or [], options)
        if place is not None:
            place.unlink(missing_ok=True)  # what is there is of another audit
        found = review_change(wanted, options)
    if isinstance(found, NothingToReview):
        raise InternalError("an audit found nothing to look at")
    code = shown.show_result(found)
    if place is not None:
        from codexteam.views.review_files import write_findings

        write_findings(found, place)
        shown.note(f"findings: {place}")
    if planned is not None:
        shown.note(_write_plan(found, planned))
    return code


def _new_plan(ctx: typer.Context, file: Path) -> Path:
    """Return where a plan can be written, before anything is spent.

    Raises:
        UsageError: something is there already, or the folder is not.
    """
    from codexteam.errors import UsageError

    path = working_directory(global_options(ctx)) / file.expanduser()
    if path.exists():
        raise UsageError(f"--plan {file}: it is there already, and nothing of it is replaced", hint="name another file")
    if not path.parent.is_dir():
        raise UsageError(
            f"--plan {file}: there is no folder {path.parent}", hint="name a file in a folder that is there"
        )
    return path


def _write_plan(result: "RunResult", file: Path) -> str:
    """Write what an audit found as a plan, if anything should be done; return what is said of it."""
    from codexteam.app.reports import write_report
    from codexteam.core.audit_plan import audit_plan, plan_document
    from codexteam.core.plan_md import render
    from codexteam.report.review_outcome import FindingStanding

    review = result.review
    standing = [FindingStanding.NEW, FindingStanding.UNCHANGED, FindingStanding.NOTED]
    findings = [one.finding for one in review.findings if one.standing in standing] if review is not None else []
    plan = audit_plan(findings, review.title if review is not None else "")
    if not plan.tasks:
        return "no plan was written: nothing was found that should be fixed"
    write_report(render(plan_document(plan, review.title if review is not None else "")), result.run_id, file)
    return f"plan: {file}; to work on it: codexteam run --plan {file}"
