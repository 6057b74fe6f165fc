"""After the work: documentation, release notes, and the one ref in the user's repository."""

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed, NoAnswer
from codexteam.agent.office import Office
from codexteam.core.effects import Document, Land, Release
from codexteam.core.events import Documented, Event, Landed, LandingFailed, Released
from codexteam.core.ids import Purpose
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.state import RunState
from codexteam.core.text import clean
from codexteam.driver.attempts import policy_for, violations_text
from codexteam.errors import LandingError
from codexteam.gates.diffs import DIFF_BYTES
from codexteam.ports.repo import Accepted, Refused

#: What the documentation writer may write.
DOCUMENTATION_PATHS = ("**/*.md", "**/*.rst", "**/*.txt", "**/*.adoc", "docs/", "doc/")


async def document(office: Office, effect: Document, state: RunState) -> Event:
    """Let the documentation writer write; what it leaves is a last commit when it holds to the policy."""
    diff, cut = await _diff(office, effect, state)
    tasks = [known.task for known in state.tasks.values()]
    key = office.key("documentation", Purpose.DOCUMENT, attempt=1)
    prompt = briefs.document(state.goal, tasks, diff, cut=cut)
    report = await office.crew.assign(Assignment(key, effect.commit, prompt, writes=True))
    if isinstance(report, NoAnswer):
        return Documented(None, await office.keep_unanswered(key, report))
    if report.snapshot is None:
        return Documented(None, _text(report.answer.get("summary")))
    match await office.repo.intake(report.snapshot, policy_for(office, DOCUMENTATION_PATHS)):
        case Refused(violations):
            return Documented(None, f"refused: {violations_text(violations)}")
        case Accepted(tree):
            summary = _text(report.answer.get("summary"))
            message = office.message("Bring the documentation up to date", summary, role="documentation")
            author = await office.author("documentation", "extra.documentation")
            return Documented(await office.repo.commit(tree, (effect.commit,), message, author), summary)


async def release(office: Office, effect: Release, state: RunState) -> Event:
    """Let the release manager write its notes into the run's folder; nothing in the repository changes."""
    diff, cut = await _diff(office, effect, state)
    tasks = [known.task for known in state.tasks.values()]
    findings = briefs.findings_text([known.finding for known in state.findings.values()])
    key = office.key("release_manager", Purpose.RELEASE, attempt=1)
    prompt = briefs.release(state.goal, tasks, findings, diff, cut=cut)
    match await office.crew.assign(Assignment(key, effect.commit, prompt)):
        case NoAnswer(reason=reason):
            return Released(f"no release notes: {reason}")
        case Handed(answer=answer):
            path = office.files.write("release-notes.md", clean(_notes(state.goal, answer)))
            return Released(str(path))


def _notes(goal: str, answer: JSONObject) -> str:
    parts = [f"# Release notes: {' '.join(goal.split())[:72]}", _text(answer.get("user_notes"))]
    parts += ["## Internal", _text(answer.get("internal_notes"))]
    for title, name in (("Rollout", "rollout"), ("Rollback", "rollback"), ("Checklist", "checklist")):
        items = answer.get(name)
        lines = [f"- {item}" for item in items if isinstance(item, str)] if isinstance(items, list) else []
        parts += [f"## {title}", "\n".join(lines) or "Nothing."]
    return "\n\n".join(part for part in parts if part) + "\n"


async def land(office: Office, effect: Land) -> Event:
    """Put the branch into the user's repository."""
    try:
        ref = await office.repo.land(office.run_id, effect.commit)
    except LandingError as error:
        return LandingFailed(str(error))
    return Landed(ref, effect.commit)


async def _diff(office: Office, effect: Document | Release, state: RunState) -> tuple[str, bool]:
    if state.base is None:
        return "", False
    return await office.repo.diff_text(state.base, effect.commit, limit_bytes=DIFF_BYTES)


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""
