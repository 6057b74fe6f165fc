"""Our patch format over files in memory, told in the same words as the real program's outcome."""

from codexteam.agent.patch.apply import AppliedPatch, FileState, Unreadable, apply_hunks
from codexteam.agent.patch.parse import NotAPatch, parse_patch
from tests.integration.agent.patch.real_program import Outcome

_ROOT = "/work"


def run_ours(files: dict[str, bytes], patch: str) -> Outcome:
    """Parse and apply."""
    hunks = parse_patch(patch)
    if isinstance(hunks, NotAPatch):
        return Outcome(accepted=False, message=hunks.message, files=files)
    states: dict[str, FileState] = dict(files)
    for path in files:
        for at, character in enumerate(path):
            if character == "/":
                states[path[:at]] = Unreadable()
    applied = apply_hunks(hunks, states, root=_ROOT)
    after: dict[str, bytes | None] = {**files, **applied.writes}
    return Outcome(
        accepted=isinstance(applied, AppliedPatch),
        message=(applied.text if isinstance(applied, AppliedPatch) else applied.message).replace(_ROOT, "{root}"),
        files={path: data for path, data in after.items() if data is not None},
    )
