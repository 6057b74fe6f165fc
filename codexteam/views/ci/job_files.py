"""What a pipeline's job leaves: one folder of files, a summary beside the job, and values for later steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from codexteam.app.ci.handover import BUNDLE, BUNDLES, PULL, RESULT
from codexteam.app.ci.surroundings import CiSurroundings
from codexteam.app.project import Project, events_path
from codexteam.app.reports import run_report, write_report
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.text import clean_line
from codexteam.errors import SurroundingsError
from codexteam.report.pipeline_outcome import PipelineOutcome
from codexteam.report.run_report import RunReport
from codexteam.views.report.formats import ReportFormat, rendered

SUMMARY: Final = "summary.md"
SARIF: Final = "findings.sarif"
REPORT: Final = "report.html"
JUNIT: Final = "junit.xml"
EVENTS: Final = "events.jsonl"
PLAN: Final = "plan.md"
#: All that a job may leave, so that nothing of an earlier one stays.
JOB_FILES: Final = (RESULT, SUMMARY, SARIF, REPORT, JUNIT, EVENTS, PLAN, BUNDLE, BUNDLES, PULL)
#: What GitHub takes of a step's summary, less a margin for what says that the rest is left out.
_SUMMARY_BYTES: Final = 1024 * 1024 - 512


def write_run_files(folder: Path, project: Project, run_id: RunId, *, planned: bool) -> RunReport:
    """Write what a run left, whatever it came to.

    Raises:
        SurroundingsError: the folder cannot be written.
    """
    report = run_report(project, run_id)
    if not planned:
        for name, form in ((REPORT, ReportFormat.HTML), (SARIF, ReportFormat.SARIF), (JUNIT, ReportFormat.JUNIT)):
            write_report(rendered(report, form), run_id, folder / name)
    plan = project.places.root / PLAN
    for source, name in ((events_path(project, run_id), EVENTS), (plan, PLAN)):
        if source.is_file() and not source.is_symlink() and (name != PLAN or report.run.state.tasks):
            write_report(source.read_text("utf-8", "replace"), run_id, folder / name)
    return report


def write_result(folder: Path, outcome: PipelineOutcome, more: JSONObject) -> None:
    """Write the values that later jobs decide by.

    Raises:
        SurroundingsError: the folder cannot be written.
    """
    fields: JSONObject = {"type": "codexteam.result", "schema": 1, **outcome.as_json(), **more}
    write_report(json.dumps(fields, indent=1) + "\n", outcome.run_id, folder / RESULT)


def add_summary(surroundings: CiSurroundings, text: str, *, more: bool = False) -> None:
    """Write the summary into the folder, and where GitHub shows it beside the job; `more` comes behind what is there.

    Raises:
        SurroundingsError: one of both cannot be written.
    """
    file = surroundings.artifacts / SUMMARY
    before = file.read_text(encoding="utf-8", errors="replace") if more and file.is_file() else ""
    write_report(f"{before}\n{text}" if before else text, "", file)
    if surroundings.summary is not None:
        _append(surroundings.summary, shortened(text, _SUMMARY_BYTES))


def shortened(text: str, most_bytes: int) -> str:
    """Return as many whole lines of a text as fit, and how many are left out."""
    kept: list[str] = []
    size = 0
    lines = text.splitlines(keepends=True)
    for line in lines:
        size += len(line.encode("utf-8", "replace"))
        if size > most_bytes:
            return "".join(kept) + f"\n\n{len(lines) - len(kept)} more lines are in {SUMMARY} of the artifacts.\n"
        kept.append(line)
    return text


def add_outputs(surroundings: CiSurroundings, outcome: PipelineOutcome) -> None:
    """Give later steps of the job their values.

    Raises:
        SurroundingsError: they cannot be written.
    """
    if surroundings.outputs is None:
        return
    values = output_values(surroundings.artifacts, outcome)
    _append(surroundings.outputs, "".join(f"{name}={clean_line(value)}\n" for name, value in values.items()))


def output_values(folder: Path, outcome: PipelineOutcome) -> Mapping[str, str]:
    """Return the values by their names; what is not there is empty, and so is a branch of which nothing was left."""

    def path(name: str) -> str:
        return str(folder / name) if (folder / name).is_file() else ""

    return {
        "result": outcome.result,
        "exit-code": str(outcome.exit_code),
        "run-id": outcome.run_id,
        "cost-usd": "" if outcome.usd is None else f"{outcome.usd:.6f}".rstrip("0").rstrip("."),
        "tokens": str(outcome.tokens),
        "branch": outcome.branch if (folder / PULL).is_file() else "",
        "sarif": path(SARIF),
        "report": path(REPORT),
        "summary": path(SUMMARY),
        "artifacts": str(folder),
    }


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
    except OSError as error:
        raise SurroundingsError(f"{file}: it cannot be written: {error.strerror}") from error
