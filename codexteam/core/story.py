"""A run's history for people and programs: each decision as named facts, such as `task.merged`.

These are the lines of `events.jsonl`, together with what agents report of their turns. Kinds are past tense, fields are
plain JSON; `codexteam/README.md` lists the kinds, and a test compares the two.
"""

from collections.abc import Iterator, Sequence

from codexteam.core.codec import encode
from codexteam.core.draft import status_of
from codexteam.core.effects import AskPerson, Document, Effect, Finish, Land, Release, Replan, RunGate
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BudgetSpent,
    Clarified,
    Continued,
    Documented,
    Event,
    ExtraIntegrated,
    GateFinished,
    IntegrationConflicted,
    LandingFailed,
    PauseRequested,
    PlanEdited,
    Planned,
    PlanningFailed,
    Released,
    RunPrepared,
    RunStarted,
    Scouted,
    StopRequested,
)
from codexteam.core.json_types import JSONObject
from codexteam.core.state import FindingStatus, RunState, TaskPhase, TaskState

Fact = tuple[str, JSONObject]


def numbered_story(
    number: int, event: Event, before: RunState, after: RunState, effects: Sequence[Effect]
) -> Iterator[Fact]:
    """Give an event's facts with its number in the store, by which it is known what was told when a sitting died."""
    for kind, fields in story(event, before, after, effects):
        yield kind, {**fields, "event": number}


#: Every kind that a decision can have, in the order of a run's life.
KINDS = (
    "run.started",
    "run.prepared",
    "scouts.completed",
    "plan.created",
    "plan.failed",
    "plan.edited",
    "task.added",
    "task.started",
    "task.accepted",
    "task.attempt_failed",
    "task.conflicted",
    "task.acceptance_failed",
    "task.asked",
    "task.clarified",
    "task.waiting",
    "task.merging",
    "task.merged",
    "task.failed",
    "task.blocked",
    "task.unblocked",
    "task.dropped",
    "gate.started",
    "gate.completed",
    "finding.opened",
    "finding.repeated",
    "finding.fixed",
    "finding.waived",
    "finding.noted",
    "replan.started",
    "extra.merged",
    "extra.refused",
    "documentation.started",
    "documentation.completed",
    "release.started",
    "release.completed",
    "branch.landing",
    "branch.landed",
    "branch.failed",
    "person.asked",
    "person.answered",
    "budget.spent",
    "run.stopping",
    "run.paused",
    "run.continued",
    "run.finished",
)


#: What is told beside decisions, by agents, checks and the composition root.
REPORTED_KINDS = (
    "run.opened",
    "notice",
    "network.denied",
    "sandbox.chosen",
    "sandbox.progress",
    "agent.started",
    "agent.received",
    "agent.turn",
    "agent.unanswered",
    "agent.acted",
    "agent.waiting",
    "agent.told",
    "agent.compacted",
    "agent.finished",
    "policy.warned",
    "conflict.expected",
    "acceptance.checked",
    "baseline.checked",
    "gate.command",
    "plan.unreadable",
    "replan.refused",
    "budget.warned",
)


def story(event: Event, before: RunState, after: RunState, effects: Sequence[Effect]) -> tuple[Fact, ...]:
    """Give what happened in one step, cause first."""
    return (
        *_cause(event),
        *_tasks(before, after),
        *_findings(before, after),
        *_landing(before, after),
        *_begun(effects),
    )


def _cause(event: Event) -> Iterator[Fact]:  # noqa: C901, PLR0912 - one arm for each event
    match event:
        case RunStarted():
            yield "run.started", {}
        case RunPrepared(base):
            yield "run.prepared", {"base": base}
        case Scouted(problems):
            yield "scouts.completed", {"problems": list(problems)}
        case Planned(plan):
            yield "plan.created", {"tasks": len(plan.tasks), "summary": plan.summary, "questions": list(plan.questions)}
        case PlanningFailed(reason):
            yield "plan.failed", {"reason": reason}
        case PlanEdited(plan):
            yield "plan.edited", {"tasks": len(plan.tasks)}
        case AttemptSucceeded():
            accepted: JSONObject = {"task": event.task_id, "attempt": event.attempt, "commit": event.commit}
            yield "task.accepted", {**accepted, "summary": event.summary}
        case AttemptFailed():
            failed: JSONObject = {"task": event.task_id, "attempt": event.attempt, "reason": event.reason}
            yield "task.attempt_failed", {**failed, "final": event.final}
        case IntegrationConflicted():
            yield "task.conflicted", {"task": event.task_id, "attempt": event.attempt, "paths": list(event.paths)}
        case AcceptanceFailed():
            yield (
                "task.acceptance_failed",
                {"task": event.task_id, "attempt": event.attempt, "evidence": event.evidence},
            )
        case AttemptAsked():
            yield "task.asked", {"task": event.task_id, "attempt": event.attempt, "question": event.question}
        case Clarified():
            fields: JSONObject = {"task": event.task_id, "attempt": event.attempt, "answer": event.answer}
            yield "task.clarified", {**fields, "ask_user": event.ask_user}
        case GateFinished():
            yield (
                "gate.completed",
                {
                    "gate": event.gate.value,
                    "round": event.round,
                    "commit": event.commit,
                    "verdict": event.verdict.value,
                    "findings": len(event.findings),
                    "note": event.note,
                },
            )
        case ExtraIntegrated(name, commit, reason):
            kind = "extra.merged" if commit else "extra.refused"
            yield kind, {"name": name, "commit": commit, "reason": reason}
        case Documented(commit, note):
            yield "documentation.completed", {"commit": commit, "note": note}
        case Released(note):
            yield "release.completed", {"note": note}
        case LandingFailed(reason):
            yield "branch.failed", {"reason": reason}
        case Answered(item, text, approved):
            yield "person.answered", {"item": item, "text": text, "approved": approved}
        case BudgetSpent(reason):
            yield "budget.spent", {"reason": reason}
        case StopRequested(reason, exit_code):
            yield "run.stopping", {"reason": reason, "exit_code": exit_code}
        case PauseRequested():
            yield "run.paused", {}
        case Continued():
            yield "run.continued", {}
        case _:
            return  # what became of a task says it


def _tasks(before: RunState, after: RunState) -> Iterator[Fact]:
    for task_id, now in after.tasks.items():
        was = before.tasks.get(task_id)
        if was is None:
            task = now.task
            yield (
                "task.added",
                {
                    "task": task_id,
                    "title": task.title,
                    "role": task.role,
                    "deps": list(task.deps),
                    "paths": list(task.paths),
                    "effort": task.effort,
                    "fixes": [str(fixed) for fixed in task.fixes],
                },
            )
            was = TaskState(task)
        if was is not now and (was.phase is not now.phase or was.attempt != now.attempt):
            yield from _moved(was, now)


def _moved(was: TaskState, now: TaskState) -> Iterator[Fact]:
    fields: JSONObject = {"task": now.task.id, "attempt": now.attempt, "status": status_of(now.phase).name.lower()}
    match now.phase:
        case TaskPhase.WORKING:
            yield "task.started", {**fields, "purpose": now.kind.value, "title": now.task.title, "role": now.task.role}
        case TaskPhase.INTEGRATING:
            yield "task.merging", {**fields, "commit": now.commit}
        case TaskPhase.MERGED:
            yield "task.merged", {**fields, "title": now.task.title}
        case TaskPhase.ON_HOLD:
            yield "task.waiting", {**fields, "reason": now.reason}
        case TaskPhase.FAILED:
            yield "task.failed", {**fields, "reason": now.reason}
        case TaskPhase.BLOCKED:
            yield "task.blocked", {**fields, "reason": now.reason}
        case TaskPhase.DROPPED:
            yield "task.dropped", {**fields, "reason": now.reason}
        case TaskPhase.PENDING if was.phase in {TaskPhase.BLOCKED, TaskPhase.FAILED}:
            yield "task.unblocked", fields
        case TaskPhase.PENDING | TaskPhase.QUEUED | TaskPhase.ASKING:
            return  # the event itself has said it


def _findings(before: RunState, after: RunState) -> Iterator[Fact]:
    if before.findings is after.findings:
        return
    for finding_id, now in after.findings.items():
        was = before.findings.get(finding_id)
        if was == now:
            continue
        finding = encode(now.finding)
        fields: JSONObject = {
            "finding": finding_id,
            "times": now.times,
            **(finding if isinstance(finding, dict) else {}),
        }
        fields.pop("type", None)
        match now.status:
            case FindingStatus.OPEN:
                yield "finding.opened" if was is None else "finding.repeated", fields
            case FindingStatus.FIXED:
                yield "finding.fixed", fields
            case FindingStatus.WAIVED:
                yield "finding.waived", fields
            case FindingStatus.LATER:
                yield "finding.noted", fields


def _landing(before: RunState, after: RunState) -> Iterator[Fact]:
    if after.landed != before.landed:
        yield "branch.landed", {"ref": after.landed_ref, "commit": after.landed}


def _begun(effects: Sequence[Effect]) -> Iterator[Fact]:
    for effect in effects:
        match effect:
            case RunGate():
                yield "gate.started", {"gate": effect.gate.value, "round": effect.round, "commit": effect.commit}
            case Replan():
                ids: JSONObject = {"findings": [str(finding.id) for finding in effect.findings]}
                yield "replan.started", {"round": effect.round, **ids}
            case Document(commit):
                yield "documentation.started", {"commit": commit}
            case Release(commit):
                yield "release.started", {"commit": commit}
            case Land(commit):
                yield "branch.landing", {"commit": commit}
            case AskPerson(item, question, task_id):
                yield "person.asked", {"item": item, "question": question, "task": task_id}
            case Finish(result, reason, exit_code):
                yield "run.finished", {"result": result.value, "reason": reason, "exit_code": exit_code}
            case _:
                continue  # what starts for a task is told by the task
