"""A review: the gates judge a commit that nobody of this run made, and nothing is planned, changed or landed.

It is a run whose work begins with the gates' one round, so that budgets, receipts, history and `resume` are a run's. What
the review of the same change before it left open is open here from the beginning: its gates are asked about it, and what
they do not repeat is fixed. So a second review says what is fixed, what is new, and what is still there.
"""

from dataclasses import replace

from codexteam.core.effects import Result
from codexteam.core.events import RunPrepared
from codexteam.core.findings import Finding
from codexteam.core.green import with_waived
from codexteam.core.state import FindingStatus, RunPhase, RunState
from codexteam.core.transition import Transition

#: Why a review ends without anything that must be fixed.
_NOTHING_FOUND = "no gate found anything that must be fixed"


def begin_review(transition: Transition, event: RunPrepared) -> None:
    """Point to what is judged, with what the review before it left open."""
    transition.set(
        base=event.base, tip=event.head or event.base, judged_before=event.judged_before, phase=RunPhase.WORKING
    )
    for finding in event.known:
        transition.add_finding(finding, blocking=True, round_number=0)
    for finding in event.waived:
        known = transition.add_finding(finding, blocking=True, round_number=0)
        transition.put_finding(replace(known, status=FindingStatus.WAIVED))


def may_judge(state: RunState) -> bool:
    """Return whether gates may start: of a review, once its base's own commands are known to run."""
    return not state.rules.review or not state.rules.check_base or state.gates_known


def may_be_fixed(state: RunState) -> bool:
    """Return whether a reviewed change differs from what was judged before, so that silence says that something is gone."""
    return state.rules.review and state.judged_before not in {None, state.tip}


def end_review(transition: Transition) -> None:
    """End a review that found nothing that must be fixed."""
    transition.set(phase=RunPhase.FINISHED)
    transition.finish(Result.GREEN, with_waived(transition.state, _NOTHING_FOUND))


def findings_left(state: RunState) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return what a review leaves for the next one: what is open, and what a person waived."""
    opened = tuple(known.finding for known in state.findings.values() if known.status is FindingStatus.OPEN)
    waived = tuple(known.finding for known in state.findings.values() if known.status is FindingStatus.WAIVED)
    return opened, waived
