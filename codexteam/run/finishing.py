"""After the work: documentation, release notes, and the one ref in the user's repository."""

from collections.abc import Mapping

from codexteam.config.settings import StepMode
from codexteam.core.answers import ReleaseNotes, TaskReport
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.documentation import (
    DOCUMENTATION_ROLE,
    asks_for_documentation,
    documentation_paths,
    documents,
    is_documentation,
    mentioned,
    touched_names,
)
from codexteam.core.effects import Document, Land, Release
from codexteam.core.events import (
    BudgetRefused,
    Documented,
    Event,
    Landed,
    LandingFailed,
    Released,
)
from codexteam.core.ids import CommitId, Purpose
from codexteam.core.paths import decode, show
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.text import clean
from codexteam.errors import LandingError
from codexteam.ports.repo import Accepted, IntakeRefused
from codexteam.ports.sandbox import Snapshot
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.attempts import policy_for, violations_text
from codexteam.run.context import RunContext, refused
from codexteam.run.documentation_checks import take_documentation
from codexteam.run.gates.diffs import DIFF_BYTES, changed_paths


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


#: Tries of one pass: refused work is written once more, with the reason.
_TRIES = 2
#: How much documentation is searched for the names that a change touches.
_DOCUMENTS = 300
_DOCUMENT_BYTES = 256 * 1024

NOT_ASKED = "not needed: neither goal, plan nor diff asks for it"


async def document(context: RunContext, effect: Document, state: RunState) -> Documented | BudgetRefused:
    """Let the documentation writer write, where something asks for it; what it leaves is a last commit."""
    diff, cut = "", False
    if state.base is not None:
        diff, cut = await context.repo.diff_text(state.base, effect.commit, limit_bytes=DIFF_BYTES)
    if context.settings.team.steps.documentation is StepMode.AUTO:
        why = await _why(context, effect, state, diff)
        if not why:
            return Documented(None, NOT_ASKED)
    else:
        why = "every run documents what it changed"
    tasks = [known.task for known in state.tasks.values() if known.phase is TaskPhase.MERGED]
    paths = documentation_paths(context.repositories)
    begun: Snapshot | None = None
    problems = ""
    for attempt in range(_TRIES * (effect.number - 1) + 1, _TRIES * effect.number + 1):
        key = context.key(Purpose.DOCUMENT, attempt=attempt)
        prompt = prompts.document(state.goal, tasks, diff, cut=cut, why=why, paths=paths, refused=problems)
        report = await context.agents.run(
            Assignment(key, effect.commit, prompt, TaskReport, restore=begun, writes=True)
        )
        context.report_left_out(key, report.remarks)
        match report:
            case AgentFailure(budget_scope=scope) if scope is not None:
                return refused(effect, report)
            case AgentFailure():
                reason = await context.keep_unanswered(key, report)
                return Documented(None, reason, reason)
            case AgentAnswer(answer=answer, snapshot=snapshot):
                if snapshot is None:
                    gone = f"it was refused, and then left out: {_line(problems)}" if problems else ""
                    return Documented(None, answer.summary, gone)
                begun = snapshot
                policy = policy_for(context, paths)
                match await take_documentation(context, snapshot, policy, what=f"document.{attempt}"):
                    case Accepted(tree):
                        message = context.message(
                            "Bring the documentation up to date", answer.summary, role=DOCUMENTATION_ROLE
                        )
                        author = await context.author(DOCUMENTATION_ROLE, "extra.documentation")
                        commit = await context.repo.commit(tree, (effect.commit,), message, author)
                        return Documented(commit, answer.summary)
                    case IntakeRefused(violations):
                        problems = violations_text(violations)
                        await context.keep_snapshot(key, snapshot)
    return Documented(None, f"refused: {problems}", f"it was refused: {_line(problems)}")


async def _why(context: RunContext, effect: Document, state: RunState, diff: str) -> str:
    """Say what asks for documentation that is not written yet; empty if nothing does."""
    if state.base is None or not diff.strip():
        return ""
    changed = await changed_paths(context, state.base, effect.commit)
    merged = [known.task for known in state.tasks.values() if known.phase is TaskPhase.MERGED]
    written = any(is_documentation(path, context.repositories) for path in changed) or any(
        task.role == DOCUMENTATION_ROLE for task in merged
    )
    if asks_for_documentation(state.goal) and not written:
        return "the goal asks for it"
    if (asking := [task.id for task in merged if documents(task, context.repositories)]) and not written:
        return f"the plan asks for it ({', '.join(asking)})"
    found = mentioned(touched_names(diff, context.repositories), await _documents(context, effect.commit, set(changed)))
    return f"`{found[0]}`, which the change touches, is described in {found[1]}" if found else ""


async def _documents(context: RunContext, commit: CommitId, changed: set[str]) -> Mapping[str, str]:
    """Return the documentation that nobody updated, by path."""
    texts: dict[str, str] = {}
    for path, _, _ in await context.repo.list_files(commit):
        name = path.decode("utf-8", errors="replace")
        if not is_documentation(name, context.repositories) or name in changed:
            continue
        try:
            data = await context.repo.read_blob(commit, path, limit_bytes=_DOCUMENT_BYTES)
        except ValueError:
            continue
        texts[show(path)] = (data or b"").decode("utf-8", errors="replace")
        if len(texts) >= _DOCUMENTS:
            break
    return texts


def _line(text: str) -> str:
    line = " ".join(text.removeprefix("- ").split())
    return line if len(line) <= 240 else f"{line[:237]}..."
