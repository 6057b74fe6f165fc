"""Reports as files: the one that each run leaves in its folder, and what is printed of one that was asked for."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.app.project import Project
from codexteam.core.ids import RunId
from codexteam.views.streams import OutputStreams

if TYPE_CHECKING:
    from codexteam.app.reports import WrittenReport
    from codexteam.views.report.formats import ReportFormat

#: Its name in the run's folder.
REPORT_NAME = "report.html"
#: How many decisions are repeated at most to say what other widths would have meant: nobody waits for that at a run's end.
_MOST_REPLAYED = 150


@dataclass(frozen=True, slots=True)
class KeptReport:
    """Where a report was written, or why not."""

    file: Path
    problem: str = ""


def keep_report(project: Project, run_id: RunId) -> KeptReport:
    """Write a run's report into its folder, in place of the one before; what goes wrong is said, and ends nothing."""
    file = project.run_folder(run_id) / REPORT_NAME
    try:  # what it needs is imported within: an installation that lacks some of it loses the report alone
        from codexteam.app.reports import run_report, write_report
        from codexteam.views.report.formats import ReportFormat, rendered

        report = run_report(project, run_id, most_replayed=_MOST_REPLAYED)
        write_report(rendered(report, ReportFormat.HTML), run_id, file)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the run is over, and its result stands
        return KeptReport(file, str(error) or type(error).__name__)
    return KeptReport(file)


def load_report() -> None:
    """Load what a report is made with: the imports and the template are most of the time that a short run's takes."""
    for module in ("codexteam.app.reports", "codexteam.views.report.formats", "codexteam.views.report.html"):
        importlib.import_module(module)
    from codexteam.views.report.html import load_templates

    load_templates()


def print_written_report(output: OutputStreams, written: "WrittenReport", form: "ReportFormat") -> None:
    """Print where a report is."""
    if output.json_lines:
        output.record(
            {
                "type": "report.completed",
                "run": written.run_id,
                "file": str(written.file),
                "format": form.value,
                "size_bytes": written.size_bytes,
            }
        )
        return
    output.write(f"{written.file}\n")
