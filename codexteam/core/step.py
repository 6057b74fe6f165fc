"""The one function that decides: `step(state, event) -> (state, effects)`.

Rules of this module. Nothing else changes a run's state. An event that the state does not allow raises and changes
nothing. The same events give the same states and effects: no set is iterated where order shows.
"""

from dataclasses import replace

from codexteam.core.dispatch import after_round, dispatch, replan
from codexteam.core.draft import Draft
from codexteam.core.effects import AttemptKind, Clarify, Effect, Finish, Result
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
    Integrated,
    IntegrationConflicted,
    Landed,
    LandingFailed,
    PauseRequested,
    PlanEdited,
    Planned,
    PlanningFailed,
    Released,
    Replanned,
    RunPrepared,
    RunStarted,
    Scouted,
    StopRequested,
    Verdict,
)
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.new_rules import take_rules
from codexteam.core.people import answer, ask_again, edit_plan
from codexteam.core.plan import Plan, TaskStatus
from codexteam.core.replanning import complete_replan
from codexteam.core.state import GateRecord, RunPhase, RunState, TaskPhase, TaskState
from codexteam.core.text import count_of
from codexteam.errors import InvalidTransitionError

#: Attempts of one task in all, questions and conflicts included, as a multiple of the allowed failures.
_ATTEMPTS_IN_ALL = 5

#: What is kept of the evidence of all attempts; the newest is at the end and matters most.
_EVIDENCE_CHARS = 24_000


def step(state: RunState, event: Event) -> tuple[RunState, tuple[Effect, ...]]:
    """Take in what happened; give the state after it and what to do.

    Raises:
        InvalidTransitionError: the state does not allow this event; it is unchanged.
        PlanError: a plan in the event does not hold together; the state is unchanged.
    """
    draft = Draft.open(state)
    _take_in(draft, event)
    dispatch(draft)
    return draft.close()


def _take_in(draft: Draft, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm for each event, no logic
    match event:
        case RunStarted():
            _run_started(draft)
        case RunPrepared():
            _run_prepared(draft, event)
        case Scouted():
            draft.take_back("scout", event)
            draft.set(phase=_after_scouting(draft))
        case Planned():
            _planned(draft, event)
        case PlanningFailed():
            _planning_failed(draft, event)
        case PlanEdited():
            edit_plan(draft, event.plan)
        case AttemptSucceeded():
            _attempt_succeeded(draft, event)
        case AttemptFailed():
            _attempt_failed(draft, event)
        case AttemptAsked():
            _attempt_asked(draft, event)
        case Clarified():
            _clarified(draft, event)
        case Integrated():
            _integrated(draft, event)
        case IntegrationConflicted():
            _conflicted(draft, event)
        case AcceptanceFailed():
            _acceptance_failed(draft, event)
        case GateFinished():
            _gate_finished(draft, event)
        case Replanned():
            draft.take_back(f"replan.{event.round}", event)
            complete_replan(draft, event.plan)
        case ExtraIntegrated():
            draft.take_back(f"integrate.{event.name}", event)
            if event.commit is not None:
                draft.merged(event.name, event.commit)
        case Documented():
            _documented(draft, event)
        case Released():
            draft.take_back("release", event)
            draft.set(released=True, phase=RunPhase.WORKING)
        case Landed():
            _landed(draft, event)
        case LandingFailed():
            _landing_failed(draft, event)
        case Answered():
            answer(draft, event)
        case BudgetSpent():
            draft.wind_down(Result.LIMIT, event.reason)
        case StopRequested():
            draft.wind_down(Result.INTERRUPTED, event.reason, event.exit_code)
        case PauseRequested():
            draft.set(paused=True)
        case Continued():
            _continued(draft, event)


def _run_started(draft: Draft) -> None:
    if draft.state.phase is not RunPhase.NEW:
        raise InvalidTransitionError(f"RunStarted: the run is {draft.state.phase} already")
    draft.set(phase=RunPhase.PREPARING, round_limit=draft.state.rules.max_rounds)


def _run_prepared(draft: Draft, event: RunPrepared) -> None:
    draft.take_back("prepare", event)
    draft.set(base=event.base, tip=event.base)
    draft.set(phase=RunPhase.SCOUTING if draft.state.rules.scout else _after_scouting(draft))


def _after_scouting(draft: Draft) -> RunPhase:
    # a plan that was given is worked on as it is
    return RunPhase.WORKING if draft.tasks else RunPhase.PLANNING


def _planned(draft: Draft, event: Planned) -> None:
    if draft.state.phase is RunPhase.NEW:  # the user's plan.md, before the run starts
        take_plan(draft, event.plan)
        return
    number = draft.state.plan_attempts + 1
    draft.take_back(f"plan.{number}", event)
    draft.set(plan_attempts=number)
    if event.plan.questions:
        draft.set(phase=RunPhase.APPROVING)
        draft.ask("plan-questions", "\n".join(event.plan.questions))
        return
    take_plan(draft, event.plan)
    if "plan" in draft.state.rules.approve:
        draft.set(phase=RunPhase.APPROVING)
        draft.ask("plan", f"Work on this plan of {count_of(len(event.plan.tasks), 'task')}?")
    else:
        draft.set(phase=RunPhase.WORKING)


def take_plan(draft: Draft, plan: Plan) -> None:
    """Make a plan's tasks the run's."""
    for task_id, known in list(draft.tasks.items()):  # a plan that a person sent back
        if known.phase in {TaskPhase.PENDING, TaskPhase.BLOCKED} and task_id not in {task.id for task in plan.tasks}:
            draft.drop(task_id, "not in the new plan")
    draft.set_tasks(plan.tasks)
    for task in plan.tasks:
        if task.status is TaskStatus.DROPPED:
            draft.drop(task.id, "marked [-] in the plan")
    draft.set(summary=plan.summary, later=plan.later, risks=plan.risks)


def _planning_failed(draft: Draft, event: PlanningFailed) -> None:
    state = draft.state
    number = state.plan_attempts + 1
    draft.take_back(f"plan.{number}", event)
    if state.stop is not None:
        return  # it ended because the run did: at resume the same agent goes on, with what it was told
    draft.set(plan_attempts=number, plan_feedback=_add_reason(state.plan_feedback, event.reason))
    if number % draft.state.rules.plan_attempts == 0:  # a run that goes on after this gets as many again
        draft.wind_down(Result.NOT_GREEN, f"no plan: {event.reason}")


def _add_reason(feedback: str, reason: str) -> str:
    """Add why a plan did not hold to what its next planner is told: the one before may have been told what a user says."""
    return feedback if reason in feedback else f"{feedback}\n\n{reason}".strip()


def _attempt_succeeded(draft: Draft, event: AttemptSucceeded) -> None:
    draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"work.{event.task_id}.{event.attempt}", event)
    draft.move(event.task_id, TaskPhase.QUEUED, event, commit=event.commit, summary=event.summary, ask=event.ask)
    state = draft.state
    draft.set(
        merge_queue=(*state.merge_queue, event.task_id),
        later=_with_new(state.later, event.later),
        risks=_with_new(state.risks, event.risks),
    )


def _with_new(known: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return (*known, *(line for line in dict.fromkeys(new) if line not in known))


def _attempt_failed(draft: Draft, event: AttemptFailed) -> None:
    known = draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"work.{event.task_id}.{event.attempt}", event)
    if draft.state.stop is not None and not event.final:
        # it ended because the run did: that is not its failure, and its work goes on at resume
        draft.move(event.task_id, TaskPhase.PENDING, event, restore_attempt=event.attempt, reason=event.reason)
        return
    _retry_or_fail(draft, known, event, event.reason, event.evidence, final=event.final)


def _retry_or_fail(
    draft: Draft,
    known: TaskState,
    event: AttemptFailed | AcceptanceFailed | IntegrationConflicted,
    reason: str,
    evidence: str,
    *,
    final: bool = False,
) -> None:
    conflicted = isinstance(event, IntegrationConflicted)
    failures = known.failures + (not conflicted)
    resolves = known.resolves + conflicted
    rules = draft.state.rules
    spent = (
        final
        or failures >= rules.max_attempts
        or resolves > rules.max_resolves
        or known.attempt >= rules.max_attempts * _ATTEMPTS_IN_ALL
    )
    draft.move(
        known.task.id,
        TaskPhase.FAILED if spent else TaskPhase.PENDING,
        event,
        failures=failures,
        resolves=resolves,
        kind=AttemptKind.RESOLVE if conflicted else AttemptKind.IMPLEMENT,
        restore_attempt=known.attempt,
        reason=reason,
        evidence=_add_evidence(known, reason, evidence),
    )


def _add_evidence(known: TaskState, reason: str, evidence: str) -> str:
    added = f"Attempt {known.attempt}: {reason}\n{evidence}".strip()
    return f"{known.evidence}\n\n{added}".strip()[-_EVIDENCE_CHARS:]


def _attempt_asked(draft: Draft, event: AttemptAsked) -> None:
    draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"work.{event.task_id}.{event.attempt}", event)
    draft.move(event.task_id, TaskPhase.ASKING, event, reason=event.question)
    draft.hand_out(Clarify(event.task_id, event.attempt, event.question))


def _clarified(draft: Draft, event: Clarified) -> None:
    known = draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"clarify.{event.task_id}.{event.attempt}", event)
    if event.ask_user:
        draft.move(event.task_id, TaskPhase.ON_HOLD, event)
        draft.ask(f"question.{event.task_id}.{event.attempt}", known.reason, event.task_id)
    else:
        evidence = _add_evidence(known, f"asked: {known.reason}", f"The answer: {event.answer}")
        draft.move(event.task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=event.attempt, reason="")


def _integrated(draft: Draft, event: Integrated) -> None:
    draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"integrate.{event.task_id}.{event.attempt}", event)
    draft.move(event.task_id, TaskPhase.MERGED, event, reason="")
    draft.merged(event.task_id, event.commit)


def _conflicted(draft: Draft, event: IntegrationConflicted) -> None:
    known = draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"integrate.{event.task_id}.{event.attempt}", event)
    reason = "its work conflicts with what was merged meanwhile: " + ", ".join(event.paths)
    _retry_or_fail(draft, known, event, reason, event.messages)


def _acceptance_failed(draft: Draft, event: AcceptanceFailed) -> None:
    known = draft.current(event.task_id, event.attempt, event)
    draft.take_back(f"integrate.{event.task_id}.{event.attempt}", event)
    _retry_or_fail(draft, known, event, "its acceptance commands failed on the merged tree", event.evidence)


def _gate_finished(draft: Draft, event: GateFinished) -> None:
    draft.take_back(f"gate.{event.round}.{event.gate.value}", event)
    judging = draft.state.judging
    if judging is None or event.gate not in judging.waiting or event.commit != judging.commit:
        raise InvalidTransitionError(f"GateFinished: {event.gate} judged {event.commit}, which no round waits for")
    findings = list(event.findings)
    blocks = event.verdict is Verdict.BLOCK
    if blocks and not any(finding.severity is Severity.MUST_FIX for finding in findings):
        detail = event.note or "It blocks and names nothing that must be fixed."
        title = f"{event.gate.value} blocks without naming what must be fixed"
        findings.append(Finding(title, detail, Severity.MUST_FIX, Category.CORRECTNESS, gate=event.gate))
    for finding in findings:
        blocking = finding.severity is Severity.MUST_FIX
        known = draft.add_finding(replace(finding, gate=event.gate), blocking=blocking, round_number=event.round)
        if not blocking:
            place = f" ({finding.file})" if finding.file else ""
            draft.set(later=_with_new(draft.state.later, (f"{known.finding.title}{place}",)))
    before = draft.state.gates.get(event.gate)
    silent = event.verdict is Verdict.UNANSWERED
    unanswered = (before.unanswered if before else 0) + 1 if silent else 0
    judged = (before.judged if before else None) if silent else event.commit
    record = GateRecord(event.commit, event.verdict, unanswered, judged)
    waiting = judging.waiting - {event.gate}
    draft.set(gates={**draft.state.gates, event.gate: record}, judging=replace(judging, waiting=waiting))
    if event.tests_commit is not None:
        draft.set(extras=(*draft.state.extras, (f"qa.{event.round}", event.tests_commit)))
    if not waiting:
        after_round(draft)


def _documented(draft: Draft, event: Documented) -> None:
    draft.take_back("document", event)
    draft.set(documented=True, phase=RunPhase.WORKING)
    if event.commit is not None:
        draft.set(extras=(*draft.state.extras, ("documentation", event.commit)))


def _landed(draft: Draft, event: Landed) -> None:
    draft.take_back(f"land.{event.commit}", event)
    draft.set(landed=event.commit, landed_ref=event.ref)
    if draft.state.phase is RunPhase.LANDING and draft.state.stop is None:
        draft.set(phase=RunPhase.FINISHED)
        draft.finish(Result.GREEN, "every gate passed on the commit that the branch points to")


def _landing_failed(draft: Draft, event: LandingFailed) -> None:
    draft.take_back(f"land.{draft.state.tip}", event)
    draft.set(stop=None)
    draft.wind_down(Result.LANDING_FAILED, event.reason)


def _continued(draft: Draft, event: Continued) -> None:
    """Take a run up again: what is in flight is handed out again, what a limit stopped is tried again."""
    state = draft.state
    if state.result is Result.GREEN:
        draft.effects.append(Finish(Result.GREEN, state.result_reason, Result.GREEN.exit_code))
        return
    retry = state.result in {Result.NOT_GREEN, Result.LIMIT}
    draft.set(stop=None, paused=False, result=None, result_reason="")
    if event.rules is not None:
        take_rules(draft, event.rules)
    draft.effects.extend(effect for effect in draft.in_flight.values() if effect not in draft.effects)
    draft.plan_changed = True
    ask_again(draft)
    if retry:
        draft.set(gates={gate: replace(record, unanswered=0) for gate, record in state.gates.items()})
        for task_id, known in list(draft.tasks.items()):
            if known.phase is TaskPhase.FAILED:
                draft.retry(task_id)
        if draft.open_findings() and draft.state.judging is None:
            replan(draft)
