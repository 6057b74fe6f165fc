"""`codexteam eval`: how much is resolved of a suite of tasks, by the team and by one agent alone, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from codexteam.cli.options import global_options, load_request, option_words, working_directory
from codexteam.cli.printing import Json, output, printed
from codexteam.cli.run_flags import budget_flags

if TYPE_CHECKING:
    from codexteam.app.evaluation.command import EvalOptions, EvalResult
    from codexteam.core.eval_task import Arm
    from codexteam.views.streams import OutputStreams

_PREFIX = "codexteam.budget.run_"
_PAGE = "report.html"


class EvalCommands(typer.core.TyperGroup):
    """`eval SUITE` is `eval run SUITE`: what names no command is a suite."""

    # the parser's own types are private
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command, `run` for the path of a suite."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            args = ["run", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let flags stand before the suite, too."""
        if args and args[0].startswith("-") and args[0] not in {"-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    group = typer.Typer(
        help="Measure what is resolved of a suite, by whom, for how much.",
        cls=EvalCommands,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("run")(run)
    group.command("mine")(mine)
    group.command("report")(report)
    app.add_typer(group, name="eval")


def run(
    ctx: typer.Context,
    suite: Annotated[
        Path,
        typer.Argument(metavar="SUITE", help="SWE-bench rows (a file), a folder of Harbor tasks, or one of exercises."),
    ],
    *,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="ARM",
            help="team, solo, best-of-N; named and with options: 'fast=team: -m MODEL'; repeatable (default: team, "
            "solo). The first is compared with the others.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", "-k", min=1, max=50, help="Trials of each task and arm.")] = 1,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="AMOUNT", help="What all of it may cost: 20usd, 5000k (tokens); or none."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, metavar="N", help="How long a run may take (default: as its task says)."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Tasks worked on at the same time.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="GLOB", help="Only tasks of such a name; repeatable.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, metavar="N", help="Only the first N of these.")] = None,
    repos: Annotated[
        Path | None,
        typer.Option("--repos", metavar="DIR", help="Clones for SWE-bench rows: DIR/owner/name, DIR/owner__name."),
    ] = None,
    test_command: Annotated[
        str | None,
        typer.Option(
            "--test-command",
            metavar="LINE",
            help="What runs the hidden tests, where the suite does not say; {files} and {tests} are filled in.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Keep the evaluation here; the same command continues it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the tasks and say what could be shown; begin nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no line for each trial.")] = False,
    as_json: Json = False,
) -> int:
    """Have every arm do every task of a suite, graded by hidden tests.

    All trials share one budget.
    """
    from codexteam.app.evaluation.command import check_arms, chosen_suite, evaluate
    from codexteam.errors import UsageError
    from codexteam.views.evaluation import EvalView, show_suite

    found = output(ctx, as_json=as_json)
    here = working_directory(global_options(ctx))
    options = _options(ctx, here / suite.expanduser(), arm or ["team", "solo"], budget or [], repeats)
    options = _with(
        options,
        folder=here / folder.expanduser() if folder else None,
        seconds=minutes * 60 if minutes else None,
        jobs=jobs,
        only=tuple(only or ()),
        most=most,
        repositories=here / repos.expanduser() if repos else None,
        test_command=test_command or "",
    )
    chosen = chosen_suite(options)
    check_arms(options.arms)
    if dry_run:
        return printed(found, lambda out: show_suite(out, chosen, options.arms, repeats))
    if not budget:
        trials = len(chosen.tasks) * len(options.arms) * repeats
        raise UsageError(
            f"eval makes {trials} trials, and no --budget says what all of them may cost",
            hint="--budget 20usd, or --budget none: then each run has its own configuration's",
        )
    result = evaluate(options, chosen, EvalView(found, quiet=quiet))
    return _shown(found, result)


def mine(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Commits since: 12w, 365d, or 2026-01-31.")
    ] = None,
    most: Annotated[int, typer.Option("--max", min=1, metavar="N", help="Tasks to make, of the newest commits.")] = 20,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the tasks: a suite of its own.")
    ] = Path("tasks"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no line for each commit.")] = False,
    as_json: Json = False,
) -> int:
    """Make tasks of commits here that make failing tests pass.

    Runs commits' tests in sandboxes, and asks no model. Evaluate them with codexteam eval DIR, or with Harbor.
    """
    from codexteam.app.evaluation.mine import MineOptions, mine
    from codexteam.views.evaluation import MiningView, show_mined

    found = output(ctx, as_json=as_json)
    here = working_directory(global_options(ctx))
    view = MiningView(found, quiet=quiet)
    mined = mine(MineOptions(load_request(ctx), here / folder.expanduser(), since, most, view.tried))
    return printed(found, lambda out: show_mined(out, mined))


def report(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the evaluation.")],
    *,
    as_json: Json = False,
) -> int:
    """Print an evaluation's results so far; write its page anew."""
    from codexteam.app.evaluation.command import stored_report

    place = working_directory(global_options(ctx)) / folder.expanduser()
    return _shown(output(ctx, as_json=as_json), stored_report(place))


def _shown(found: "OutputStreams", result: "EvalResult") -> int:
    from codexteam.app.reports import write_report
    from codexteam.views.eval_page import render_evaluation
    from codexteam.views.evaluation import show_result

    page = result.folder / _PAGE
    write_report(render_evaluation(result.report), "", page)
    return printed(found, lambda out: show_result(out, result, page))


def _options(ctx: typer.Context, suite: Path, arms: list[str], budget: list[str], repeats: int) -> "EvalOptions":
    from codexteam.app.evaluation.command import EvalOptions

    limits = {name.removeprefix(_PREFIX): amount for name, amount in budget_flags(budget).items()}
    amounts = {unit: float(amount) for unit, amount in limits.items() if isinstance(amount, int | float)}
    words = tuple(option_words(global_options(ctx)))
    return EvalOptions(load_request(ctx), words, suite, None, tuple(map(_arm, arms)), repeats, amounts)


def _with(options: "EvalOptions", **changes: Any) -> "EvalOptions":
    from dataclasses import replace

    return replace(options, **changes)


def _arm(text: str) -> "Arm":
    import shlex

    from codexteam.core.eval_task import read_arm
    from codexteam.errors import UsageError

    try:
        return read_arm(text, shlex.split)
    except ValueError as error:
        raise UsageError(f"--arm {text!r}: {error}", hint="for example --arm team") from None
