"""After the work: release notes, and the one ref in the user's repository."""

from codexteam.core.answers import ReleaseNotes
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.effects import Land, Release
from codexteam.core.events import (
    Event,
    Landed,
    LandingFailed,
    Released,
)
from codexteam.core.ids import Purpose
from codexteam.core.paths import decode
from codexteam.core.state import RunState
from codexteam.core.text import clean
from codexteam.errors import LandingError
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.context import RunContext, refused
from codexteam.run.gates.diffs import DIFF_BYTES


async def release(context: RunContext, effect: Release, state: RunState) -> Event:
    """Let the release manager write its notes into the run's folder; nothing in the repository changes."""
    diff, cut = await _diff(context, effect, state)
    tasks = [known.task for known in state.tasks.values()]
    findings = prompts.findings_text([known.finding for known in state.findings.values()])
    key = context.key(Purpose.RELEASE, attempt=1)
    prompt = prompts.release(state.goal, tasks, findings, diff, cut=cut)
    match await context.agents.run(Assignment(key, effect.commit, prompt, ReleaseNotes)):
        case AgentFailure(budget_scope=BudgetScope()) as report:
            return refused(effect, report)
        case AgentFailure(reason=reason):
            return Released(f"no release notes: {reason}")
        case AgentAnswer(answer=answer):
            path = context.files.write("release-notes.md", clean(_notes(state.goal, answer)))
            return Released(str(path), str(path))


def _notes(goal: str, notes: ReleaseNotes) -> str:
    parts = [f"# Release notes: {' '.join(goal.split())[:72]}", notes.user_notes, "## Internal", notes.internal_notes]
    for title, items in (("Rollout", notes.rollout), ("Rollback", notes.rollback), ("Checklist", notes.checklist)):
        parts += [f"## {title}", "\n".join(f"- {item}" for item in items) or "Nothing."]
    return "\n\n".join(part for part in parts if part) + "\n"


async def land(context: RunContext, effect: Land) -> Event:
    """Put the branch into the user's repository, or into those of several that the run changed."""
    try:
        ref = await context.repo.land(context.run_id, effect.commit)
    except LandingError as error:
        return LandingFailed(str(error))
    if not context.repositories:
        return Landed(ref, effect.commit)
    changes = await context.repo.changes(context.base, effect.commit)
    changed = {decode(change.path).partition("/")[0] for change in changes}
    return Landed(ref, effect.commit, tuple(name for name in context.repositories if name in changed))


async def _diff(context: RunContext, effect: Release, state: RunState) -> tuple[str, bool]:
    if state.base is None:
        return "", False
    return await context.repo.diff_text(state.base, effect.commit, limit_bytes=DIFF_BYTES)
