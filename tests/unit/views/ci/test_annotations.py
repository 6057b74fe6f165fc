"""Notes beside the code: why a run failed, and what its gates found."""

from dataclasses import replace
from pathlib import Path

from codexteam.core.findings import Severity
from codexteam.core.state import FindingStatus
from codexteam.report.judgements import FindingLife
from codexteam.report.pipeline_outcome import PipelineOutcome
from codexteam.report.run_report import RunReport
from codexteam.views.ci.annotations import annotations_of
from codexteam.views.ci.log_commands import Annotation
from tests.support_reports import report_of

RED = PipelineOutcome("run", "not_green", "open findings: F1", 3)
ROOT = Path("/work/tree")


def with_findings(*wanted: tuple[Severity, FindingStatus, str]) -> RunReport:
    report = report_of()
    [life] = report.findings
    lives = [
        FindingLife(
            f"F{number}",
            replace(life.known, status=status, finding=replace(life.known.finding, severity=severity, file=file)),
        )
        for number, (severity, status, file) in enumerate(wanted, start=1)
    ]
    return replace(report, findings=tuple(lives))


def notes(report: RunReport, workspace: Path | None = None) -> list[Annotation]:
    found = annotations_of(report, RED, roots={"": ROOT}, workspace=workspace)
    return [note for note in found if note.title.startswith("F")]


def test_why_a_run_failed_comes_first_and_then_the_commands() -> None:
    first, second, *_ = annotations_of(report_of(), RED, roots={"": ROOT}, workspace=None)
    assert (first.title, first.message) == ("codexteam: not green", "open findings: F1")
    assert (second.title, second.message) == ("plain words fails", "plain words")


def test_findings_that_stand_are_shown_and_others_are_not() -> None:
    shown = notes(
        with_findings(
            (Severity.NIT, FindingStatus.LATER, "a.py"),
            (Severity.MUST_FIX, FindingStatus.OPEN, "b.py"),
            (Severity.MUST_FIX, FindingStatus.FIXED, "c.py"),
            (Severity.MUST_FIX, FindingStatus.WAIVED, "d.py"),
        )
    )
    assert [(note.level, note.file, note.line) for note in shown] == [("error", "b.py", 7), ("warning", "a.py", 7)]


def test_a_file_is_named_from_the_workspace_that_the_runner_knows() -> None:
    report = with_findings((Severity.NIT, FindingStatus.LATER, "src/a.py"))
    assert [note.file for note in notes(report, Path("/work"))] == ["tree/src/a.py"]
    assert [note.file for note in notes(report, Path("/elsewhere"))] == ["src/a.py"]


def test_no_more_notes_are_made_than_are_shown() -> None:
    many = [(Severity.SHOULD_FIX, FindingStatus.LATER, f"{number}.py") for number in range(30)]
    worst = [(Severity.MUST_FIX, FindingStatus.OPEN, f"bad{number}.py") for number in range(30)]
    found = annotations_of(with_findings(*many, *worst), RED, roots={"": ROOT}, workspace=None)
    assert [note.level for note in found] == ["error"] * 10 + ["warning"] * 10
