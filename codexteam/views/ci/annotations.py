"""What a run found, as notes beside the code; GitHub shows ten errors and ten warnings of a step."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from codexteam.core.findings import Severity
from codexteam.core.state import FindingStatus
from codexteam.report.judgements import FindingLife
from codexteam.report.pipeline_outcome import PipelineOutcome
from codexteam.report.run_report import RunReport
from codexteam.views.ci.log_commands import Annotation

_MOST_OF_A_LEVEL: Final = 10
_MESSAGE_CHARS: Final = 2_000
_SHOWN: Final = {FindingStatus.OPEN: "error", FindingStatus.LATER: "warning"}
_ORDER: Final = list(Severity)


def annotations_of(
    report: RunReport | None, outcome: PipelineOutcome, *, roots: Mapping[str, Path], workspace: Path | None
) -> list[Annotation]:
    """Return the notes of a run: why it is not green first, then the findings that stand, the worst first.

    `roots` are those of several repositories by their folder's name; of one, by the empty name.
    """
    notes = [*_ending(outcome)]
    if report is not None:
        notes += [
            Annotation("error", f"{one.command} fails", one.reason) for one in report.run.failing if not one.as_before
        ]
        lives = [life for life in report.findings if life.known.status in _SHOWN]
        lives.sort(key=lambda life: _ORDER.index(life.known.finding.severity))
        notes += [_of_finding(life, roots, workspace) for life in lives]
    return [*_first(notes, "error"), *_first(notes, "warning")]


def _ending(outcome: PipelineOutcome) -> Iterable[Annotation]:
    if outcome.over_limits:
        yield Annotation("error", "codexteam: over the limit", outcome.over_limits)
    elif outcome.exit_code != 0:
        word = outcome.result.replace("_", " ") or "error"
        yield Annotation("error", f"codexteam: {word}", outcome.reason or word)


def _first(notes: list[Annotation], level: str) -> list[Annotation]:
    return [note for note in notes if note.level == level][:_MOST_OF_A_LEVEL]


def _of_finding(life: FindingLife, roots: Mapping[str, Path], workspace: Path | None) -> Annotation:
    found = life.known.finding
    message = found.detail if not found.suggestion else f"{found.detail}\n\nSuggested: {found.suggestion}"
    file = found.file or ""
    folder, _, inner = file.partition("/")
    root, below = (roots[folder], inner) if folder in roots and inner else (roots.get(""), file)
    if file and root is not None and workspace is not None and root.is_relative_to(workspace):
        file = (root.relative_to(workspace) / below).as_posix()  # it may be checked out below that
    title = f"{life.id} {found.title}"
    return Annotation(_SHOWN[life.known.status], title, message[:_MESSAGE_CHARS], file, found.line)
