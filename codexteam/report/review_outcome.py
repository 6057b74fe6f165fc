"""What a review found, and how it stands to what the review before it found of the same change."""

from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.effects import Result
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, JSONObject, JSONValue, RunId
from codexteam.core.state import FindingState, FindingStatus, RunState


class FindingStanding(StrEnum):
    """Where a finding stands after a review."""

    NEW = "new"
    UNCHANGED = "unchanged"
    """The review before found it too."""
    FIXED = "fixed"
    """The review before found it, and its gate did not repeat it."""
    WAIVED = "waived"
    NOTED = "noted"
    """It does not block."""


@dataclass(frozen=True, slots=True)
class ReviewedFinding:
    """A finding, and where it stands."""

    finding: Finding
    standing: FindingStanding

    @property
    def blocks(self) -> bool:
        """Whether the change should not be merged with it."""
        return self.standing in {FindingStanding.NEW, FindingStanding.UNCHANGED}

    def as_json(self) -> JSONObject:
        found = self.finding
        return {
            "finding": found.id,
            "standing": self.standing.value,
            "blocks": self.blocks,
            "severity": found.severity.value,
            "category": found.category.value,
            "gate": found.gate.value,
            "title": found.title,
            "detail": found.detail,
            "suggestion": found.suggestion,
            "file": found.file,
            "line": found.line,
        }


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """How a review ended. Titles and details are foreign text."""

    run_id: RunId
    title: str
    """What was reviewed."""
    verdict: str
    """`ship` or `block`; empty where the review did not come to one."""
    reason: str
    base: CommitId | None
    head: CommitId | None
    judged_before: CommitId | None
    """What the review before this one judged; None where there was none."""
    findings: tuple[ReviewedFinding, ...]
    """Those that block first."""

    def count(self, standing: FindingStanding) -> int:
        """Return how many findings stand so."""
        return sum(one.standing is standing for one in self.findings)

    def as_json(self) -> JSONObject:
        findings: list[JSONValue] = [one.as_json() for one in self.findings]
        return {
            "run": self.run_id,
            "title": self.title,
            "verdict": self.verdict or None,
            "reason": self.reason,
            "base": self.base,
            "head": self.head,
            "judged_before": self.judged_before,
            "counts": {standing.value: self.count(standing) for standing in FindingStanding},
            "findings": findings,
        }


def review_outcome(state: RunState, title: str) -> ReviewOutcome:
    """Return how a review stands after its session."""
    findings = [ReviewedFinding(known.finding, _standing(known)) for known in state.findings.values()]
    order = list(FindingStanding)
    findings.sort(key=lambda one: order.index(one.standing))
    blocked = state.result is Result.NOT_GREEN and any(one.blocks for one in findings)
    verdict = "ship" if state.result is Result.GREEN else "block" if blocked else ""
    return ReviewOutcome(
        state.run_id, title, verdict, state.result_reason, state.base, state.tip, state.judged_before, tuple(findings)
    )


def _standing(known: FindingState) -> FindingStanding:
    match known.status:
        case FindingStatus.FIXED:
            return FindingStanding.FIXED
        case FindingStatus.WAIVED:
            return FindingStanding.WAIVED
        case FindingStatus.LATER:
            return FindingStanding.NOTED
        case FindingStatus.OPEN:
            # what the review before left open is known before the first round
            seen_before = known.times > 1 or known.last_round == 0
            return FindingStanding.UNCHANGED if seen_before else FindingStanding.NEW
