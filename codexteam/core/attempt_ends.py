"""What becomes of a task whose attempt ended without being merged: it is tried again, or it failed."""

from collections.abc import Iterable
from dataclasses import replace

from codexteam.core.effects import AttemptKind, JudgeAttempts, TryAttempt, Work, WriteHiddenTests
from codexteam.core.events import (
    AcceptanceFailed,
    AttemptFailed,
    AttemptSucceeded,
    BranchMoved,
    Integrated,
    IntegrationConflicted,
    MergeRefused,
)
from codexteam.core.ids import TaskId
from codexteam.core.state import TaskPhase, TaskState
from codexteam.core.transition import Transition

#: Attempts of one task in all, questions and conflicts included, as a multiple of the allowed failures.
_ATTEMPTS_IN_ALL = 5

#: What is kept of the evidence of all attempts; the newest is at the end and matters most.
_EVIDENCE_CHARS = 24_000


def end_attempt(transition: Transition, task_id: TaskId) -> None:
    """Want no answer any more from who works on a task, or answers its question; what was written stays."""
    known = transition.tasks[task_id]
    if known.open_contest is not None:
        let_contest_go(transition, task_id)
        transition.tasks[task_id] = replace(known, contest=None)  # the task may have another one
        return
    kind = "work" if known.phase is TaskPhase.WORKING else "clarify"
    key = f"{kind}.{task_id}.{known.attempt}"
    if key in transition.state.shelved:  # it waits for budget
        transition.drop_shelved(key)
    else:
        transition.let_go(key)


def let_contest_go(transition: Transition, task_id: TaskId) -> None:
    """Want nothing more of several attempts at a task."""
    transition.set(contested=tuple(each for each in transition.state.contested if each != task_id))
    for key, effect in list(transition.in_flight.items()):
        ours = isinstance(effect, Work | WriteHiddenTests | TryAttempt | JudgeAttempts) and effect.task_id == task_id
        if ours:
            transition.let_go(key)


def take_work(transition: Transition, event: AttemptSucceeded) -> None:
    """Let work that an attempt handed in wait to be merged."""
    transition.move(event.task_id, TaskPhase.QUEUED, event, commit=event.commit, summary=event.summary, ask=event.ask)
    state = transition.state
    transition.set(
        merge_queue=(*state.merge_queue, event.task_id),
        later=with_new(state.later, event.later),
        risks=with_new(state.risks, event.risks),
    )


def with_new(known: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines with those of `new` behind them that are not there."""
    return (*known, *(line for line in dict.fromkeys(new) if line not in known))


def retry_or_fail(
    transition: Transition,
    known: TaskState,
    event: AttemptFailed | AcceptanceFailed | MergeRefused | IntegrationConflicted,
    reason: str,
    evidence: str,
    *,
    final: bool = False,
) -> None:
    """Let a task be tried again, with what this attempt leaves; or let it fail, where its tries are used up."""
    conflicted = isinstance(event, IntegrationConflicted)
    elsewhere = (
        isinstance(event, AttemptFailed) and event.unserved and known.unserved < transition.state.rules.fallbacks
    )
    failures = known.failures + (not conflicted and not elsewhere)
    resolves = known.resolves + conflicted
    rules = transition.state.rules
    spent = (
        (final and not elsewhere)
        or failures >= rules.max_attempts
        or resolves > rules.max_resolves
        or known.attempt >= rules.max_attempts * _ATTEMPTS_IN_ALL
    )
    transition.move(
        known.task.id,
        TaskPhase.FAILED if spent else TaskPhase.PENDING,
        event,
        failures=failures,
        resolves=resolves,
        unserved=known.unserved + elsewhere,
        kind=AttemptKind.RESOLVE if conflicted else AttemptKind.IMPLEMENT,
        restore_attempt=known.attempt,
        reason=reason,
        evidence=add_evidence(known, reason, evidence),
    )


def sent_back(transition: Transition, problem: AcceptanceFailed | MergeRefused | IntegrationConflicted) -> None:
    """Give work that cannot be merged back to its task."""
    known = transition.tasks[problem.task_id]
    match problem:
        case IntegrationConflicted(paths=paths, messages=messages):
            reason = "its work conflicts with what was merged meanwhile: " + ", ".join(paths)
            retry_or_fail(transition, known, problem, reason, messages)
        case AcceptanceFailed(evidence=evidence):
            reason = "its acceptance commands failed on the merged tree"
            retry_or_fail(transition, known, problem, reason, evidence)
        case MergeRefused(reason=words):
            retry_or_fail(transition, known, problem, "a PreMerge hook refused its merge", words)


def add_evidence(known: TaskState, reason: str, evidence: str) -> str:
    """Return what the next attempt gets to read, bounded."""
    added = f"Attempt {known.attempt}: {reason}\n{evidence}".strip()
    return f"{known.evidence}\n\n{added}".strip()[-_EVIDENCE_CHARS:]


def said_words(texts: Iterable[str]) -> str:
    """Return what people said to who works on a task as a prompt has it."""
    return "\n\n".join(f"The user says: {text}" for text in texts)


def still_open(transition: Transition, known: TaskState) -> list[str]:
    """Return the findings that a task is to fix and that are open."""
    if transition.state.rules.decisions < 2:
        return []
    open_ids = {open_one.finding.id for open_one in transition.open_findings()}
    return [str(finding_id) for finding_id in known.task.fixes if finding_id in open_ids]


def fixed_nothing(
    transition: Transition,
    known: TaskState,
    event: AttemptSucceeded | BranchMoved | Integrated,
    left: list[str],
    summary: str,
) -> None:
    """End a fix that changed nothing: it is not merged, and closes no finding. A person may waive what it was for."""
    reason = f"it changed nothing, so {', '.join(left)} {'is' if len(left) == 1 else 'are'} still open"
    evidence = add_evidence(known, reason, f"It said: {summary}" if summary else "")
    transition.move(known.task.id, TaskPhase.FAILED, event, reason=reason, evidence=evidence, summary=summary)
