"""A run's history for people and programs: each decision as named facts, such as `task.merged`.

These are the lines of `events.jsonl`, together with what agents report of their turns. Kinds are past tense, fields are
plain JSON; `codexteam/README.md` lists the kinds, and a test compares the two.
"""

from collections.abc import Iterator, Sequence

from codexteam.core.base_check import blocks, failed_words, what_to_do
from codexteam.core.budget_scope import resume_command
from codexteam.core.codec import encode
from codexteam.core.effects import EFFECTS, START_FACTS, Effect, Finish, Result
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTried,
    BaseCheck,
    BaseChecked,
    BudgetRefused,
    BudgetSpent,
    Clarified,
    Continued,
    Documented,
    Event,
    ExtraIntegrated,
    Forked,
    GateFinished,
    HiddenTestsWritten,
    IntegrationConflicted,
    LandingFailed,
    MergeRefused,
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
from codexteam.core.findings import Finding
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.state import FindingStatus, RunState, TaskPhase, TaskState, needed_budgets, status_of
from codexteam.core.steering_events import (
    FeedbackGiven,
    MessageLeft,
    PriorityRequested,
    RetryRequested,
    RunBudgetSet,
    TaskBudgetSet,
)
from codexteam.core.untested import why_untested

Fact = tuple[str, JSONObject]


#: Every kind that a decision can have: what happened, in the order of a run's life, and what starts.
KINDS = (
    "run.started",
    "run.forked",
    "run.prepared",
    "baseline.checked",
    "scouts.completed",
    "plan.created",
    "plan.failed",
    "plan.edited",
    "task.added",
    "task.started",
    "task.accepted",
    "task.attempt_failed",
    "tests.hidden",
    "task.tried",
    "task.chosen",
    "task.set_aside",
    "task.conflicted",
    "task.acceptance_failed",
    "task.refused",
    "task.asked",
    "task.clarified",
    "task.waiting",
    "task.merging",
    "task.merged",
    "task.failed",
    "task.blocked",
    "task.unblocked",
    "task.dropped",
    "task.retried",
    "task.prioritized",
    "gate.completed",
    "finding.opened",
    "finding.repeated",
    "finding.fixed",
    "finding.waived",
    "finding.noted",
    "extra.merged",
    "extra.refused",
    "documentation.completed",
    "release.completed",
    "branch.landed",
    "branch.failed",
    "person.answered",
    "person.withdrawn",
    "person.said",
    "feedback.taken",
    "budget.changed",
    "budget.spent",
    "run.stopping",
    "run.paused",
    "run.continued",
    *START_FACTS,
)


#: What agents, checks and the composition root report beside decisions.
REPORTED_KINDS = (
    "checkout.changed",
    "run.opened",
    "run.broken_off",
    "notice",
    "network.denied",
    "sandbox.chosen",
    "sandbox.progress",
    "environment.building",
    "environment.step",
    "environment.ready",
    "environment.failed",
    "environment.chosen",
    "agent.started",
    "agent.received",
    "agent.turn",
    "agent.unanswered",
    "agent.acted",
    "agent.tool_finished",
    "agent.stalled",
    "agent.waiting",
    "agent.told",
    "person.unread",
    "agent.compacted",
    "agent.finished",
    "policy.warned",
    "conflict.expected",
    "acceptance.checked",
    "tests.without_code",
    "gate.command",
    "command.running",
    "command.ended",
    "plan.unreadable",
    "replan.refused",
    "budget.warned",
    "forecast.made",
    "windows.read",
    "credits.read",
)


#: What a person's request itself is told as; what follows from it is nobody's.
_OF_PEOPLE = frozenset(
    {
        "plan.edited",
        "person.answered",
        "person.said",
        "task.added",
        "task.dropped",
        "task.retried",
        "task.prioritized",
        "finding.waived",
        "feedback.taken",
        "budget.changed",
        "run.paused",
        "run.continued",
        "run.stopping",
    }
)


def signed(told: Sequence[Fact], by: str) -> tuple[Fact, ...]:
    """Return what is told of a person's request, with their name; without one, as it is."""
    if not by:
        return tuple(told)
    return tuple((kind, {**fields, "by": by} if kind in _OF_PEOPLE else fields) for kind, fields in told)


def story(event: Event, before: RunState, after: RunState, effects: Sequence[Effect]) -> tuple[Fact, ...]:
    """Return what happened in one step, cause first."""
    return (
        *_cause(event, after),
        *_asked(event, after),
        *_withdrawn(event, before, after),
        *_sent_back(event, before, after),
        *_contests(before, after),
        *_tasks(before, after),
        *_findings(before, after),
        *_landing(before, after),
        *_begun(effects, after),
    )


def _cause(event: Event, after: RunState) -> Iterator[Fact]:  # noqa: C901, PLR0912, PLR0915 - one arm for each event
    match event:
        case RunStarted():
            yield "run.started", {}
        case RunPrepared(base, head):
            yield "run.prepared", {"base": base, **({"head": head} if head else {})}
        case BaseChecked():
            for check in event.checks:
                yield "baseline.checked", _base_check(event, check)
        case Scouted(problems, next_probes):
            yield "scouts.completed", {"problems": list(problems), "next_probes": list(next_probes)}
        case Planned(plan):
            yield (
                "plan.created",
                {
                    "tasks": len(plan.tasks),
                    "summary": plan.summary,
                    "questions": list(plan.questions),
                    "answer": plan.answer,
                    "plan_only": plan.plan_only,
                    "probes": list(plan.probes),
                    "changes": list(after.plan_changes) if plan.tasks else [],
                },
            )
        case PlanningFailed(reason):
            yield "plan.failed", {"reason": reason}
        case PlanEdited(plan=plan):
            yield "plan.edited", {"tasks": len(plan.tasks)}
        case AttemptSucceeded():
            accepted: JSONObject = {"task": event.task_id, "attempt": event.attempt, "commit": event.commit}
            yield "task.accepted", {**accepted, "summary": event.summary}
        case AttemptFailed():
            failed: JSONObject = {"task": event.task_id, "attempt": event.attempt, "reason": event.reason}
            yield "task.attempt_failed", {**failed, "final": event.final}
        case IntegrationConflicted() | AcceptanceFailed() | MergeRefused() if not event.number:
            yield _problem(event)
        case HiddenTestsWritten(task_id, number, tests):
            hidden: JSONObject = {"task": task_id, "contest": number, "commit": tests.commit}
            yield "tests.hidden", {**hidden, "command": tests.command, "note": tests.note}
        case AttemptTried(task_id, attempt, trial):
            seen: JSONObject = {"task": task_id, "attempt": attempt, "passed": trial.passed, "words": trial.words}
            counts: JSONObject = {"hidden_failed": trial.hidden_failed, "hits": trial.hits, "lines": trial.lines}
            yield "task.tried", {**seen, "failing": list(trial.failing), **counts}
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
                    "failing": [
                        {"command": one.command, "reason": one.reason, "as_before": one.as_before}
                        for one in event.failing
                    ],
                    "commands": [{"command": one.command, "ok": one.ok, "how": one.how} for one in event.commands],
                    "confidence": event.confidence,
                    "risks": list(event.risks),
                },
            )
        case ExtraIntegrated(name, commit, reason):
            kind = "extra.merged" if commit else "extra.refused"
            yield kind, {"name": name, "commit": commit, "reason": reason}
        case Documented(commit, note, failure):
            yield "documentation.completed", {"commit": commit, "note": note, "failure": failure}
        case Released(note, path):
            yield "release.completed", {"note": note, "path": path}
        case LandingFailed(reason):
            yield "branch.failed", {"reason": reason}
        case Answered(item, text, approved):
            yield "person.answered", {"item": item, "text": text, "approved": approved}
        case BudgetSpent(reason) | BudgetRefused(reason=reason):
            yield "budget.spent", {"reason": reason}
        case StopRequested(reason, exit_code):
            yield "run.stopping", {"reason": reason, "exit_code": exit_code}
        case PauseRequested():
            yield "run.paused", {}
        case Continued():
            yield "run.continued", {}
        case Forked(source, number, rewound):
            yield "run.forked", {"from": source, "from_event": number, "rewound": rewound}
        case _:
            return  # what became of a task says it


def _asked(event: Event, after: RunState) -> Iterator[Fact]:
    match event:
        case MessageLeft(to, text):
            yield "person.said", {"to": to, "text": text}
        case FeedbackGiven(place, findings):
            yield "feedback.taken", {"place": place, "findings": len(findings)}
        case RetryRequested(task_id):
            known = after.tasks[task_id]
            where: JSONObject = {
                "task": task_id,
                "attempt": known.attempt,
                "status": status_of(known.phase).name.lower(),
            }
            yield "task.retried", {**where, "model": known.model, "effort": known.model_effort}
        case PriorityRequested(task_id, priority):
            yield "task.prioritized", {"task": task_id, "priority": priority}
        case TaskBudgetSet(task_id, budget):
            yield "budget.changed", {"scope": f"task {task_id}", "budget": budget.words}
        case RunBudgetSet():
            yield "budget.changed", {"scope": "the run", "budget": event.words}
        case _:
            return  # a task that is added or dropped says it


def _withdrawn(event: Event, before: RunState, after: RunState) -> Iterator[Fact]:
    """Return the questions that nobody waits for an answer to any more, though nobody gave one."""
    if before.holds is after.holds:
        return
    answered = event.item if isinstance(event, Answered) else ""
    for item in before.holds:
        if item not in after.holds and item != answered:
            yield "person.withdrawn", {"item": item}


def _sent_back(event: Event, before: RunState, after: RunState) -> Iterator[Fact]:
    """Return why work left the merge train unmerged: now it is known to be its own fault."""
    staying = {candidate.task_id for candidate in after.train}
    for candidate in before.train:
        if candidate.task_id in staying:
            continue
        problem = candidate.problem
        if (
            isinstance(event, IntegrationConflicted | AcceptanceFailed | MergeRefused)
            and event.task_id == candidate.task_id
        ):
            problem = event
        if problem is not None:
            yield _problem(problem)


def _contests(before: RunState, after: RunState) -> Iterator[Fact]:
    """Return which of several attempts was taken, and that the others are kept and not merged."""
    for task_id in before.contested:
        known = after.tasks[task_id]
        contest = known.contest
        if contest is None or contest.chosen is None:
            continue
        several: list[JSONValue] = [each.attempt for each in contest.contenders if each.attempt]
        chosen: JSONObject = {"task": task_id, "attempt": contest.winner, "by": contest.chosen.value}
        yield "task.chosen", {**chosen, "why": contest.why, "attempts": several, "words": contest.words}
        for each in contest.contenders:
            if each.attempt and each.attempt != contest.winner:
                reason = each.reason or (each.trial.words if each.trial else "")
                yield "task.set_aside", {"task": task_id, "attempt": each.attempt, "reason": reason}


def _problem(event: IntegrationConflicted | AcceptanceFailed | MergeRefused) -> Fact:
    fields: JSONObject = {"task": event.task_id, "attempt": event.attempt}
    match event:
        case IntegrationConflicted(paths=paths):
            return "task.conflicted", {**fields, "paths": list(paths)}
        case AcceptanceFailed(evidence=evidence):
            return "task.acceptance_failed", {**fields, "evidence": evidence}
        case MergeRefused(reason=reason):
            return "task.refused", {**fields, "reason": reason}


def _base_check(event: BaseChecked, check: BaseCheck) -> JSONObject:
    return {
        "command": check.command,
        "commit": event.commit,
        "exit_code": check.exit_code,
        "ending": check.ending.value,
        "reason": check.reason,
        "tests": check.executed,
        "failed": check.failed,
        "failing": list(check.failing),
        "gate": check.gate,
        "later": check.later,
        "blocks": blocks(check),
        "words": failed_words(check),
        "to_do": what_to_do(check) if blocks(check) else "",
        "output": check.output,
        "made_from": event.made_from,
    }


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
                    "untested": why_untested(task),
                },
            )
            was = TaskState(task)
        if now.open_contest is not None:
            yield from _contenders_begun(was, now)
        elif was is not now and (was.phase is not now.phase or was.attempt != now.attempt):
            yield from _moved(was, now)


def _moved(was: TaskState, now: TaskState) -> Iterator[Fact]:
    fields: JSONObject = {"task": now.task.id, "attempt": now.attempt, "status": status_of(now.phase).name.lower()}
    match now.phase:
        case TaskPhase.WORKING:
            yield "task.started", {**fields, **_started(now)}
        case TaskPhase.INTEGRATING:
            yield "task.merging", {**fields, "commit": now.commit}
        case TaskPhase.MERGED:
            yield "task.merged", {**fields, "title": now.task.title, "changed": not now.unchanged}
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


def _started(known: TaskState) -> JSONObject:
    several = len(known.open_contest.contenders) if known.open_contest is not None else 1
    return {"purpose": known.kind.value, "title": known.task.title, "role": known.task.role, "of": several}


def _contenders_begun(was: TaskState, now: TaskState) -> Iterator[Fact]:
    """Return which of several attempts began: there may be more than one in a step."""
    before = {each.attempt for each in was.contest.contenders} if was.contest is not None else set()
    for each in now.contest.contenders if now.contest is not None else ():
        if each.attempt and each.attempt not in before:
            fields: JSONObject = {"task": now.task.id, "attempt": each.attempt}
            yield "task.started", {**fields, "status": status_of(now.phase).name.lower(), **_started(now)}


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
        names: list[JSONValue] = [*after.landed_repositories]
        fields: JSONObject = {"ref": after.landed_ref, "commit": after.landed}
        yield "branch.landed", {**fields, "repositories": names} if names else fields


def _begun(effects: Sequence[Effect], after: RunState) -> Iterator[Fact]:
    for effect in effects:
        known = EFFECTS[type(effect)]
        if not known.tells:
            continue  # what starts for a task is reported by the task
        fields: JSONObject = {name.removesuffix("_id"): _shown(getattr(effect, name)) for name in known.fields}
        needed = needed_budgets(after) if isinstance(effect, Finish) and effect.result is Result.LIMIT else ()
        yield known.tells, {**fields, "next": resume_command(needed)} if needed else fields


def _shown(value: object) -> JSONValue:
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return str(value.id) if isinstance(value, Finding) else encode(value)
