"""What starts next. Called at the end of every step; the only place that hands out new work."""

from dataclasses import replace

from codexteam.core.convergence import Seen, why_stuck
from codexteam.core.draft import Draft
from codexteam.core.effects import (
    Awaited,
    Clarify,
    Document,
    Integrate,
    IntegrateExtra,
    Land,
    MakePlan,
    Prepare,
    Release,
    Replan,
    Result,
    RunGate,
    Scout,
    Work,
)
from codexteam.core.events import Verdict
from codexteam.core.findings import Category, GateName, weigh
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.scopes import scopes_overlap
from codexteam.core.state import (
    TERMINAL,
    FindingState,
    FindingStatus,
    Judging,
    RunPhase,
    TaskPhase,
)
from codexteam.errors import InvalidTransitionError

#: Effects that keep one agent busy, and with it one of the threads.
_AGENTS = (Work, Clarify, MakePlan, Replan, RunGate, Document, Release)

#: Effects that will change what there is to judge.
_CHANGES = (Work, Clarify, Integrate, IntegrateExtra, Replan)

#: The reason of a task whose merge a person approved.
APPROVED = "approved"

#: A gate that gives no verdict this often in a row will give none.
MAX_UNANSWERED = 2


def dispatch(draft: Draft) -> None:
    """Hand out all that may start now; finish the sitting when nothing is left to do or to wait for."""
    if draft.state.result is not None:
        return
    if draft.state.stop is None and not draft.state.paused:
        _start(draft)
    if not draft.in_flight:
        _finish(draft)


def _start(draft: Draft) -> None:
    match draft.state.phase:
        case RunPhase.NEW | RunPhase.APPROVING | RunPhase.FINISHED:
            return
        case RunPhase.PREPARING:
            _once(draft, Prepare())
        case RunPhase.SCOUTING:
            _once(draft, Scout())
        case RunPhase.PLANNING:
            _once(draft, MakePlan(draft.state.plan_attempts + 1, draft.state.plan_feedback))
        case RunPhase.WORKING:
            _integrate(draft)
            if len(draft.state.batch) >= draft.state.rules.batch_size:
                _start_round(draft)  # first, so that nothing starts that builds on what is judged
            _start_attempts(draft)
            if not any(isinstance(effect, _CHANGES) for effect in draft.in_flight.values()):
                _start_round(draft)
            _go_on_when_judged(draft)
        case RunPhase.DOCUMENTING:
            _once(draft, Document(known_tip(draft)))
        case RunPhase.RELEASING:
            _once(draft, Release(known_tip(draft)))
        case RunPhase.LANDING:
            _once(draft, Land(known_tip(draft)))


def _once(draft: Draft, effect: Awaited) -> None:
    if not any(type(known) is type(effect) for known in draft.in_flight.values()):
        draft.hand_out(effect)


def known_tip(draft: Draft) -> CommitId:
    """Give where the branch points.

    Raises:
        InvalidTransitionError: the run is not prepared.
    """
    if draft.state.tip is None:
        raise InvalidTransitionError("the run has no base commit yet")
    return draft.state.tip


def _integrate(draft: Draft) -> None:
    """Start the next merge; merges are serial, each onto the tip that the one before left."""
    if any(isinstance(effect, Integrate | IntegrateExtra) for effect in draft.in_flight.values()):
        return
    tip = known_tip(draft)
    while draft.state.merge_queue:
        task_id, *rest = draft.state.merge_queue
        draft.set(merge_queue=tuple(rest))
        known = draft.tasks[task_id]
        if ("merge" in draft.state.rules.approve or known.ask) and known.reason != APPROVED:
            draft.move(task_id, TaskPhase.ON_HOLD, reason="waits for approval of its merge")
            question = known.ask or f"Merge {task_id} ({known.task.title})?"
            draft.ask(f"merge.{task_id}.{known.attempt}", question, task_id)
            continue
        draft.move(task_id, TaskPhase.INTEGRATING, reason="")
        draft.hand_out(Integrate(task_id, known.attempt, known.commit, tip))
        return
    if draft.state.extras:
        (name, commit), *others = draft.state.extras
        draft.set(extras=tuple(others))
        draft.hand_out(IntegrateExtra(name, commit, tip))


def _start_attempts(draft: Draft) -> None:
    """Fill the free threads, best task first, none beside another that writes where it writes."""
    if not draft.ready:
        return
    busy = sum(isinstance(effect, _AGENTS) for effect in draft.in_flight.values())
    free = draft.state.rules.max_threads - busy
    if free <= 0:
        return
    taken = [draft.tasks[task_id].task.paths for task_id in _holders(draft)]
    judging = draft.state.judging.round if draft.state.judging else None
    for task_id in list(draft.ready):
        if free <= 0:
            return
        known = draft.tasks[task_id]
        if judging and any(draft.tasks[dep].round == judging for dep in known.task.deps):
            continue
        if any(scopes_overlap(known.task.paths, paths) for paths in taken):
            continue
        attempt = known.attempt + 1
        draft.move(task_id, TaskPhase.WORKING, attempt=attempt, reason="", commit=None)
        tip = known_tip(draft)
        draft.hand_out(Work(task_id, attempt, known.kind, tip, known.evidence, known.restore_attempt))
        taken.append(known.task.paths)
        free -= 1


def _holders(draft: Draft) -> list[TaskId]:
    """Give the tasks whose write scopes are taken: those at work, asking, being merged, or queued for it."""
    busy = [e.task_id for e in draft.in_flight.values() if isinstance(e, Work | Clarify | Integrate)]
    return [*busy, *draft.state.merge_queue]


def _start_round(draft: Draft) -> None:
    """Let the gates that have not judged the tip do so: a batch is full, or nothing else can go on before."""
    state = draft.state
    if state.judging is not None or _waits_for_replan(draft):
        return
    tip = known_tip(draft)
    unheard = [gate for gate in state.rules.gates if not _heard(draft, gate, tip)]
    if not unheard:
        return
    number = state.round + 1
    only_tests = bool(state.batch) and all(name.startswith("qa.") for name, _ in state.batch)
    draft.set(round=number, judging=Judging(number, tip, frozenset(unheard), frozenset(unheard)), batch=())
    for name, _ in state.batch:
        if (task_id := TaskId(name)) in draft.tasks:
            draft.tasks[task_id] = replace(draft.tasks[task_id], round=number)
    open_findings = tuple(known.finding for known in draft.open_findings())
    for gate in unheard:
        record = state.gates.get(gate)
        since = (record.judged if record else None) or state.base or tip
        # who gave no verdict last time has more to judge than what came since
        spared = only_tests and record is not None and record.judged == record.commit
        draft.hand_out(RunGate(number, gate, tip, since, state.batch, open_findings, spared))


def _heard(draft: Draft, gate: GateName, tip: CommitId) -> bool:
    """Say whether a gate gave its verdict on this very commit, whatever it was."""
    record = draft.state.gates.get(gate)
    return record is not None and record.commit == tip and record.verdict is not Verdict.UNANSWERED


def _waits_for_replan(draft: Draft) -> bool:
    """Say whether open findings have no task yet: nothing is judged again before they have."""
    if any(isinstance(effect, Replan) for effect in draft.in_flight.values()):
        return True
    return any(item.startswith("rounds.") for item in draft.state.holds)


def after_round(draft: Draft) -> None:
    """Decide, once all gates of a round have answered, whether findings become tasks or a person looks."""
    _mark_fixed(draft)
    _close_unheard(draft)
    state = draft.state
    open_findings = draft.open_findings()
    draft.set(judging=None, weights=(*state.weights, weigh(known.finding for known in open_findings)))
    silent = [gate for gate, record in state.gates.items() if record.unanswered >= MAX_UNANSWERED]
    if silent:
        names = ", ".join(gate.value for gate in silent)
        draft.wind_down(Result.NOT_GREEN, f"no verdict from {names}, {MAX_UNANSWERED} times in a row")
    elif open_findings:
        stuck = why_stop(draft)
        if stuck:
            draft.ask(f"rounds.{state.round}", f"{stuck}. Go on?")
        else:
            replan(draft)


def why_stop(draft: Draft) -> str | None:
    """Say why a person has to look before open findings become tasks; None while rounds may go on."""
    state = draft.state
    seen = [Seen(f"{known.finding.id} ({known.finding.title})", known.times) for known in draft.open_findings()]
    return why_stuck(seen, state.weights, round_number=state.round, round_limit=state.round_limit)


def replan(draft: Draft) -> None:
    """Let the orchestrator turn the findings that no living task fixes into tasks."""
    living = [known for known in draft.tasks.values() if known.phase not in TERMINAL]
    covered = {finding_id for known in living for finding_id in known.task.fixes}
    left = tuple(known.finding for known in draft.open_findings() if known.finding.id not in covered)
    if left:
        draft.hand_out(Replan(draft.state.round, left))


def _mark_fixed(draft: Draft) -> None:
    """Close findings that their gate, asked about them in this round, did not repeat."""
    judged = draft.state.judging
    if judged is None:
        return
    for known in draft.open_findings():
        gate = known.finding.gate
        asked = gate in judged.asked and _heard(draft, gate, judged.commit)
        if asked and known.last_round < judged.round and _may_close(draft, known):
            draft.put_finding(replace(known, status=FindingStatus.FIXED))


def _close_unheard(draft: Draft) -> None:
    """Close findings of gates that were turned off since, once a fix is merged: nobody will look again."""
    merged = [known for known in draft.tasks.values() if known.phase is TaskPhase.MERGED]
    for known in draft.open_findings():
        # a fix that was there when the gate said it again was none
        fixes = [t for t in merged if known.finding.id in t.task.fixes and not 0 < t.round <= known.last_round]
        if fixes and known.finding.gate not in draft.state.rules.gates:
            draft.put_finding(replace(known, status=FindingStatus.FIXED))


def _may_close(draft: Draft, known: FindingState) -> bool:
    # a security finding is closed by a fix that was merged, never by silence alone
    if known.finding.category is not Category.SECURITY:
        return True
    return any(known.finding.id in t.task.fixes and t.phase is TaskPhase.MERGED for t in draft.tasks.values())


def _go_on_when_judged(draft: Draft) -> None:
    """Go on to documentation, notes and landing once all is merged and every gate gave its verdict on the tip."""
    state = draft.state
    tip = known_tip(draft)
    # the cheap questions first: this is asked after every event
    if draft.in_flight or state.holds or not all(_heard(draft, gate, tip) for gate in state.rules.gates):
        return
    if any(known.phase not in TERMINAL for known in draft.tasks.values()):
        return
    _close_unheard(draft)
    unfinished = [i for i, known in draft.tasks.items() if known.phase in {TaskPhase.FAILED, TaskPhase.BLOCKED}]
    open_ids = [str(known.finding.id) for known in draft.open_findings()]
    if unfinished or open_ids:
        parts = [f"not done: {', '.join(unfinished)}"] if unfinished else []
        parts += [f"open findings: {', '.join(open_ids)}"] if open_ids else []
        draft.wind_down(Result.NOT_GREEN, "; ".join(parts))
        return
    if state.rules.document and not state.documented:
        draft.set(phase=RunPhase.DOCUMENTING)
    elif state.rules.release and not state.released:
        draft.set(phase=RunPhase.RELEASING)
    else:
        draft.set(phase=RunPhase.LANDING)
    _start(draft)


def _finish(draft: Draft) -> None:
    """End the sitting: nothing is in flight."""
    state = draft.state
    if state.stop is not None:
        goes_on = state.stop.result in {Result.INTERRUPTED, Result.WAITING, Result.LANDING_FAILED}
        if not goes_on and state.tip is not None and state.tip not in {state.base, state.landed}:
            draft.hand_out(Land(state.tip))  # what was merged is the user's, green or not
        else:
            draft.finish(state.stop.result, state.stop.reason, state.stop.exit_code)
    elif state.paused:
        draft.finish(Result.WAITING, "the run is paused")
    elif state.holds:
        draft.finish(Result.WAITING, "waits for a person: " + ", ".join(sorted(state.holds)))
    elif state.phase is not RunPhase.NEW:
        left = [f"{i} {known.phase}" for i, known in draft.tasks.items() if known.phase not in TERMINAL]
        raise InvalidTransitionError(f"nothing can go on: phase {state.phase}, tasks {left}")
