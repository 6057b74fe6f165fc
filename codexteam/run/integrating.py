"""Merges work: stacked as objects in the hub, checked on the merged tree, and only then is the integration branch moved.

What is merged in which order, and what is checked again, is decided in `core.merge_train`.
"""

from codexteam.core.effects import AdvanceBranch, CheckCandidate, Integrate, IntegrateExtra, StackCandidate
from codexteam.core.events import (
    AcceptanceFailed,
    BranchMoved,
    CandidateAccepted,
    CandidateStacked,
    Event,
    ExtraIntegrated,
    Integrated,
    IntegrationConflicted,
    MergeRefused,
)
from codexteam.core.ids import CommitId, JSONObject, TaskId
from codexteam.core.merge_train import acceptance_commands
from codexteam.core.state import RunState
from codexteam.errors import InternalError
from codexteam.ports.repo import Conflict, Merged
from codexteam.run.attempts import left_out_evidence
from codexteam.run.command_outcome import evidence_of
from codexteam.run.context import RunContext
from codexteam.run.gates.ci import gate_commands, new_failures
from codexteam.run.gates.results import outcomes_on
from codexteam.run.model_choice import chosen_for
from codexteam.run.pre_merge import refusal_before_merge
from codexteam.run.remembered import LeftOut


async def stack(context: RunContext, effect: StackCandidate, state: RunState) -> Event:
    """Merge a task's work onto what is ahead of it in the train."""
    match await _merge(context, effect.task_id, effect.onto, effect.work, state):
        case Conflict(paths, messages):
            await _report_conflict(context, effect, state)
            return IntegrationConflicted(effect.task_id, effect.attempt, paths, messages, effect.number)
        case Merged(commit, tree):
            changed = tree != await context.repo.tree_of(effect.onto)
            return CandidateStacked(effect.task_id, effect.attempt, effect.number, commit, changed)


async def _report_conflict(context: RunContext, effect: StackCandidate, state: RunState) -> None:
    """Say which work ahead of it, that is not merged yet, this one will not merge with."""
    for task_id in effect.behind:
        other = state.tasks[task_id].commit
        if other is not None and (paths := await context.repo.forecast(other, effect.work)):
            fields: JSONObject = {"task": effect.task_id, "attempt": effect.attempt, "with": task_id}
            context.report("conflict.expected", {**fields, "paths": list(paths)})


async def check(context: RunContext, effect: CheckCandidate, state: RunState) -> Event:
    """Run the acceptance commands of a candidate, and of those that ride on it, on its merged tree."""
    names = (*effect.riders, effect.task_id)
    failed = await _failing(context, names, state, commit=effect.commit, number=effect.number)
    if failed:
        return AcceptanceFailed(effect.task_id, effect.attempt, failed, effect.number)
    return CandidateAccepted(effect.task_id, effect.attempt, effect.number)


async def advance(context: RunContext, effect: AdvanceBranch, state: RunState) -> Event:
    """Move the branch to a candidate whose tree has passed, unless a hook of the user's refuses what is merged by it."""
    onto = effect.onto
    for merge in effect.merges:
        refusal = await _refusal(context, merge.task_id, merge.commit, onto, state)
        if refusal is not None:
            return MergeRefused(merge.task_id, merge.attempt, refusal, merge.number)
        onto = merge.commit
    await _move_branch(context, effect.commit, effect.onto)
    return BranchMoved(effect.commit, effect.merges)


async def integrate(context: RunContext, effect: Integrate, state: RunState) -> Event:
    """Merge a task's work, accept it on the merged tree, move the branch: in runs that older versions began."""
    task_id, attempt = effect.task_id, effect.attempt
    candidate = effect.onto
    changed = False
    if effect.commit is not None:
        match await _merge(context, task_id, effect.onto, effect.commit, state):
            case Conflict(paths, messages):
                return IntegrationConflicted(task_id, attempt, paths, messages)
            case Merged(commit, tree):
                candidate = commit
                changed = tree != await context.repo.tree_of(effect.onto)
    if failed := await _failing(context, (task_id,), state, commit=candidate):
        return AcceptanceFailed(task_id, attempt, failed)
    refusal = await _refusal(context, task_id, candidate, effect.onto, state)
    if refusal is not None:
        return MergeRefused(task_id, attempt, refusal)
    await _move_branch(context, candidate, effect.onto)
    return Integrated(task_id, attempt, candidate, changed)


async def _refusal(
    context: RunContext, task_id: TaskId, candidate: CommitId, onto: CommitId, state: RunState
) -> str | None:
    """Ask the user's hooks about a task's work that is about to be merged."""
    known = state.tasks[task_id]
    task = known.task
    work: JSONObject = {"task": task_id, "attempt": known.attempt, "title": task.title, "role": task.role}
    return await refusal_before_merge(context, candidate, onto, f"{task_id}.{known.attempt}", work)


async def _merge(
    context: RunContext, task_id: TaskId, onto: CommitId, work: CommitId, state: RunState
) -> Merged | Conflict:
    known = state.tasks[task_id]
    role = known.task.role
    message = context.message(
        known.task.title,
        known.summary,
        role=role,
        task_id=task_id,
        attempt=known.attempt,
        model=chosen_for(context, known).model,
    )
    author = await context.author(role, f"work.{task_id}.{known.attempt}")
    return await context.repo.merge(onto, work, message, author)


async def _failing(
    context: RunContext, names: tuple[TaskId, ...], state: RunState, *, commit: CommitId, number: int = 1
) -> str:
    """Run the acceptance commands of tasks on a commit that holds their work, the last one's; return what fails."""
    last = state.tasks[names[-1]]
    commands = acceptance_commands(*(state.tasks[name].task for name in names))
    team = context.settings.team
    seconds = min(team.limits.command_seconds, team.gates.timeout_seconds)
    what = f"{last.task.id}.{last.attempt}"
    outcomes = await outcomes_on(
        context,
        commit,
        commands,
        name=f"accept.{what}",
        number=number,
        timeout_seconds=seconds,
        again_if_failed=True,
    )
    for outcome in outcomes:
        for name in names:
            known = state.tasks[name]
            if outcome.command in acceptance_commands(known.task):
                fields: JSONObject = {"task": name, "attempt": known.attempt, "commit": commit}
                context.report("acceptance.checked", {**fields, **outcome.as_fields()})
    failed = [outcome for outcome in outcomes if not outcome.ok or outcome.did_not_run]
    if not failed:
        return ""
    # what an attempt had in its workspace and not in its work is often why its commands fail here alone
    left_out = await context.recall("left_out", what, LeftOut)
    return evidence_of(failed) + ("" if left_out is None else "\n\n" + left_out_evidence(left_out.lines))


async def integrate_extra(context: RunContext, effect: IntegrateExtra, state: RunState) -> Event:
    """Merge work that belongs to no task, when the gate commands that passed before still pass with it."""
    role = "qa_test_author" if effect.name.startswith("qa.") else "documentation"
    title = "Add tests" if role == "qa_test_author" else "Bring the documentation up to date"
    author = await context.author(role, f"extra.{effect.name}")
    message = context.message(title, "", role=role)
    merged = await context.repo.merge(effect.onto, effect.commit, message, author)
    if isinstance(merged, Conflict):
        reason = "it conflicts with what was merged meanwhile: " + ", ".join(merged.paths)
        return ExtraIntegrated(effect.name, None, reason)
    candidate = merged.commit
    commands = await gate_commands(context)
    failures = await new_failures(context, candidate, commands, state, name=f"extra.{effect.name}")
    if failures:
        return ExtraIntegrated(effect.name, None, "; ".join(failure.outcome.describe() for failure in failures))
    work: JSONObject = {"task": "", "attempt": 0, "title": title, "role": role}
    refusal = await refusal_before_merge(context, candidate, effect.onto, effect.name, work)
    if refusal is not None:
        return ExtraIntegrated(effect.name, None, refusal)
    await _move_branch(context, candidate, effect.onto)
    return ExtraIntegrated(effect.name, candidate)


async def _move_branch(context: RunContext, new: CommitId, old: CommitId) -> None:
    if new != old and not await context.repo.update_branch(context.run_id, new, old):
        found = await context.repo.branch_tip(context.run_id)
        raise InternalError(f"the integration branch should be at {old} and is at {found}")
