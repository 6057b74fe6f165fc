"""`pr`: a run's branch as a pull request, and what is asked there."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from codexteam.cli.options import checked_text
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.run_commands import run_options, view
from codexteam.cli.run_flags import Budget, Quiet, Threads, Wait, budget_flags
from codexteam.cli.view_commands import RunName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codexteam.app.pull_sync import PullLook
    from codexteam.app.run import RunOptions
    from codexteam.core.ids import JSONValue
    from codexteam.views.run_view import RunView
    from codexteam.views.streams import OutputStreams

_HELP = "Open or update a run's pull request; do what is asked there. codexteam pr RUN is codexteam pr open RUN."
_OPEN = "open"
_FOR_HELP = (["-h"], ["--help"])


class PullCommands(typer.core.TyperGroup):
    """`pr`: opens a pull request where no other command is named, so that `codexteam pr RUN` does."""

    # the parser's own types are private
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take words that name no command as those of the usual one."""
        named = args and self.get_command(ctx, args[0]) is not None
        return super().parse_args(ctx, args if named or args[:1] in _FOR_HELP else [_OPEN, *args])


def register(app: typer.Typer) -> None:
    """Add the commands."""
    pull = typer.Typer(cls=PullCommands, help=_HELP, rich_markup_mode=None)
    pull.command(_OPEN)(open_)
    pull.command("sync")(sync)
    app.add_typer(pull, name="pr")


def open_(
    ctx: typer.Context,
    *,
    name: RunName = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="BRANCH", help="The branch to merge into (default: the repository's default)."),
    ] = None,
    remote: Annotated[str, typer.Option("--remote", metavar="NAME", help="The remote to push to.")] = "origin",
    title: Annotated[
        str | None, typer.Option("--title", metavar="TITLE", help="Its title (default: the goal's first line).")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Open it as a draft.")] = False,
    not_green: Annotated[
        bool, typer.Option("--even-if-not-green", help="Also for a run that is not green; always a draft.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the body; push and open nothing.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Push a run's branch; open or update its pull request.

    The branch is pushed with your own git, never by force. The token is GH_TOKEN or GITHUB_TOKEN, else that of gh.
    codexteam pr sync works on what reviews and checks ask for.
    """
    from codexteam.app.linked_pulls import parts_of, publish_pulls
    from codexteam.app.pull_request import PullWanted
    from codexteam.app.reports import run_report
    from codexteam.views.report.pull_lines import print_pulls
    from codexteam.views.report.pull_request import render_pull_request

    project, found = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    wanted = PullWanted(
        checked_text("--base", base or ""),
        checked_text("--remote", remote),
        checked_text("--title", title or ""),
        draft,
        not_green,
    )
    report = run_report(project, name, reviews=False)
    if dry_run:
        parts = parts_of(report)
        bodies = {part.repository: render_pull_request(report, parts, place) for place, part in enumerate(parts)}
        return printed(found, lambda out: _print_bodies(out, bodies or {"": render_pull_request(report)}))
    pulls = publish_pulls(project, report, wanted, partial(render_pull_request, report))
    return printed(found, lambda out: print_pulls(out, pulls))


def _print_bodies(out: "OutputStreams", bodies: "Mapping[str, str]") -> None:
    """Print what the pull request would say, or that of each repository, by its name."""
    for name, body in bodies.items():
        if out.json_lines:
            out.record({"type": "pr.body", "body": body, **({"repository": name} if name else {})})
        else:
            out.write(f"{name}:\n\n{body}\n" if name else body)


def sync(
    ctx: typer.Context,
    *,
    name: RunName = None,
    number: Annotated[
        int | None, typer.Option("--pr", metavar="N", min=1, help="The pull request, in place of its run.")
    ] = None,
    remote: Annotated[str, typer.Option("--remote", metavar="NAME", help="The remote to push to.")] = "origin",
    checks_minutes: Annotated[
        float | None,
        typer.Option("--wait-for-checks", metavar="MINUTES", min=0, max=1440, help="Wait so long for checks to end."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what is asked for; change nothing, spend nothing.")
    ] = False,
    budget: Budget = None,
    max_threads: Threads = None,
    wait: Wait = False,
    as_json: Json = False,
    quiet: Quiet = False,
    state_dir: StateDir = None,
) -> int:
    """Work on what reviews and checks ask of a pull request.

    Review comments of people with write access, and checks that fail here and not on the base branch, become findings of
    the run, which continues. Once it is green again, its branch is pushed, each thread is answered with the commit and the
    commands that show the fix, and resolved. It may be run again at any time: nothing is done or said twice.
    """
    from codexteam.app.pull_sync import SyncWanted, look_at_pull
    from codexteam.errors import UsageError
    from codexteam.views.report.pull_lines import print_look, print_nothing

    if name and number:
        raise UsageError(f"--pr {number} and RUN ({name}) both name the pull request", hint="give one of them")
    project, found = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    wanted = SyncWanted(name, number or 0, checked_text("--remote", remote), checks_minutes or 0.0)
    threads: dict[str, JSONValue] = {} if max_threads is None else {"codexteam.limits.max_threads": max_threads}
    shown = view(ctx, json=as_json, quiet=quiet)
    flags = {**budget_flags(budget or []), **threads}
    options = run_options(ctx, flags, shown, oss=False, wait=wait, state_dir=state_dir)
    look = look_at_pull(project, options, wanted)
    if dry_run:
        return printed(found, lambda out: print_look(out, look))
    if not look.works and not look.publishes:
        printed(found, lambda out: print_nothing(out, look))
        return _LIMIT if look.capped else 0
    return _worked_and_answered(look, options, shown, found)


#: The exit code where a limit of the pull request is reached.
_LIMIT = 4


def _worked_and_answered(look: "PullLook", options: "RunOptions", shown: "RunView", found: "OutputStreams") -> int:
    from codexteam.app.pull_sync import publish_feedback, work_on_feedback
    from codexteam.app.reports import run_report
    from codexteam.views.report.pull_lines import print_synced
    from codexteam.views.report.pull_request import render_pull_request, render_reply

    for note in look.feedback.notes:
        shown.note(note)
    if look.works:
        for finding in () if look.capped else look.feedback.new:
            shown.note(f"asked for in {look.place}: {finding.title}")
        code = shown.show(lambda: work_on_feedback(look, options))
        if code != 0:
            shown.note("nothing was pushed or answered: the run is not green; codexteam pr sync continues it")
            return code
    report = run_report(look.project, look.record.run_id)
    render = partial(render_pull_request, report)
    synced = publish_feedback(look, report, render, partial(render_reply, report), options)
    printed(found, lambda out: print_synced(out, look, synced))
    return _LIMIT if look.capped else 0
