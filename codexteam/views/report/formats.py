"""The formats of a report, and what makes each."""

import json
from enum import StrEnum

from codexteam.errors import UsageError
from codexteam.report.comparison import RunComparison
from codexteam.report.run_report import RunReport


class ReportFormat(StrEnum):
    """How a report is written."""

    HTML = "html"
    MD = "md"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    TRACE = "trace"
    MERMAID = "mermaid"
    ATIF = "atif"


#: What a file's name says of its format.
_ENDINGS = {
    ".html": ReportFormat.HTML,
    ".htm": ReportFormat.HTML,
    ".md": ReportFormat.MD,
    ".json": ReportFormat.JSON,
    ".sarif": ReportFormat.SARIF,
    ".xml": ReportFormat.JUNIT,
    ".mmd": ReportFormat.MERMAID,
}


def format_of(name: str) -> ReportFormat:
    """Return the format that a file's name says; HTML where it says none."""
    dot = name.rfind(".")
    return _ENDINGS.get(name[dot:].lower(), ReportFormat.HTML) if dot >= 0 else ReportFormat.HTML


def rendered(report: RunReport, wanted: ReportFormat) -> str:
    """Return a report in a format; what it needs is imported when it is asked for."""
    match wanted:
        case ReportFormat.HTML:
            from codexteam.views.report.html import render_html

            return render_html(report)
        case ReportFormat.MD:
            from codexteam.views.report.markdown import render_markdown

            return render_markdown(report)
        case ReportFormat.JSON:
            return json.dumps(report.as_json(), indent=1) + "\n"
        case ReportFormat.SARIF:
            from codexteam.views.report.sarif import render_sarif

            return render_sarif(report)
        case ReportFormat.JUNIT:
            from codexteam.views.report.junit import render_junit

            return render_junit(report)
        case ReportFormat.TRACE:
            from codexteam.views.report.trace import render_trace

            return render_trace(report)
        case ReportFormat.MERMAID:
            from codexteam.views.report.mermaid import render_mermaid

            return render_mermaid(report)
        case ReportFormat.ATIF:
            raise UsageError("a trajectory is made of agents' transcripts, not of a report", hint="give one run")


def rendered_comparison(found: RunComparison, wanted: ReportFormat) -> str:
    """Return two runs side by side in a format.

    Raises:
        UsageError: there is none for two runs.
    """
    match wanted:
        case ReportFormat.HTML:
            from codexteam.views.report.html import render_comparison

            return render_comparison(found)
        case ReportFormat.MD:
            from codexteam.views.report.markdown import render_comparison_markdown

            return render_comparison_markdown(found)
        case ReportFormat.JSON:
            return json.dumps(found.as_json(), indent=1) + "\n"
        case _:
            raise UsageError(
                f"--format {wanted.value}: it is of one run; two are compared as html, md or json",
                hint="give one run, or another format",
            )
