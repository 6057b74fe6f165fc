"""One attempt at a task: an agent works, what it leaves is checked, and what holds becomes a commit."""

from collections.abc import Sequence
from dataclasses import replace

from codexteam.agent.compaction import remark_lines
from codexteam.config.settings import ScopePolicy
from codexteam.core.answers import Clarification, TaskReport, WorkStatus
from codexteam.core.base_check import planned_globs
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.documentation import DOCUMENTATION_ROLE
from codexteam.core.effects import AttemptKind, Clarify, Work
from codexteam.core.events import (
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    Clarified,
    Event,
)
from codexteam.core.ids import AgentKey, JSONObject, Purpose
from codexteam.core.merge_train import acceptance_commands
from codexteam.core.paths import GUARDED_PATHS, guarded_among
from codexteam.core.plan_graph import Task
from codexteam.core.plan_md_task import render_task
from codexteam.core.repositories import repositories_in
from codexteam.core.state import RunState, TaskState
from codexteam.core.text import clean
from codexteam.errors import ModelAccessError, ModelOutageError, UsageLimitError
from codexteam.ports.repo import Accepted, IntakePolicy, IntakeRefused, Merged, Violation
from codexteam.ports.sandbox import Remark, Snapshot
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment, Unserved
from codexteam.run.code_search import map_for
from codexteam.run.context import RunContext, refused, standing_of, work_name
from codexteam.run.documentation_checks import take_documentation
from codexteam.run.model_choice import chosen_for
from codexteam.run.remembered import AcceptedWork, LeftOut
from codexteam.run.tested_work import judge_work

#: What a next attempt gets to see of the work that conflicted.
_DIFF_BYTES = 24_000


async def work(context: RunContext, effect: Work, state: RunState) -> Event:
    """Let an agent try a task; an attempt that a budget refuses has not failed and continues later."""
    task = state.tasks[effect.task_id].task
    if context.environments is not None:
        await context.environments.touch(planned_globs(state))
    resolving = effect.kind is AttemptKind.RESOLVE
    purpose = Purpose.RESOLVE if resolving else Purpose.IMPLEMENT
    restore = None if resolving else await _earlier_work(context, task, effect)
    diff = await _earlier_diff(context, task, effect) if restore is None and effect.restore_attempt else ""
    key = context.key(purpose, task_id=task.id, attempt=effect.attempt, role=task.role)
    about = "\n".join(render_task(task))
    prompt = prompts.work(
        state.goal,
        task,
        kind=effect.kind,
        evidence=effect.evidence,
        restored=restore is not None,
        earlier_diff=diff,
        code_map=await map_for(context, key, effect.base, about, within=task.paths),
        notes=await context.notes.given(work_name(key), about),
        repositories=context.repositories,
        place=effect.place,
    )
    known = state.tasks[effect.task_id]
    chosen = chosen_for(context, known, attempt=effect.attempt)
    contender = known.contest.of_attempt(effect.attempt) if known.contest is not None else None
    heard = known.heard if contender is None else contender.heard
    report = await _report(
        context,
        known,
        Assignment(
            key,
            effect.base,
            prompt,
            TaskReport,
            restore=restore,
            standing=standing_of(state, task),
            budget=task.budget,
            writes=True,
            paths=task.paths,
            checks=acceptance_commands(task),
            messages=known.said[heard:],
            model=chosen.model,
            effort=chosen.effort,
            chosen_by=chosen.by,
            contends=effect.place > 0,
        ),
    )
    await _report_remarks(context, effect, report.remarks)
    snapshot = report.snapshot
    if snapshot is not None:
        await context.keep_snapshot(key, snapshot)
    match report:
        case AgentFailure(budget_scope=BudgetScope()):
            return refused(effect, report)
        case AgentFailure():
            final = report.lasting
            failed = AttemptFailed(
                effect.task_id,
                effect.attempt,
                report.reason,
                report.evidence,
                final=final,
                unserved=report.unserved is not None,
            )
            return _with_remarks(failed, report.remarks)
        case AgentAnswer(answer=answer):
            last = state.tasks[task.id].failures + 1 >= state.rules.max_attempts
            handed = await _handed(context, effect, state.tasks[effect.task_id], answer, snapshot, last=last)
            return _with_remarks(handed, report.remarks)


async def _report(
    context: RunContext, known: TaskState, assignment: Assignment[TaskReport]
) -> AgentAnswer[TaskReport] | AgentFailure:
    """Let the agent work; where its model is not served and there is another, that is the attempt's end, not the run's."""
    try:
        return await context.agents.run(assignment)
    except UsageLimitError:
        raise
    except ModelAccessError as error:
        # in an outage the other contenders get no answer either: the session ends, and none of them is out of the contest
        others = known.open_contest is not None and assignment.model and not isinstance(error, ModelOutageError)
        if not others and known.unserved >= len(context.settings.team.escalation.fallback):
            raise
        return AgentFailure(f"its model does not serve it: {error}", unserved=Unserved.DOWN)


async def _report_remarks(context: RunContext, effect: Work, remarks: Sequence[Remark]) -> None:
    """Report what of a workspace was left out, and keep it for diagnosing why the merged work fails."""
    if not remarks:
        return
    lines = tuple(remark_lines(remarks))
    await context.remember("left_out", f"{effect.task_id}.{effect.attempt}", LeftOut(lines))
    for line in lines:
        fields: JSONObject = {"task": effect.task_id, "attempt": effect.attempt, "rule": "left_out"}
        context.report("policy.warned", {**fields, "message": f"not in its work: {line.removeprefix('- ')}"})


def _with_remarks(
    event: AttemptSucceeded | AttemptFailed | AttemptAsked, remarks: Sequence[Remark]
) -> AttemptSucceeded | AttemptFailed | AttemptAsked:
    """Let the next attempt know what was not taken of this one's workspace."""
    match event:
        case AttemptFailed() if remarks:
            return replace(event, evidence=f"{event.evidence}\n\n{left_out_evidence(remark_lines(remarks))}".strip())
        case _:
            return event


def left_out_evidence(lines: Sequence[str]) -> str:
    """Say what was not taken of an attempt's workspace, for the next attempt."""
    return "\n".join(("What was in its workspace and is not in its work:", *lines))


async def _earlier_work(context: RunContext, task: Task, effect: Work) -> Snapshot | None:
    """Return the previous attempt's work to continue from: as it was on the same base, or merged onto a newer one."""
    if effect.restore_attempt is None:
        return None
    # its purpose may have been another, which its work is not named by
    before = context.key(Purpose.IMPLEMENT, task_id=task.id, attempt=effect.restore_attempt, role=task.role)
    earlier = await context.snapshot(before) or await _of_its_turns(context, before)
    if earlier is not None and earlier.base == effect.base and earlier.pack.is_file():
        return earlier
    accepted = await context.recall("accepted", f"{task.id}.{effect.restore_attempt}", AcceptedWork)
    if accepted is not None:
        author = await context.author(task.role, f"work.{task.id}.{effect.restore_attempt}")
        merged = await context.repo.merge(effect.base, accepted.commit, task.title, author)
        if isinstance(merged, Merged) and merged.commit != effect.base:
            pack = context.files.attempt_folder(task.id, effect.attempt) / "start.pack"
            return await context.repo.as_snapshot(effect.base, merged.commit, pack)
    return None


async def _of_its_turns(context: RunContext, agent: AgentKey) -> Snapshot | None:
    """Return what an attempt had written that was cut off, as when its task was changed while the run waited."""
    turns = await context.store.turns(agent)
    return turns[-1].workspace.snapshot if turns else None


async def _earlier_diff(context: RunContext, task: Task, effect: Work) -> str:
    """Show what an attempt did that cannot be put in place again: its accepted commit against its base."""
    known = await context.recall("accepted", f"{task.id}.{effect.restore_attempt}", AcceptedWork)
    if known is None:
        return ""
    text, _ = await context.repo.diff_text(known.base, known.commit, limit_bytes=_DIFF_BYTES)
    return text


async def _handed(
    context: RunContext, effect: Work, known: TaskState, answer: TaskReport, snapshot: Snapshot | None, *, last: bool
) -> AttemptSucceeded | AttemptFailed | AttemptAsked:
    task, granted = known.task, known.granted
    summary, later, risks = answer.summary, answer.later, answer.risks
    match answer.status:
        case WorkStatus.NEEDS_CLARIFICATION:
            question = answer.question or summary or "It asks for a clarification and names no question."
            return AttemptAsked(task.id, effect.attempt, question)
        case WorkStatus.BLOCKED:
            return AttemptFailed(task.id, effect.attempt, f"the agent says it is blocked: {_line(summary)}", summary)
        case WorkStatus.DONE:
            pass
    if snapshot is None:
        return AttemptSucceeded(task.id, effect.attempt, None, summary, later, risks)
    policy = policy_for(context, task.paths, granted)
    intake = await _intake(context, effect, task, snapshot, policy)
    ask = ""
    if isinstance(intake, IntakeRefused) and last:
        # the next refusal would end the task: whether it is a credential at all is for a person to say
        marks = tuple(violation.fingerprint for violation in intake.violations)
        if all(marks):
            ask = _about_credentials(task, intake.violations)
            allowed = (*policy.allowed_credentials, *marks)
            intake = await _intake(context, effect, task, snapshot, replace(policy, allowed_credentials=allowed))
    match intake:
        case IntakeRefused(violations):
            reason = f"its work was refused: {_line(violations[0].message)}" + _more(len(violations))
            return AttemptFailed(task.id, effect.attempt, reason, violations_text(violations))
        case Accepted():
            return await _accepted(context, effect, known, intake, (summary, later, risks, ask))


async def _intake(
    context: RunContext, effect: Work, task: Task, snapshot: Snapshot, policy: IntakePolicy
) -> Accepted | IntakeRefused:
    enforce = context.settings.team.scope is ScopePolicy.ENFORCE
    if task.role == DOCUMENTATION_ROLE:
        what = f"check.{task.id}.{effect.attempt}"
        return await take_documentation(context, snapshot, policy, what=what, enforce=enforce)
    return await context.repo.intake(snapshot, policy, enforce_scope=enforce)


def _about_credentials(task: Task, violations: Sequence[Violation]) -> str:
    marks = ", ".join(dict.fromkeys(f'"{violation.fingerprint}"' for violation in violations))
    return (
        f"{task.id}'s work holds what looks like a credential. Merge it as it is?\n{violations_text(tuple(violations))}\n"
        f"To allow it in every run: allowed_credentials = [{marks}] in the table [codexteam]"
    )


async def _accepted(
    context: RunContext,
    effect: Work,
    known: TaskState,
    intake: Accepted,
    said: tuple[str, tuple[str, ...], tuple[str, ...], str],
) -> AttemptSucceeded | AttemptFailed:
    summary, later, risks, ask = said
    task = known.task
    message = context.message(
        task.title,
        summary,
        role=task.role,
        task_id=task.id,
        attempt=effect.attempt,
        model=chosen_for(context, known, attempt=effect.attempt).model,
    )
    author = await context.author(task.role, f"work.{task.id}.{effect.attempt}")
    commit = await context.repo.commit(intake.tree, (effect.base,), message, author)
    why, evidence = await judge_work(context, effect, task, commit)
    if why:
        return AttemptFailed(task.id, effect.attempt, f"its work is not tested: {_line(why)}", evidence)
    await context.remember("accepted", f"{task.id}.{effect.attempt}", AcceptedWork(effect.base, commit))
    for warning in intake.warnings:
        fields: JSONObject = {"task": task.id, "attempt": effect.attempt, "rule": warning.rule}
        context.report("policy.warned", {**fields, "message": warning.message})
    outside = [warning for warning in intake.warnings if warning.rule == "scope"]
    if outside and context.settings.team.scope is ScopePolicy.ASK:
        wrote = f"{task.id} wrote outside its paths. Merge it?\n{violations_text(outside)}"
        ask = f"{ask}\n\n{wrote}" if ask else wrote
    return AttemptSucceeded(task.id, effect.attempt, commit, summary, later, risks, ask)


def policy_for(context: RunContext, allowed: tuple[str, ...], granted: tuple[str, ...] = ()) -> IntakePolicy:
    """Return the policy for work that may write below `allowed`; `granted` are paths that a person named."""
    team = context.settings.team
    guarded = (*GUARDED_PATHS, *team.guarded_paths)
    opened = (*team.allow_guarded, *guarded_among(granted, team.guarded_paths))
    return IntakePolicy(
        allowed,
        guarded,
        secret_values=context.redactor.values,
        opened=opened,
        allowed_credentials=team.allowed_credentials,
        folders=repositories_in(allowed, context.repositories),
    )


def violations_text(violations: tuple[Violation, ...] | list[Violation]) -> str:
    """List what does not hold, a line each, for an agent or a person."""
    lines = []
    for violation in violations:
        place = f"{violation.path}:{violation.line}" if violation.line else violation.path
        lines.append(f"- [{violation.rule}] {place + ': ' if place else ''}{violation.message}")
    return "\n".join(lines)


async def clarify(context: RunContext, effect: Clarify, state: RunState) -> Event:
    """Let the orchestrator answer a worker's question; without an answer the user is asked."""
    task = state.tasks[effect.task_id].task
    # one clarification per attempt, distinguished by its number
    key = context.key(Purpose.CLARIFY, task_id=task.id, attempt=effect.attempt)
    tip = state.tip or state.base
    if tip is None:
        return Clarified(task.id, effect.attempt, "", ask_user=True)
    prompt = prompts.clarify(state.goal, task, effect.question)
    report = await context.agents.run(
        Assignment(key, tip, prompt, Clarification, standing=standing_of(state, task), budget=task.budget)
    )
    match report:
        case AgentFailure(budget_scope=BudgetScope()):
            return refused(effect, report)
        case AgentAnswer(answer=Clarification(answer, ask_user)):
            return Clarified(task.id, effect.attempt, answer, ask_user=ask_user)
        case AgentFailure():
            return Clarified(task.id, effect.attempt, "", ask_user=True)


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _line(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= 200 else line[:197] + "..."
