"""What a green run is green by: what checked it, whether it changed anything, and what else the word has to be read with."""

from codexteam.core.documentation import documents
from codexteam.core.ids import GateName
from codexteam.core.state import FindingStatus, RunState, TaskPhase
from codexteam.core.text import count_of


def commands_ran(state: RunState) -> int:
    """Return how many gate commands ran on the commit that was last judged, and checked something."""
    record = state.gates.get(GateName.CI)
    return record.ran if record is not None else 0


def nothing_changed(state: RunState) -> bool:
    """Return whether the branch's files are those of the base commit: no task changed any, or all was undone again."""
    same = (state.tip, *state.same_tree)
    return state.base in same or any(record.unchanged and record.commit in same for record in state.gates.values())


def unwritten_documentation(state: RunState) -> str:
    """Return why documentation that was asked for is not written; empty where it is, or nobody asked."""
    if state.documentation_failure or state.rules.decisions < 4:
        return state.documentation_failure
    if state.rules.document or not state.rules.documentation_asked or nothing_changed(state):
        return ""
    merged = (known.task for known in state.tasks.values() if known.phase is TaskPhase.MERGED)
    return "" if any(map(documents, merged)) else "the goal asks for it, and the step is off"


def with_waived(state: RunState, reason: str) -> str:
    """Return why a run is green; what a person waived or allowed first, and then no word of gates that all passed."""
    waived = [str(i) for i, known in state.findings.items() if known.status is FindingStatus.WAIVED]
    unchecked = state.rules.check_base and not commands_ran(state)
    left_out = ", ".join(f"`{command}`" for command in state.left_out)
    parts = [
        "nothing that checked it: no gate command ran, as allow_unchecked allows" if unchecked else "",
        f"{count_of(len(waived), 'finding')} waived by you: {', '.join(waived)}" if waived else "",
        f"{left_out} left out by you, which cannot run" if left_out and not unchecked else "",
        f"documentation not written: {unwritten}" if (unwritten := unwritten_documentation(state)) else "",
    ]
    said = ", ".join(part for part in parts if part)
    if not said:
        return reason
    if unchecked:
        return f"with {said}"
    return f"with {said}; {'the gates found no other that must be fixed' if waived else reason}"
