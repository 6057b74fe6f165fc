"""`report`: all of a run in one file, or two runs side by side; `metrics`: figures over all runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import global_options, working_directory
from codexteam.cli.printing import Json, StateDir, output, printed, project_of
from codexteam.cli.view_commands import RunName, complete_run

if TYPE_CHECKING:
    from codexteam.app.project import Project
    from codexteam.views.report.formats import ReportFormat
    from codexteam.views.streams import OutputStreams

#: As in `views.report.formats`, which is not imported to show the help.
_FORMATS = ("html", "md", "json", "sarif", "junit", "trace", "mermaid", "atif")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("report")(report)
    app.command("metrics")(metrics)


def _complete_format(incomplete: str) -> list[str]:
    return [name for name in _FORMATS if name.startswith(incomplete)]


def report(
    ctx: typer.Context,
    *,
    name: RunName = None,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="OTHER", help="A second run: the two are compared.", show_default=False, autocompletion=complete_run
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it here; - is standard output."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="html, md, json, sarif, junit, trace, mermaid or atif (default: as FILE ends, else html).",
            autocompletion=_complete_format,
        ),
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Write a run's report: timeline, plan, gates, cost, changes.

    Without FILE, html goes into the run's folder and other formats to standard output.
    """
    from codexteam.app.reports import run_report, write_report
    from codexteam.report.comparison import compare_runs
    from codexteam.views.report.files import REPORT_NAME, print_written_report
    from codexteam.views.report.formats import ReportFormat, format_of, rendered, rendered_comparison

    project, found = project_of(ctx, state_dir), output(ctx, as_json=as_json)
    wanted = _format(form) if form else format_of(file.name) if file else ReportFormat.HTML
    to_stdout = file is not None and str(file) == "-"
    second = run_report(project, other) if other else None
    if wanted is ReportFormat.ATIF and second is None:
        return _trajectory(ctx, project, name, file, found)
    first = run_report(project, name)
    if as_json and file is None:
        data = compare_runs(first, second).as_json() if second else first.as_json()
        return printed(found, lambda out: out.records([data], "report.completed"))
    text = rendered_comparison(compare_runs(first, second), wanted) if second else rendered(first, wanted)
    if to_stdout or (file is None and (wanted is not ReportFormat.HTML or second is not None)):
        return printed(found, lambda out: _raw(out, text))
    place = working_directory(global_options(ctx)) / file.expanduser() if file else Path(first.folder) / REPORT_NAME
    written = write_report(text, str(first.run.record.run_id), place)
    return printed(found, lambda out: print_written_report(out, written, wanted))


def _trajectory(
    ctx: typer.Context, project: "Project", name: str | None, file: Path | None, found: "OutputStreams"
) -> int:
    """Write what each agent was asked, said and called, as other programs read it."""
    import json

    from codexteam.app.reports import write_report
    from codexteam.app.trajectories import run_trajectory
    from codexteam.views.report.files import print_written_report
    from codexteam.views.report.formats import ReportFormat

    data = run_trajectory(project, name)
    text = json.dumps(data, indent=1) + "\n"
    if file is None or str(file) == "-":
        return printed(found, lambda out: _raw(out, text))
    written = write_report(text, str(data["session_id"]), working_directory(global_options(ctx)) / file.expanduser())
    return printed(found, lambda out: print_written_report(out, written, ReportFormat.ATIF))


def _raw(out: "OutputStreams", text: str) -> None:
    """Print a report as it is: what a terminal could obey is escaped in it already."""
    out.out.write(text)


def _format(word: str) -> "ReportFormat":
    from codexteam.errors import UsageError
    from codexteam.views.report.formats import ReportFormat

    try:
        return ReportFormat(word.lower())
    except ValueError:
        raise UsageError(
            f"--format {word}: allowed are {', '.join(_FORMATS)}", hint="for example --format md"
        ) from None


def metrics(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Runs begun since: 12h, 7d, 2w, or 2026-11-30.")
    ] = None,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print Prometheus' text format.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> int:
    """Sum up runs: tasks, attempts, cost, latency, failures."""
    from codexteam.app.run_metrics import run_metrics
    from codexteam.errors import UsageError
    from codexteam.views.metrics import show_metrics

    if prometheus and as_json:
        raise UsageError("--json and --prometheus are two forms of the same", hint="give one of them")
    found = run_metrics(project_of(ctx, state_dir), since)
    return printed(output(ctx, as_json=as_json), lambda out: show_metrics(out, found, prometheus=prometheus))
