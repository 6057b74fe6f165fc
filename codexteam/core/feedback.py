"""What people and checks ask of a run's pull request: findings that make a run work again, whatever it ended as.

Each has a source, by which it is known again whatever its words are. The same words of a source are taken once; new ones
open the finding again. It is closed as those of gates are, and never because its gate thinks less of it.
"""

from dataclasses import replace

from codexteam.core.approvals import work_again
from codexteam.core.dispatch import replan
from codexteam.core.effects import Replan
from codexteam.core.findings import Finding
from codexteam.core.state import FindingState, FindingStatus, RunPhase, RunState
from codexteam.core.steering_events import FeedbackGiven
from codexteam.core.transition import Transition
from codexteam.errors import UsageError

_UNDER_WAY = frozenset(
    {RunPhase.WORKING, RunPhase.DOCUMENTING, RunPhase.RELEASING, RunPhase.LANDING, RunPhase.FINISHED}
)


def finding_of(state: RunState, source: str) -> FindingState | None:
    """Return the finding that a source asked for."""
    return next((known for known in state.findings.values() if known.finding.source == source), None)


def is_taken(state: RunState, finding: Finding) -> bool:
    """Return whether a source's newest words are in the run already."""
    known = finding_of(state, finding.source or "")
    return known is not None and known.finding.revision == finding.revision


def take_feedback(transition: Transition, event: FeedbackGiven) -> None:
    """Open what was asked for as a round of its own, and let it be planned; people have looked, so that limits count anew.

    Raises:
        UsageError: there is nothing yet that it could be about, or all of it is known.
    """
    if transition.state.phase not in _UNDER_WAY or transition.state.rules.review:
        raise UsageError(
            "the run has made nothing yet that feedback could be about", hint="codexteam resume continues it"
        )
    fresh = [finding for finding in event.findings if not is_taken(transition.state, finding)]
    if not fresh:
        raise UsageError(f"the run knows all that {event.place} asks for", hint="codexteam resume works on it")
    number = transition.state.round + 1
    transition.set(round=number, round_limit=number + transition.state.rules.max_rounds, weights=())
    for finding in fresh:
        known = finding_of(transition.state, finding.source or "")
        if known is None:
            transition.add_finding(finding, blocking=True, round_number=number)
            continue
        # the old title: its gate repeats it under that one
        newest = replace(finding, id=known.finding.id, title=known.finding.title)
        changed = replace(known, finding=newest, status=FindingStatus.OPEN, last_round=number, times=1)
        transition.put_finding(changed)
    work_again(transition, f"{event.place} asks for changes")
    begun = (*transition.in_flight.values(), *(shelved.effect for shelved in transition.state.shelved.values()))
    waits = any(item.startswith("rounds.") for item in transition.state.holds)
    # else what is under way, or its person's word, leads to a plan for all that is open
    if transition.state.judging is None and not waits and not any(isinstance(effect, Replan) for effect in begun):
        replan(transition)
