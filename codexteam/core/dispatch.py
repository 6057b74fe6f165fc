"""What starts next. `dispatch` runs at the end of every step, whatever the event was.

The story of batches, rounds, findings and convergence is told in `core.step`; here is the order in which things start,
and why it is that order. While the run works, each step tries:

1. the merge train (`core.merge_train`): merged work unlocks tasks, and what is ready to be merged holds up no new attempt;
2. a round of gates, if the batch is full: before new attempts, so that none starts on what is about to be judged;
3. attempts, until threads are used up: first those at tasks that several are made at (`core.best_of`), then best first
   (`PlanGraph.priority`: the longest way to the end of the plan). A task is passed over whose paths overlap those of one
   that is at work, asking, queued, in the train or out of budget (without paths it may write any), that depends on what is
   being judged, or that comes after one which the same budget refused;
4. a round of gates with whatever is in the batch, if nothing in flight will change the branch any more (`CHANGES`);
5. the way to the end, if every gate gave its verdict on the tip and nothing is left to do.

What must hold: nothing is handed out twice; attempts start only while fewer than `max_threads` effects keep an agent
busy; no round while findings have no task yet, or while something is shelved. If nothing is in flight at the end, the
session finishes with a reason; that there is none is a bug, and raises instead of waiting for ever.

Most decisions about the plan are here too, since they follow from a round: which findings are closed, when a person has
to look (`why_stuck`), which tasks a replan adds and which fixes nobody needs any more.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from codexteam.core.attempt_ends import said_words
from codexteam.core.base_check import (
    NOTHING_CHECKED,
    failed_words,
    may_implement,
    next_checks,
    red,
    red_acceptance,
    red_finding,
)
from codexteam.core.best_of import begin_contest, run_contests, wants_contest
from codexteam.core.budget_scope import need_words
from codexteam.core.effects import (
    BUSY,
    CHANGES,
    Awaited,
    Clarify,
    Document,
    Integrate,
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
from codexteam.core.findings import Category, Finding, weigh
from codexteam.core.green import commands_ran, nothing_changed
from codexteam.core.ids import CommitId, FindingId, GateName, TaskId
from codexteam.core.merge_train import conclude, run_train
from codexteam.core.opening import hold_if_closed
from codexteam.core.paths import may_clash, scopes_overlap
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.reviewing import end_review, may_be_fixed, may_judge
from codexteam.core.state import (
    TERMINAL,
    FindingState,
    FindingStatus,
    Judging,
    RunPhase,
    TaskPhase,
    needed_budgets,
)
from codexteam.core.task_budgets import asks_person
from codexteam.core.transition import Transition
from codexteam.errors import InvalidTransitionError, PlanError

#: The same complaint in this many rounds means that the fixes do not reach it.
MAX_REPEATS = 3


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open must_fix finding, as convergence sees it."""

    name: str
    times: int


def why_stuck(
    open_findings: Iterable[OpenFinding], weights: Sequence[int], *, round_number: int, round_limit: int
) -> str | None:
    """Say why a person has to look; None while the loop converges.

    `weights` are the weighted open findings after each round, oldest first, since a person last looked.
    """
    for seen in open_findings:
        if seen.times >= MAX_REPEATS:
            return f"{seen.name} was found in {seen.times} rounds and is still there"
    if len(weights) >= 3 and min(weights[-1], weights[-2]) >= weights[-3]:
        return f"two rounds brought no progress (weighted open findings: {', '.join(map(str, weights[-3:]))})"
    if round_number >= round_limit:
        return f"round {round_number} of at most {round_limit} is over and findings are open"
    return None


def complete_replan(transition: Transition, plan: Plan) -> None:
    """Add the new tasks to the plan; make up what the orchestrator forgot.

    Ids that are taken are replaced by fresh ones, so that none is ever used for two things. Tasks that do not hold
    together (a cycle, an unknown dependency) are left out, and their findings become tasks of their own.
    """
    open_ids = {known.finding.id for known in transition.open_findings()}
    added = _renumber(transition, [task for task in plan.tasks if task.id not in transition.tasks or task.fixes])
    with suppress(PlanError):
        _add(transition, added[: _room(transition)])
    living = [state.task for state in transition.tasks.values() if state.phase not in TERMINAL]
    covered = {finding_id for task in living for finding_id in task.fixes}
    left = [state.finding for state in transition.open_findings() if state.finding.id not in covered]
    made = [_task_for(finding, next_id(transition, offset)) for offset, finding in enumerate(left)]
    if len(made) > _room(transition):
        limit = transition.state.rules.max_tasks
        transition.wind_down(Result.LIMIT, f"{len(open_ids)} open findings need more than {limit} tasks in all")
        return
    if made:
        _add(transition, made)
    later = tuple(line for line in plan.later if line not in transition.state.later)
    risks = tuple(line for line in plan.risks if line not in transition.state.risks)
    transition.set(later=(*transition.state.later, *later), risks=(*transition.state.risks, *risks))


def _add(transition: Transition, tasks: list[Task]) -> None:
    transition.set_tasks(tasks)
    for task in tasks:
        transition.tasks[task.id] = replace(transition.tasks[task.id], from_findings=True)


def _room(transition: Transition) -> int:
    """Return how many tasks may be added; a limit that was lowered, or an edited plan, leaves none."""
    return max(0, transition.state.rules.max_tasks - len(transition.tasks))


def next_id(transition: Transition, offset: int = 0) -> TaskId:
    """Return the next free id, or one further on."""
    numbers = [int(task_id[1:]) for task_id in transition.tasks if task_id[1:].isdigit()]
    return TaskId(f"T{max(numbers, default=0) + 1 + offset}")


def _renumber(transition: Transition, tasks: list[Task]) -> list[Task]:
    """Return new tasks ids that continue the numbering where theirs are taken; their deps among themselves follow."""
    names: dict[TaskId, TaskId] = {}
    taken = set(transition.tasks)
    numbers = [int(i[1:]) for i in [*taken, *(task.id for task in tasks)] if i[1:].isdigit()]
    fresh = max(numbers, default=0)
    for task in tasks:
        if task.id in taken or task.id in names.values():
            fresh += 1
            names[task.id] = TaskId(f"T{fresh}")
        else:
            names[task.id] = task.id
    # a dependency on a number that is new in this answer means the new task, any other the old one
    return [replace(task, id=names[task.id], deps=tuple(names.get(dep, dep) for dep in task.deps)) for task in tasks]


def _task_for(finding: Finding, task_id: TaskId) -> Task:
    paths = finding.paths or ((finding.file,) if finding.file else ())
    detail = finding.detail + (f"\n\nSuggested: {finding.suggestion}" if finding.suggestion else "")
    fixes = (FindingId(finding.id),) if finding.id else ()
    return Task(task_id, finding.title, detail, paths=paths, effort=1, fixes=fixes)


#: What is kept of a task's reason in that of the run.
_REASON_CHARS = 300

#: A gate that gives no verdict this often in a row will give none.
MAX_UNANSWERED = 2


#: Why a run that changed nothing is green all the same.
MET_ALREADY = "nothing was changed; by the reviewer's verdict the goal was met before the run"

_UNJUDGED = (
    "nothing was changed, and no reviewer judged whether the goal was met before the run; "
    "enable the gate `reviewer`, or say in the goal or in plan.md what is to be changed"
)


def dispatch(transition: Transition) -> None:
    """Hand out everything that may start now; finish the session when nothing is left to do or to wait for."""
    if transition.state.result is not None:
        return
    if transition.state.stop is None and not transition.state.paused:
        _start(transition)
    elif transition.state.train:
        conclude(transition)  # a stop lets what has passed be merged
    if not transition.in_flight and transition.state.result is None:
        _finish(transition)


def _start(transition: Transition) -> None:
    match transition.state.phase:
        case RunPhase.NEW | RunPhase.APPROVING | RunPhase.FINISHED:
            return
        case RunPhase.PREPARING:
            _once(transition, Prepare())
        case RunPhase.SCOUTING:
            _once(transition, Scout(transition.state.scout_rounds + 1, transition.state.probes))
        case RunPhase.PLANNING:
            _check_base(transition)  # beside the planner, whose tasks may need it
            _once(transition, MakePlan(transition.state.plan_attempts + 1, transition.state.plan_feedback))
        case RunPhase.WORKING:
            _plan_red_base(transition)
            _check_base(transition)
            run_train(transition)
            if len(transition.state.batch) >= transition.state.rules.batch_size and not transition.state.shelved:
                _start_round(transition)  # first, so that nothing starts that builds on what is judged
            run_contests(transition, _free_threads)
            _start_attempts(transition)
            # no verdict lets the run end green while something waits for budget: none is paid for
            if not transition.state.shelved and not any(isinstance(e, CHANGES) for e in transition.in_flight.values()):
                _start_round(transition)
            _go_on_when_judged(transition)
        case RunPhase.DOCUMENTING:
            _once(transition, Document(transition.tip, transition.state.documentation_tries + 1))
        case RunPhase.RELEASING:
            _once(transition, Release(transition.tip))
        case RunPhase.LANDING:
            _once(transition, Land(transition.tip))


def _check_base(transition: Transition) -> None:
    """Have commands run on the base commit that nothing is known of."""
    state = replace(transition.state, tasks=transition.tasks, in_flight=transition.in_flight)
    for check in next_checks(state, transition.free_places()):
        transition.hand_out(check)


def _plan_red_base(transition: Transition) -> None:
    """Make what fails on the base commit tasks, once, where the user wants that."""
    state = transition.state
    if not state.rules.check_base or state.rules.red_base != "fix" or state.red_base_taken or not state.gates_known:
        return
    transition.set(red_base_taken=True)
    for check in red(state)[: _room(transition)]:
        known = transition.add_finding(
            red_finding(check.command, f"{failed_words(check)}\n\n{check.output}"), blocking=True, round_number=0
        )
        task = replace(_task_for(known.finding, next_id(transition)), acceptance=red_acceptance(check))
        _add(transition, [task])


def _once(transition: Transition, effect: Awaited) -> None:
    shelved = (known.effect for known in transition.state.shelved.values())
    if not any(type(known) is type(effect) for known in (*transition.in_flight.values(), *shelved)):
        transition.hand_out(effect)


def _start_attempts(transition: Transition) -> None:
    """Fill the free threads, best task first, none beside another that writes where it writes."""
    if not transition.ready or (transition.state.judging is not None and _is_last_round(transition)):
        return
    free = _free_threads(transition)
    if free <= 0:
        return
    # runs of older versions let tasks without paths work beside others
    clash = may_clash if transition.state.rules.decisions >= 3 else scopes_overlap
    taken = [transition.tasks[task_id].task.paths for task_id in _holders(transition)]
    judging = transition.state.judging.round if transition.state.judging else None
    for task_id in list(transition.ready):
        if free <= 0:
            return
        known = transition.tasks[task_id]
        if not may_implement(transition.state, known):
            continue
        if judging and any(transition.tasks[dep].round == judging for dep in known.task.deps):
            continue
        if any(clash(known.task.paths, paths) for paths in taken) or _waits_for_budget(transition, known.task):
            continue
        if hold_if_closed(transition, task_id):
            continue
        if wants_contest(transition, known):
            taken.append(known.task.paths)
            free -= begin_contest(transition, task_id, free)
            continue
        attempt = known.attempts + 1
        transition.move(task_id, TaskPhase.WORKING, attempt=attempt, reason="", commit=None, heard=len(known.said))
        tip = transition.tip
        evidence = "\n\n".join(part for part in (known.evidence, said_words(known.said)) if part)
        transition.hand_out(Work(task_id, attempt, known.kind, tip, evidence, known.restore_attempt))
        taken.append(known.task.paths)
        free -= 1


def _free_threads(transition: Transition) -> int:
    busy = sum(isinstance(effect, BUSY) for effect in transition.in_flight.values())
    return transition.state.rules.max_threads - busy


def _waits_for_budget(transition: Transition, task: Task) -> bool:
    """Return whether a task that goes before this one was refused by a limit that this one would meet as well.

    What goes before may still start: a second attempt of a task is not to fail by the refusal of a later task.
    """
    for shelved in transition.state.shelved.values():
        if not isinstance(shelved.effect, Work | Clarify):
            continue
        refused = transition.tasks[shelved.effect.task_id].task
        scope = shelved.budget_scope.scope
        shared = scope == "run" or (scope == "role" and refused.role == task.role)
        if shared and transition.state.graph.priority(refused.id) < transition.state.graph.priority(task.id):
            return True
    return False


def _holders(transition: Transition) -> list[TaskId]:
    """Return the tasks whose write scopes are taken: those at work, asking, queued, in the train, or out of budget."""
    shelved = (known.effect for known in transition.state.shelved.values())
    busy = (*transition.in_flight.values(), *shelved)
    return [
        *(e.task_id for e in busy if isinstance(e, Work | Clarify | Integrate)),
        *transition.state.contested,
        *transition.state.merge_queue,
        *(candidate.task_id for candidate in transition.state.train),
    ]


def _start_round(transition: Transition) -> None:
    """Start the gates that have not judged the tip: a batch is full, or nothing else can proceed first."""
    state = transition.state
    if state.judging is not None or _waits_for_replan(transition) or not may_judge(state):
        return
    tip = transition.tip
    if (
        state.rules.decisions >= 2
        and tip == state.base
        and any(known.phase not in TERMINAL for known in transition.tasks.values())
    ):
        return  # nothing is merged yet, and what waits for a person may be
    unheard = [gate for gate in state.rules.gates if not _heard(transition, gate, tip)]
    if not unheard:
        return
    number = state.round + 1
    only_tests = bool(state.batch) and all(name.startswith("qa.") for name, _ in state.batch)
    transition.set(round=number, judging=Judging(number, tip, frozenset(unheard), frozenset(unheard)), batch=())
    for name, _ in state.batch:
        if (task_id := TaskId(name)) in transition.tasks:
            transition.tasks[task_id] = replace(transition.tasks[task_id], round=number)
    open_findings = tuple(known.finding for known in transition.open_findings())
    for gate in unheard:
        record = state.gates.get(gate)
        since = (record.judged if record else None) or state.base or tip
        # who gave no verdict last time has more to judge than what came since
        spared = only_tests and record is not None and record.judged == record.commit
        transition.hand_out(RunGate(number, gate, tip, since, state.batch, open_findings, spared))


def _heard(transition: Transition, gate: GateName, tip: CommitId) -> bool:
    """Return whether a gate gave its verdict on this very tree, whatever it was."""
    record = transition.state.gates.get(gate)
    if record is None or record.verdict is Verdict.UNANSWERED:
        return False
    return record.commit == tip or (tip == transition.state.tip and record.commit in transition.state.same_tree)


def _waits_for_replan(transition: Transition) -> bool:
    """Return whether open findings have no task yet: nothing is judged again before they have."""
    if any(isinstance(effect, Replan) for effect in transition.in_flight.values()):
        return True
    return any(item.startswith("rounds.") for item in transition.state.holds)


def _why_failed(transition: Transition) -> str:
    """Return why the first of the failed tasks failed, in one line: what ended the run is said where it ends."""
    failed = [known for known in transition.tasks.values() if known.phase is TaskPhase.FAILED and known.reason]
    if not failed:
        return ""
    reason = " ".join(failed[0].reason.split())
    clipped = reason if len(reason) <= _REASON_CHARS else reason[: _REASON_CHARS - 3] + "..."
    return f" ({failed[0].task.id}: {clipped})"


def after_round(transition: Transition) -> None:
    """Decide, once all gates of a round have answered, whether findings become tasks or a person looks."""
    _mark_fixed(transition)
    _close_unheard(transition)
    state = transition.state
    open_findings = transition.open_findings()
    transition.set(judging=None, weights=(*state.weights, weigh(known.finding for known in open_findings)))
    silent = [gate for gate, record in state.gates.items() if record.unanswered >= MAX_UNANSWERED]
    if silent:
        names = ", ".join(gate.value for gate in silent)
        transition.wind_down(Result.NOT_GREEN, f"no verdict from {names}, {MAX_UNANSWERED} times in a row")
    elif open_findings and not state.rules.review:
        stuck = why_stop(transition)
        if stuck:
            transition.ask(f"rounds.{state.round}", f"{stuck}. Continue?")
        else:
            replan(transition)
    _end_where_asked(transition)


def _end_where_asked(transition: Transition) -> None:
    """End the session after the last round that was asked for, if something is left to do."""
    if _is_last_round(transition) and any(known.phase not in TERMINAL for known in transition.tasks.values()):
        transition.wind_down(Result.NOT_GREEN, "as many batches as --batches allows are done, and tasks are left")
    elif _is_last_round(transition) and transition.open_findings():
        transition.wind_down(Result.NOT_GREEN, "as many batches as --batches allows are done, and findings are open")


def _is_last_round(transition: Transition) -> bool:
    return 0 < transition.state.rules.last_round <= transition.state.round


def why_stop(transition: Transition) -> str | None:
    """Say why a person must decide before open findings become tasks; None while more rounds are allowed."""
    state = transition.state
    seen = [
        OpenFinding(f"{known.finding.id} ({known.finding.title})", known.times) for known in transition.open_findings()
    ]
    return why_stuck(seen, state.weights, round_number=state.round, round_limit=state.round_limit)


def replan(transition: Transition) -> None:
    """Let the orchestrator turn the findings that no living task fixes into tasks."""
    living = [known for known in transition.tasks.values() if known.phase not in TERMINAL]
    covered = {finding_id for known in living for finding_id in known.task.fixes}
    left = tuple(known.finding for known in transition.open_findings() if known.finding.id not in covered)
    if left:
        transition.hand_out(Replan(transition.state.round, left, transition.state.planner_notes))
        transition.set(planner_notes=(), planner_mail=())


def _mark_fixed(transition: Transition) -> None:
    """Close findings that their gate, asked about them in this round, did not repeat."""
    judged = transition.state.judging
    if judged is None:
        return
    for known in transition.open_findings():
        gate = known.finding.gate
        asked = gate in judged.asked and _heard(transition, gate, judged.commit)
        if asked and known.last_round < judged.round and _may_close(transition, known):
            transition.put_finding(replace(known, status=FindingStatus.FIXED))


def _close_unheard(transition: Transition) -> None:
    """Close findings of gates that were turned off since, once a fix is merged: nobody will look again."""
    merged = [known for known in transition.tasks.values() if known.phase is TaskPhase.MERGED]
    for known in transition.open_findings():
        # a fix that was there when the gate said it again was none
        fixes = [t for t in merged if known.finding.id in t.task.fixes and not 0 < t.round <= known.last_round]
        if fixes and known.finding.gate not in transition.state.rules.gates:
            transition.put_finding(replace(known, status=FindingStatus.FIXED))


def drop_needless_fixes(transition: Transition) -> None:
    """Take fixes out of the plan that failed, or have not begun, when nothing that they were for is open any more."""
    if transition.state.rules.decisions < 2:
        return
    open_ids = {known.finding.id for known in transition.open_findings()}
    idle = {TaskPhase.PENDING, TaskPhase.FAILED, TaskPhase.BLOCKED, TaskPhase.ON_HOLD}
    for task_id, known in list(transition.tasks.items()):
        fixes = known.task.fixes
        if fixes and known.phase in idle and not open_ids.intersection(fixes):
            transition.drop(
                task_id, f"no longer needed: {', '.join(fixes)} {'is' if len(fixes) == 1 else 'are'} not open"
            )


def _may_close(transition: Transition, known: FindingState) -> bool:
    # a security finding is closed by a fix that was merged, never by silence alone
    if known.finding.category is not Category.SECURITY or may_be_fixed(transition.state):
        return True
    return any(known.finding.id in t.task.fixes and t.phase is TaskPhase.MERGED for t in transition.tasks.values())


def _go_on_when_judged(transition: Transition) -> None:
    """Continue to documentation, notes and landing once all is merged and every gate gave its verdict on the tip."""
    state = transition.state
    tip = transition.tip
    # the cheap questions first: this is asked after every event
    if (
        transition.in_flight
        or state.holds
        or state.shelved
        or not all(_heard(transition, gate, tip) for gate in state.rules.gates)
    ):
        return
    if any(known.phase not in TERMINAL for known in transition.tasks.values()):
        return
    _close_unheard(transition)
    drop_needless_fixes(transition)
    unfinished = [i for i, known in transition.tasks.items() if known.phase in {TaskPhase.FAILED, TaskPhase.BLOCKED}]
    open_ids = [str(known.finding.id) for known in transition.open_findings()]
    if unfinished or open_ids:
        parts = [f"not done: {', '.join(unfinished)}{_why_failed(transition)}"] if unfinished else []
        parts += [f"open findings: {', '.join(open_ids)}"] if open_ids else []
        transition.wind_down(Result.NOT_GREEN, "; ".join(parts))
        return
    if (
        state.rules.decisions >= 2
        and nothing_changed(state)
        and GateName.REVIEW not in state.rules.gates
        and not state.rules.review
    ):
        transition.wind_down(Result.NOT_GREEN, _UNJUDGED)
        return
    if state.rules.check_base and not state.rules.allow_unchecked and not commands_ran(state):
        transition.wind_down(Result.NOT_GREEN, NOTHING_CHECKED)
        return
    if state.rules.review:
        end_review(transition)
        return
    if state.rules.document and not state.documented:
        transition.set(phase=RunPhase.DOCUMENTING)
    elif state.rules.release and not state.released and (state.rules.release_unchanged or not nothing_changed(state)):
        transition.set(phase=RunPhase.RELEASING)
    else:
        transition.set(phase=RunPhase.LANDING)
    _start(transition)


def _finish(transition: Transition) -> None:
    """End the session: nothing is in flight."""
    if any(not asks_person(transition.state, shelved) for shelved in transition.state.shelved.values()):
        transition.wind_down(Result.LIMIT, _why_shelved(transition))
    state = transition.state
    if state.stop is not None:
        goes_on = state.stop.result in {Result.INTERRUPTED, Result.WAITING, Result.LANDING_FAILED}
        lands = not state.rules.review and not state.rules.repositories
        merged = lands and state.tip not in {state.base, state.landed}
        if not goes_on and state.tip is not None and merged:
            transition.hand_out(Land(state.tip))  # what was merged is the user's, green or not
        else:
            transition.finish(state.stop.result, state.stop.reason, state.stop.exit_code)
    elif state.paused:
        transition.finish(Result.WAITING, "the run is paused")
    elif state.plan_only and state.phase is RunPhase.APPROVING and set(state.holds) == {"plan"}:
        transition.finish(Result.WAITING, "the plan is there, which is all that the goal asks for", exit_code=0)
    elif state.holds:
        transition.finish(Result.WAITING, "waits for a person: " + ", ".join(sorted(state.holds)))
    elif state.phase is not RunPhase.NEW:
        left = [f"{i} {known.phase}" for i, known in transition.tasks.items() if known.phase not in TERMINAL]
        raise InvalidTransitionError(f"nothing can continue: phase {state.phase}, tasks {left}")


def _why_shelved(transition: Transition) -> str:
    """Say what waits for budget: the first refusal in full, the others by number."""
    waiting = transition.state.shelved.values()
    first, *others = [one for one in waiting if not asks_person(transition.state, one)]
    more = f" ({len(others)} more wait for budget)" if others else ""
    return "; ".join(
        part
        for part in (first.reason + more, need_words(needed_budgets(replace(transition.state, tasks=transition.tasks))))
        if part
    )
