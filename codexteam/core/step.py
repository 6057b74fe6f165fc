"""The one function that decides: `step(state, event) -> (state, effects)`.

How it works
------------
An event says what happened, an effect what to do. `step` opens a working copy of the state (`core.transition`), takes the
event in (this module; `core.approvals` and `core.steering` for what people decide), lets `core.dispatch` start all that may
start now, and closes the copy into a new frozen state. The driver (`run.loop`) stores the event before it performs an effect.

An effect that answers with an event is in flight until then, under its key (`work.T3.2`, `gate.4.reviewer`). An event
that answers nothing in flight is refused. At resume (`Continued`) all that is in flight is handed out again: that is why
every effect has to be safe to repeat, and why nothing else needs to be remembered about work in flight.

The run
-------
    new -> preparing -> [scouting] -> planning -> [approving] -> working -> [documenting] -> [releasing] -> landing -> finished

What is in brackets may be switched off or skipped. `working` comes again after documentation, notes, and every plan edit
that adds work. With a plan that the user gave, planning is skipped. `state.TASK_TRANSITIONS` is the table of a
task's moves; a move that is not in it raises.

From a task's work to a verdict, as one story
---------------------------------------------
1. *Attempt.* A ready task (its dependencies are merged, a thread is free, nobody writes where it writes) is given to an
   agent as attempt n. Work that was accepted in its sandbox joins the merge queue; a failure or a question brings a next
   attempt, which starts from the work of the one before. A hard task may have several at once (`core.best_of`), of
   which one goes on.
2. *Merge.* Work joins the merge train (`core.merge_train`): each is merged onto the one ahead of it, their acceptance
   commands run at the same time, and the tip moves in order as they pass. A conflict brings a `resolve` attempt, a red
   acceptance command an ordinary one; only the second counts as a failure. Work of no task (QA's tests, documentation) is
   an *extra* and merged when the train is empty.
3. *Batch.* What was merged since the last round began is the batch. A *round* of gates begins when the batch has
   `batch_size` merges, or when nothing is in flight that will still change the branch. A merge that changed no file asks for
   none: verdicts hold of a tree, so those on the tip before hold of the tip after. A fix is the exception.
4. *Round, judging.* All gates that gave no verdict on this very tree judge it at the same time (`state.judging`). Tasks
   continue meanwhile, except those that depend on what is being judged, and merges continue too: they belong to the next batch.
5. *Findings.* A must_fix finding is open, everything else is listed under Later. A finding that comes again is
   known by its fingerprint. When the last gate of a round has answered, open findings that their
   own gate was asked about and did not repeat are fixed; a security finding also needs a merged fix. A gate that blocks
   and names nothing gets a finding made for it, so that there is something to fix.
6. *Weights, convergence.* The weighted sum of open findings after each round is appended to `weights`. A person is asked
   (`rounds.N`) when a finding was seen in three rounds, when the weights did not fall over two rounds, or when
   `round_limit` is reached. Saying to continue allows `max_rounds` more and starts both counts anew. Otherwise the
   orchestrator turns what no living task fixes into tasks (`Replan`); what it leaves out becomes a task all the same.
7. *Green.* All tasks are over, none failed or blocked, no finding is open, every gate's verdict is on the tip's tree,
   nothing is held, shelved or in flight: then documentation, notes, and the landing of one ref. Whatever these merge is
   judged again.

What waits, and for whom
------------------------
- A *hold* waits for a person. It stops what it is about and nothing else: the run continues until only holds are left, and
  then the session ends as `waiting`.
- A *shelved* effect waits for budget: its agent's next call was refused. That is not a failure. It keeps the write scope
  of its task, is handed out again at resume, and while anything is shelved no round begins, because no verdict could
  make the run green.
- A *stop* (`wind_down`) lets what is in flight end and starts nothing. The first reason stays.
- `paused` is a stop that a person takes back.

A session ends when nothing is in flight and nothing may start. A run that ends short of green still lands what was merged.

A review (`rules.review`) is a run without a plan: its one round judges a commit that others made, and what it finds stays
a finding. `core.reviewing` says what is different.

What must hold
--------------
- Nothing else changes a run's state: the working copy is used in `core` alone (import-linter), and nothing of it escapes.
- An event that the state does not allow raises, and the state is unchanged.
- The same events give the same states and effects, today and after an upgrade: no set is iterated where order could
  affect the result, and a changed decision asks `rules.decisions` for the version that the run was begun under.
- `core.invariants` says what holds of every state; tests check it after every step of random runs.
"""

from dataclasses import replace

from codexteam.core.approvals import answer, ask_again, edit_plan, take_rules
from codexteam.core.attempt_ends import (
    add_evidence,
    fixed_nothing,
    retry_or_fail,
    sent_back,
    still_open,
    take_work,
    with_new,
)
from codexteam.core.base_check import check_again, take_checks
from codexteam.core.best_of import (
    attempt_tried,
    attempts_judged,
    contender_asked,
    contender_failed,
    handed_in,
    is_contended,
    refused_in_contest,
    tests_written,
)
from codexteam.core.dispatch import (
    MET_ALREADY,
    after_round,
    complete_replan,
    dispatch,
    replan,
)
from codexteam.core.effects import Clarify, Effect, Finish, MergedCandidate, Replan, Result
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptsJudged,
    AttemptSucceeded,
    AttemptTried,
    BaseChecked,
    BranchMoved,
    BudgetRefused,
    BudgetSpent,
    CandidateAccepted,
    CandidateStacked,
    Clarified,
    Continued,
    DecidedEvent,
    Documented,
    Event,
    ExtraIntegrated,
    Forked,
    GateFinished,
    HiddenTestsWritten,
    Integrated,
    IntegrationConflicted,
    Landed,
    LandingFailed,
    MergeRefused,
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
from codexteam.core.green import commands_ran, nothing_changed, with_waived
from codexteam.core.ids import GateName
from codexteam.core.merge_train import (
    branch_moved,
    candidate_accepted,
    candidate_failed,
    candidate_refused,
    candidate_stacked,
    forget_stale,
    note_merge,
)
from codexteam.core.opening import release_opened
from codexteam.core.plan_edit import changes_between
from codexteam.core.plan_graph import Plan, TaskStatus
from codexteam.core.reviewing import begin_review
from codexteam.core.state import GateRecord, RunPhase, RunState, TaskPhase
from codexteam.core.steering import steer
from codexteam.core.steering_events import Steering
from codexteam.core.task_budgets import release_questions, take_refusal
from codexteam.core.text import count_of
from codexteam.core.transition import Transition
from codexteam.errors import InvalidTransitionError

#: Why a run is green.
_ALL_PASSED = "every gate passed on the commit that the branch points to"
_ALL_PASSED_ON_ITS_FILES = "every gate passed on the very files of the commit that the branch points to"


def step(state: RunState, event: Event) -> tuple[RunState, tuple[Effect, ...]]:
    """Apply an event: return the new state and the effects to perform.

    Raises:
        InvalidTransitionError: the state does not allow this event; it is unchanged.
        PlanError: a plan in the event does not hold together; the state is unchanged.
        UsageError: a person asks for what makes no sense now; the state is unchanged.
    """
    transition = Transition.open(state)
    if isinstance(event, Steering):
        steer(transition, event)
    else:
        _take_in(transition, event)
    dispatch(transition)
    return transition.close()


def _take_in(transition: Transition, event: DecidedEvent) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm for each event, no logic
    match event:
        case RunStarted():
            _run_started(transition)
        case RunPrepared():
            _run_prepared(transition, event)
        case BaseChecked():
            take_checks(transition, event)
        case Scouted():
            _scouted(transition, event)
        case Planned():
            _planned(transition, event)
        case PlanningFailed():
            _planning_failed(transition, event)
        case PlanEdited():
            edit_plan(transition, event)
        case AttemptSucceeded():
            _attempt_succeeded(transition, event)
        case AttemptFailed():
            _attempt_failed(transition, event)
        case AttemptAsked():
            _attempt_asked(transition, event)
        case HiddenTestsWritten():
            tests_written(transition, event)
        case AttemptTried():
            attempt_tried(transition, event)
        case AttemptsJudged():
            attempts_judged(transition, event)
        case Clarified():
            _clarified(transition, event)
        case CandidateStacked():
            candidate_stacked(transition, event)
        case CandidateAccepted():
            candidate_accepted(transition, event)
        case BranchMoved():
            branch_moved(transition, event)
        case Integrated():
            _integrated(transition, event)
        case IntegrationConflicted() | AcceptanceFailed() if event.number:
            candidate_failed(transition, event)
        case MergeRefused() if event.number:
            candidate_refused(transition, event)
        case IntegrationConflicted() | AcceptanceFailed() | MergeRefused():
            transition.current(event.task_id, event.attempt, event)
            transition.take_back(f"integrate.{event.task_id}.{event.attempt}", event)
            sent_back(transition, event)
        case GateFinished():
            _gate_finished(transition, event)
        case Replanned():
            transition.take_back(f"replan.{event.round}", event)
            complete_replan(transition, event.plan)
        case ExtraIntegrated():
            transition.take_back(f"integrate.{event.name}", event)
            if event.commit is not None:
                transition.merged(event.name, event.commit)
            elif event.name == DOCUMENTATION and transition.state.rules.decisions >= 3:
                _not_documented(transition, event.reason)
        case Documented():
            _documented(transition, event)
        case Released():
            transition.take_back("release", event)
            transition.set(released=True, release_notes=event.path, phase=RunPhase.WORKING)
        case Landed():
            _landed(transition, event)
        case LandingFailed():
            _landing_failed(transition, event)
        case Answered():
            answer(transition, event)
        case BudgetSpent():
            transition.wind_down(Result.LIMIT, event.reason)
        case BudgetRefused():
            if not refused_in_contest(transition, event):
                take_refusal(transition, event)
        case StopRequested():
            transition.wind_down(Result.INTERRUPTED, event.reason, event.exit_code)
        case PauseRequested():
            transition.set(paused=True)
        case Continued():
            _continued(transition, event)
        case Forked():
            _forked(transition)


def _forked(transition: Transition) -> None:
    if transition.state.phase is RunPhase.NEW or transition.state.result in {Result.GREEN, Result.ANSWERED}:
        raise InvalidTransitionError("Forked: the run is done, or had not begun")
    transition.set(landed=None, landed_ref="")  # that is the other run's branch


def _run_started(transition: Transition) -> None:
    if transition.state.phase is not RunPhase.NEW:
        raise InvalidTransitionError(f"RunStarted: the run is {transition.state.phase} already")
    transition.set(phase=RunPhase.PREPARING, round_limit=transition.state.rules.max_rounds)


def _run_prepared(transition: Transition, event: RunPrepared) -> None:
    transition.take_back("prepare", event)
    if transition.state.rules.review:
        begin_review(transition, event)
        return
    transition.set(base=event.base, tip=event.base)
    transition.set(phase=RunPhase.SCOUTING if transition.state.rules.scout else _after_scouting(transition))


def _scouted(transition: Transition, event: Scouted) -> None:
    number = transition.state.scout_rounds + 1
    transition.take_back("scout" if number == 1 else f"scout.{number}", event)
    transition.set(phase=_after_scouting(transition), scout_rounds=number, probes=())


def _after_scouting(transition: Transition) -> RunPhase:
    # a plan that was given is worked on as it is
    return RunPhase.WORKING if transition.tasks else RunPhase.PLANNING


def _planned(transition: Transition, event: Planned) -> None:
    if transition.state.phase is RunPhase.NEW:  # the user's plan.md, before the run starts
        take_plan(transition, event.plan)
        if event.by_person:
            for task in event.plan.tasks:
                transition.tasks[task.id] = replace(transition.tasks[task.id], granted=task.paths)
        return
    number = transition.state.plan_attempts + 1
    transition.take_back(f"plan.{number}", event)
    transition.set(plan_attempts=number, planner_mail=())
    if event.plan.questions:
        transition.set(phase=RunPhase.APPROVING)
        transition.ask("plan-questions", "\n".join(event.plan.questions))
        return
    if event.plan.probes:
        transition.set(phase=RunPhase.SCOUTING, probes=event.plan.probes)
        return
    if event.plan.answer:
        _answered(transition, event.plan)
        return
    take_plan(transition, event.plan)
    transition.set(plan_only=event.plan.plan_only)
    if event.plan.plan_only:
        transition.set(phase=RunPhase.APPROVING)
        count = count_of(len(event.plan.tasks), "task")
        transition.ask("plan", f"The goal asks for a plan alone. Work on this plan of {count} all the same?")
    elif "plan" in transition.state.rules.approve:
        transition.set(phase=RunPhase.APPROVING)
        transition.ask("plan", f"Work on this plan of {count_of(len(event.plan.tasks), 'task')}?")
    else:
        transition.set(phase=RunPhase.WORKING)


def _answered(transition: Transition, plan: Plan) -> None:
    """End a run whose goal is a question; what its base's commands said does not matter to it."""
    for task_id, known in list(transition.tasks.items()):  # of a plan that was sent back
        if known.phase in {TaskPhase.PENDING, TaskPhase.BLOCKED}:
            transition.drop(task_id, "the goal is answered without it")
    stop = transition.state.stop
    about_base = stop is not None and stop.result is Result.CANNOT_RUN
    transition.set(answer=plan.answer, summary=plan.summary, holds={}, stop=None if about_base else stop)
    transition.wind_down(Result.ANSWERED, "the goal is a question, and nothing was to be changed")


def take_plan(transition: Transition, plan: Plan) -> None:
    """Make a plan's tasks the run's."""
    if transition.tasks:
        before = [known.task for known in transition.tasks.values() if known.phase is not TaskPhase.DROPPED]
        transition.set(plan_changes=changes_between(before, plan.tasks))
    for task_id, known in list(transition.tasks.items()):  # a plan that a person sent back
        if known.phase in {TaskPhase.PENDING, TaskPhase.BLOCKED} and task_id not in {task.id for task in plan.tasks}:
            transition.drop(task_id, "not in the new plan")
    transition.set_tasks(plan.tasks)
    for task in plan.tasks:
        if task.status is TaskStatus.DROPPED:
            transition.drop(task.id, "marked [-] in the plan")
    transition.set(summary=plan.summary, later=plan.later, risks=plan.risks)


def _planning_failed(transition: Transition, event: PlanningFailed) -> None:
    state = transition.state
    number = state.plan_attempts + 1
    transition.take_back(f"plan.{number}", event)
    if state.stop is not None:
        return  # it ended because the run did: at resume the same agent continues, with the same input
    transition.set(plan_attempts=number, plan_feedback=_add_reason(state.plan_feedback, event.reason), planner_mail=())
    if number % transition.state.rules.plan_attempts == 0:  # a run that continues after this gets as many tries again
        transition.wind_down(Result.NOT_GREEN, f"no plan: {event.reason}")


def _add_reason(feedback: str, reason: str) -> str:
    """Add why a plan was rejected to the next planner's input, which may already hold what the user said."""
    return feedback if reason in feedback else f"{feedback}\n\n{reason}".strip()


def _attempt_succeeded(transition: Transition, event: AttemptSucceeded) -> None:
    if is_contended(transition, event.task_id):
        handed_in(transition, event)
        return
    known = transition.current(event.task_id, event.attempt, event)
    transition.take_back(f"work.{event.task_id}.{event.attempt}", event)
    if event.commit is None and (left := still_open(transition, known)):
        fixed_nothing(transition, known, event, left, event.summary)
        return
    take_work(transition, event)


def _attempt_failed(transition: Transition, event: AttemptFailed) -> None:
    if is_contended(transition, event.task_id):
        contender_failed(transition, event)
        return
    known = transition.current(event.task_id, event.attempt, event)
    transition.take_back(f"work.{event.task_id}.{event.attempt}", event)
    if transition.state.stop is not None and not event.final:
        # it ended because the run did: that is not its failure, and its work continues at resume
        transition.move(event.task_id, TaskPhase.PENDING, event, restore_attempt=event.attempt, reason=event.reason)
        return
    retry_or_fail(transition, known, event, event.reason, event.evidence, final=event.final)


def _attempt_asked(transition: Transition, event: AttemptAsked) -> None:
    if is_contended(transition, event.task_id):
        if contender_asked(transition, event):
            return
    else:
        transition.current(event.task_id, event.attempt, event)
        transition.take_back(f"work.{event.task_id}.{event.attempt}", event)
    transition.move(event.task_id, TaskPhase.ASKING, event, reason=event.question)
    transition.hand_out(Clarify(event.task_id, event.attempt, event.question))


def _clarified(transition: Transition, event: Clarified) -> None:
    known = transition.current(event.task_id, event.attempt, event)
    transition.take_back(f"clarify.{event.task_id}.{event.attempt}", event)
    if event.ask_user:
        transition.move(event.task_id, TaskPhase.ON_HOLD, event)
        transition.ask(f"question.{event.task_id}.{event.attempt}", known.reason, event.task_id)
    else:
        evidence = add_evidence(known, f"asked: {known.reason}", f"The answer: {event.answer}")
        transition.move(
            event.task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=event.attempt, reason=""
        )


def _integrated(transition: Transition, event: Integrated) -> None:
    transition.current(event.task_id, event.attempt, event)
    transition.take_back(f"integrate.{event.task_id}.{event.attempt}", event)
    merge = MergedCandidate(event.task_id, event.attempt, event.commit, event.changed)
    note_merge(transition, merge, event)


def _gate_finished(transition: Transition, event: GateFinished) -> None:
    transition.take_back(f"gate.{event.round}.{event.gate.value}", event)
    judging = transition.state.judging
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
        known = transition.add_finding(replace(finding, gate=event.gate), blocking=blocking, round_number=event.round)
        if not blocking:
            place = f" ({finding.file})" if finding.file else ""
            transition.set(later=with_new(transition.state.later, (f"{known.finding.title}{place}",)))
    before = transition.state.gates.get(event.gate)
    silent = event.verdict is Verdict.UNANSWERED
    unanswered = (before.unanswered if before else 0) + 1 if silent else 0
    judged = (before.judged if before else None) if silent else event.commit
    record = GateRecord(
        event.commit,
        event.verdict,
        unanswered,
        judged,
        event.failing,
        event.unchanged,
        event.ran,
        event.commands,
        event.confidence,
    )
    if event.risks:
        risks = tuple(f"{' '.join(risk.split())} ({event.gate.value})" for risk in event.risks)
        transition.set(risks=with_new(transition.state.risks, risks))
        transition.plan_changed = True
    if event.failing != (before.failing if before else ()):
        transition.plan_changed = True
    waiting = judging.waiting - {event.gate}
    transition.set(gates={**transition.state.gates, event.gate: record}, judging=replace(judging, waiting=waiting))
    if event.tests_commit is not None and not transition.state.rules.review:
        transition.set(extras=(*transition.state.extras, (f"qa.{event.round}", event.tests_commit)))
    if not waiting:
        after_round(transition)


def _check_once_more(transition: Transition) -> None:
    """Let ci_runner judge again where no gate command ran: there may be some now."""
    if GateName.CI not in transition.state.gates:
        return
    gates = {gate: record for gate, record in transition.state.gates.items() if gate is not GateName.CI}
    transition.set(gates=gates, gates_known=False)


#: The name of the documentation writer's work among what belongs to no task.
DOCUMENTATION = "documentation"


def _documented(transition: Transition, event: Documented) -> None:
    number = transition.state.documentation_tries + 1
    transition.take_back("document" if number == 1 else f"document.{number}", event)
    transition.set(documented=True, documentation_tries=number, phase=RunPhase.WORKING)
    if event.commit is not None:
        transition.set(extras=(*transition.state.extras, (DOCUMENTATION, event.commit)))
    elif event.failure:
        _not_documented(transition, event.failure)


def _not_documented(transition: Transition, why: str) -> None:
    """Note that what was to be documented is not; where the goal asks for it, the run is not green."""
    transition.set(documentation_failure=why)
    if transition.state.rules.documentation_asked:
        transition.wind_down(Result.NOT_GREEN, f"the documentation that the goal asks for was not written: {why}")


def _landed(transition: Transition, event: Landed) -> None:
    transition.take_back(f"land.{event.commit}", event)
    transition.set(landed=event.commit, landed_ref=event.ref, landed_repositories=event.repositories)
    if transition.state.phase is RunPhase.LANDING and transition.state.stop is None:
        transition.set(phase=RunPhase.FINISHED)
        transition.finish(Result.GREEN, with_waived(transition.state, _why_green(transition.state)))


def _why_green(state: RunState) -> str:
    if state.rules.decisions >= 2 and nothing_changed(state):
        return MET_ALREADY
    judged = {state.gates[gate].commit for gate in state.rules.gates if gate in state.gates}
    return _ALL_PASSED_ON_ITS_FILES if judged & {*state.same_tree} else _ALL_PASSED


def _landing_failed(transition: Transition, event: LandingFailed) -> None:
    transition.take_back(f"land.{transition.state.tip}", event)
    transition.set(stop=None)
    transition.wind_down(Result.LANDING_FAILED, event.reason)


def _continued(transition: Transition, event: Continued) -> None:
    """Take a run up again: what is in flight is handed out again, what a limit stopped is tried again."""
    state = transition.state
    if state.result in {Result.GREEN, Result.ANSWERED}:
        transition.plan_changed = state.result is Result.GREEN  # an edit that came too late is shown as what it is
        transition.effects.append(Finish(state.result, state.result_reason, state.result.exit_code))
        return
    retry = state.result in {Result.NOT_GREEN, Result.LIMIT, Result.CANNOT_RUN}
    transition.set(stop=None, paused=False, result=None, result_reason="")
    transition.unshelve()
    release_questions(transition)  # more budget than before may have come with the resume
    if event.rules is not None:
        take_rules(transition, event.rules)
        release_opened(transition)
    forget_stale(transition)  # they would begin anew
    transition.effects.extend(effect for effect in transition.in_flight.values() if effect not in transition.effects)
    transition.plan_changed = True
    ask_again(transition)
    if state.result is Result.CANNOT_RUN:
        check_again(transition)
    if state.rules.check_base and state.result is Result.NOT_GREEN and not commands_ran(state):
        _check_once_more(transition)
    if retry:
        if transition.state.documentation_failure:
            transition.set(documented=False, documentation_failure="")
        judged = transition.state.gates.items()
        transition.set(gates={gate: replace(record, unanswered=0) for gate, record in judged})
        for task_id, known in list(transition.tasks.items()):
            if known.phase is TaskPhase.FAILED:
                transition.retry(task_id)
        replans = any(isinstance(effect, Replan) for effect in transition.in_flight.values())
        if transition.open_findings() and transition.state.judging is None and not replans and not state.rules.review:
            replan(transition)
