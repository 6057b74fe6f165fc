"""One attempt at a task: an agent works, what it leaves is checked, and what holds becomes a commit."""

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed, NoAnswer, Shortage
from codexteam.agent.office import Office, share_of
from codexteam.config.settings import ScopePolicy
from codexteam.core.effects import AttemptKind, Clarify, Work
from codexteam.core.events import (
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BudgetSpent,
    Clarified,
    Event,
)
from codexteam.core.guarded import GUARDED_PATHS
from codexteam.core.ids import CommitId, Purpose
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan import Task
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.text import clean
from codexteam.ports.repo import Accepted, IntakePolicy, Merged, Refused, Violation
from codexteam.ports.sandbox import Snapshot

#: What a next attempt gets to see of the work that conflicted.
_DIFF_BYTES = 24_000


async def work(office: Office, effect: Work, state: RunState) -> tuple[Event, ...]:
    """Let an agent try a task. Gives the attempt's event, and `BudgetSpent` before it when the run's budget is spent."""
    task = state.tasks[effect.task_id].task
    resolving = effect.kind is AttemptKind.RESOLVE
    purpose = Purpose.RESOLVE if resolving else Purpose.IMPLEMENT
    restore = None if resolving else await _earlier_work(office, task, effect)
    diff = await _earlier_diff(office, task, effect) if restore is None and effect.restore_attempt else ""
    prompt = briefs.work(
        state.goal, task, kind=effect.kind, evidence=effect.evidence, restored=restore is not None, earlier_diff=diff
    )
    key = office.key(task.role, purpose, task_id=task.id, attempt=effect.attempt)
    share = share_of(state, task)
    report = await office.crew.assign(
        Assignment(key, effect.base, prompt, restore=restore, budget_share=share, writes=True)
    )
    snapshot = report.snapshot
    if snapshot is not None:
        await office.keep_snapshot(key, snapshot)
    match report:
        case NoAnswer():
            return _failed(effect, report)
        case Handed(answer=answer):
            event = await _handed(office, effect, task, answer, snapshot)
            if isinstance(event, AttemptSucceeded) and event.commit is not None:
                await _forecast(office, event, state)
            return (event,)


async def _earlier_work(office: Office, task: Task, effect: Work) -> Snapshot | None:
    """Give the work of the attempt before, to go on from: as it was on the same base, or merged onto a newer one."""
    if effect.restore_attempt is None:
        return None
    # its purpose may have been another, which its work is not named by
    before = office.key(task.role, Purpose.IMPLEMENT, task_id=task.id, attempt=effect.restore_attempt)
    earlier = await office.snapshot(before)
    if earlier is not None and earlier.base == effect.base and earlier.pack.is_file():
        return earlier
    match await office.recall("accepted", f"{task.id}.{effect.restore_attempt}"):
        case {"commit": str(commit)}:
            author = await office.author(task.role, f"work.{task.id}.{effect.restore_attempt}")
            merged = await office.repo.merge(effect.base, CommitId(commit), task.title, author)
            if isinstance(merged, Merged) and merged.commit != effect.base:
                pack = office.files.attempt_folder(task.id, effect.attempt) / "start.pack"
                return await office.repo.as_snapshot(effect.base, merged.commit, pack)
        case _:
            pass
    return None


async def _earlier_diff(office: Office, task: Task, effect: Work) -> str:
    """Show what an attempt did that cannot be put in place again: its accepted commit against its base."""
    known = await office.recall("accepted", f"{task.id}.{effect.restore_attempt}")
    match known:
        case {"base": str(base), "commit": str(commit)}:
            text, _ = await office.repo.diff_text(CommitId(base), CommitId(commit), limit_bytes=_DIFF_BYTES)
            return text
        case _:
            return ""


def _failed(effect: Work, report: NoAnswer) -> tuple[Event, ...]:
    final = report.shortage is Shortage.TASK
    failed = AttemptFailed(effect.task_id, effect.attempt, report.reason, report.evidence, final=final)
    return (BudgetSpent(report.reason), failed) if report.shortage is Shortage.RUN else (failed,)


async def _handed(
    office: Office, effect: Work, task: Task, answer: JSONObject, snapshot: Snapshot | None
) -> AttemptSucceeded | AttemptFailed | AttemptAsked:
    summary = _text(answer.get("summary"))
    match answer.get("status"):
        case "needs_clarification":
            question = _text(answer.get("question")) or summary or "It asks for a clarification and names no question."
            return AttemptAsked(task.id, effect.attempt, question)
        case "blocked":
            return AttemptFailed(task.id, effect.attempt, f"the agent says it is blocked: {_line(summary)}", summary)
        case _:
            pass
    later, risks = _strings(answer.get("later")), _strings(answer.get("risks"))
    if snapshot is None:
        return AttemptSucceeded(task.id, effect.attempt, None, summary, later, risks)
    intake = await office.repo.intake(
        snapshot, policy_for(office, task.paths), enforce_scope=office.settings.team.scope is ScopePolicy.ENFORCE
    )
    match intake:
        case Refused(violations):
            reason = f"its work was refused: {_line(violations[0].message)}" + _more(len(violations))
            return AttemptFailed(task.id, effect.attempt, reason, violations_text(violations))
        case Accepted():
            return await _accepted(office, effect, task, intake, (summary, later, risks))


async def _accepted(
    office: Office, effect: Work, task: Task, intake: Accepted, said: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> AttemptSucceeded:
    summary, later, risks = said
    message = office.message(task.title, summary, role=task.role, task_id=task.id, attempt=effect.attempt)
    author = await office.author(task.role, f"work.{task.id}.{effect.attempt}")
    commit = await office.repo.commit(intake.tree, (effect.base,), message, author)
    await office.remember("accepted", f"{task.id}.{effect.attempt}", {"base": effect.base, "commit": commit})
    for warning in intake.warnings:
        office.tell("policy.warned", {"task": task.id, "rule": warning.rule, "message": warning.message})
    ask = ""
    outside = [warning for warning in intake.warnings if warning.rule == "scope"]
    if outside and office.settings.team.scope is ScopePolicy.ASK:
        ask = f"{task.id} wrote outside its paths. Merge it?\n{violations_text(outside)}"
    return AttemptSucceeded(task.id, effect.attempt, commit, summary, later, risks, ask)


async def _forecast(office: Office, event: AttemptSucceeded, state: RunState) -> None:
    """Tell early which accepted work this one will not merge with; the later of the two goes back as `resolve`."""
    waiting = {TaskPhase.QUEUED, TaskPhase.INTEGRATING}
    for task_id, other in state.tasks.items():
        if task_id == event.task_id or other.phase not in waiting or other.commit is None or event.commit is None:
            continue
        paths = await office.repo.forecast(other.commit, event.commit)
        if paths:
            fields: JSONObject = {"task": event.task_id, "attempt": event.attempt, "with": task_id}
            office.tell("conflict.expected", {**fields, "paths": list(paths)})


def policy_for(office: Office, allowed: tuple[str, ...]) -> IntakePolicy:
    """Give the policy for work that may write below `allowed`."""
    guarded = (*GUARDED_PATHS, *office.settings.team.guarded_paths)
    return IntakePolicy(allowed, guarded, secret_values=office.secret_values)


def violations_text(violations: tuple[Violation, ...] | list[Violation]) -> str:
    """List what does not hold, a line each, for an agent or a person."""
    lines = []
    for violation in violations:
        place = f"{violation.path}:{violation.line}" if violation.line else violation.path
        lines.append(f"- [{violation.rule}] {place + ': ' if place else ''}{violation.message}")
    return "\n".join(lines)


async def clarify(office: Office, effect: Clarify, state: RunState) -> Event:
    """Let the orchestrator answer a worker's question; without an answer the user is asked."""
    task = state.tasks[effect.task_id].task
    # one clarification for each attempt: its number tells them apart
    key = office.key("orchestrator", Purpose.CLARIFY, task_id=task.id, attempt=effect.attempt)
    tip = state.tip or state.base
    if tip is None:
        return Clarified(task.id, effect.attempt, "", ask_user=True)
    report = await office.crew.assign(Assignment(key, tip, briefs.clarify(state.goal, task, effect.question)))
    match report:
        case Handed(answer={"answer": str(answer), "ask_user": bool(ask_user)}):
            return Clarified(task.id, effect.attempt, answer, ask_user=ask_user)
        case _:
            return Clarified(task.id, effect.attempt, "", ask_user=True)


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _line(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= 200 else line[:197] + "..."


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: JSONValue) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
