"""What people decide: answers, approvals, edits of plan.md."""

from dataclasses import replace

from codexteam.core.attempt_ends import end_attempt
from codexteam.core.base_check import CANNOT_RUN_ITEM, RED_BASE_ITEM, answer_cannot_run, answer_red_base
from codexteam.core.dispatch import after_round, drop_needless_fixes, replan, why_stop
from codexteam.core.effects import Land, Result, RunGate
from codexteam.core.events import Answered, PlanEdited, Rules
from codexteam.core.findings import Category
from codexteam.core.ids import TaskId
from codexteam.core.merge_train import APPROVED
from codexteam.core.opening import ITEM, answer_opening, release
from codexteam.core.plan_graph import Task, TaskStatus
from codexteam.core.plan_md_task import normal_task
from codexteam.core.state import TERMINAL, FindingStatus, Hold, RunPhase, RunState, TaskPhase
from codexteam.core.task_budgets import BUDGET_ITEM, answer_budget, edit_budget
from codexteam.core.text import count_of
from codexteam.core.transition import Transition
from codexteam.errors import InvalidTransitionError


def take_rules(transition: Transition, rules: Rules) -> None:
    """Apply changed limits. The session is just beginning: nobody works on what is in flight yet."""
    before = transition.state.rules
    # counted from the start, or from the round after which a person last approved more
    limit = transition.state.round_limit + rules.max_rounds - before.max_rounds
    transition.set(rules=rules, round_limit=limit)
    if rules.max_attempts > before.max_attempts or rules.max_resolves > before.max_resolves:
        for task_id, known in list(transition.tasks.items()):  # as where a run ended that was not green
            if known.phase is TaskPhase.FAILED:
                transition.retry(task_id)
    _take_gates(transition)
    _let_rounds_go_on(transition)


def _take_gates(transition: Transition) -> None:
    """Wait for no gate that is off; let one that is on now judge before anything lands."""
    gates = transition.state.rules.gates
    transition.set(gates={gate: record for gate, record in transition.state.gates.items() if gate in gates})
    landing = transition.state.phase is RunPhase.LANDING
    for key, effect in list(transition.in_flight.items()):
        if (isinstance(effect, RunGate) and effect.gate not in gates) or (isinstance(effect, Land) and landing):
            del transition.in_flight[key]
    if landing:
        transition.set(phase=RunPhase.WORKING)
    judging = transition.state.judging
    if judging is not None:
        transition.set(judging=replace(judging, waiting=judging.waiting.intersection(gates)))
        if not judging.waiting.intersection(gates):
            after_round(transition)


def _let_rounds_go_on(transition: Transition) -> None:
    """Withdraw the question whether to continue after the last round, if it is no longer the last one."""
    item = f"rounds.{transition.state.round}"
    if item in transition.state.holds and why_stop(transition) is None:
        transition.set(holds={name: hold for name, hold in transition.state.holds.items() if name != item})
        replan(transition)


#: The item that findings are waived under when nothing asks for it.
FINDINGS = "findings"

#: Stands for what is to be planned anew, where the user wants none of it.
DECLINED = "declined"

#: The most that a planner gets to read of what the user said before; the newest matters most.
CORRECTIONS_CHARS = 24_000

#: How a correction begins.
_SAID = "The user says: "


def plan_waits(state: RunState) -> bool:
    """Return whether a plan waits for approval and was not declined: resuming a run that was only planned approves it."""
    return "plan" in state.holds and state.plan_feedback != DECLINED


def answer(transition: Transition, event: Answered) -> None:
    """Take in a person's answer to something that waits.

    Raises:
        InvalidTransitionError: nothing of that name waits.
    """
    if event.item == FINDINGS:
        _waive_unasked(transition, event)
        return
    holds = dict(transition.state.holds)
    try:
        hold = holds.pop(event.item)
    except KeyError:
        waiting = ", ".join(sorted(holds)) or "nothing"
        raise InvalidTransitionError(f"an answer to {event.item}: what waits is {waiting}") from None
    transition.set(holds=holds)
    if event.item in {"plan", "plan-questions"}:
        asked = f"\n(to your questions: {hold.question})" if event.item == "plan-questions" else ""
        _answer_plan(transition, event, asked)
    elif event.item.startswith("rounds."):
        _answer_rounds(transition, event)
    elif event.item == CANNOT_RUN_ITEM:
        answer_cannot_run(transition, event)
        _ended(transition)
    elif event.item == RED_BASE_ITEM:
        answer_red_base(transition, event)
        _ended(transition)
    elif event.item.startswith(BUDGET_ITEM) and hold.task_id is not None:
        answer_budget(transition, event, hold.task_id)
    elif hold.task_id is not None:
        _answer_task(transition, event, hold, hold.task_id)


def _ended(transition: Transition) -> None:
    """Let a run that nobody drives end as its person decided just now."""
    stop = transition.state.stop
    if stop is not None and transition.state.result is not None:
        transition.set(result=stop.result, result_reason=stop.reason)


def _answer_plan(transition: Transition, event: Answered, asked: str) -> None:
    if event.item == "plan" and event.approved:
        transition.set(phase=RunPhase.WORKING, plan_feedback="")
    elif event.approved or event.text:
        correct_plan(transition, f"{_SAID}{event.text}{asked}", phase=RunPhase.PLANNING)
    else:
        reason = "the plan was declined" if event.item == "plan" else "the questions to the plan were declined"
        transition.set(plan_feedback=DECLINED)
        transition.wind_down(Result.NOT_GREEN, reason)
        if transition.state.result is not None:  # nobody drives the run: this is how it ended
            transition.set(result=Result.NOT_GREEN, result_reason=reason)


def correct_plan(transition: Transition, correction: str, *, phase: RunPhase) -> None:
    """Let the planner's next try begin with everything the user said so far, newest last; `phase` is what the run is in."""
    state = transition.state
    known = state.plan_corrections
    if not known and state.plan_feedback.startswith(_SAID):
        known = (state.plan_feedback,)  # of a version that kept the newest alone
    kept = [_clipped(correction)]
    for older in reversed(known):
        if sum(map(len, kept)) + len(older) > CORRECTIONS_CHARS:
            break
        kept.insert(0, older)
    transition.set(phase=phase, plan_corrections=tuple(kept), plan_feedback="\n\n".join(kept))


def _clipped(text: str) -> str:
    left_out = len(text) - CORRECTIONS_CHARS
    return text if left_out <= 0 else f"{text[:CORRECTIONS_CHARS]}\n[{left_out} characters left out]"


def ask_again(transition: Transition) -> None:
    """Ask the user about a declined plan once more if the run continues all the same."""
    if transition.state.phase is not RunPhase.APPROVING or transition.state.plan_feedback != DECLINED:
        return
    if transition.tasks:
        transition.ask(
            "plan", f"This plan of {count_of(len(transition.tasks), 'task')} was declined. Work on it after all?"
        )
    else:  # its questions were declined: planning begins anew, and may ask again
        feedback = (*transition.state.plan_corrections, "The user does not answer questions; decide, and say so.")
        transition.set(phase=RunPhase.PLANNING, plan_feedback="\n\n".join(feedback))


def _answer_rounds(transition: Transition, event: Answered) -> None:
    word, *names = event.text.replace(",", " ").split() or [""]
    if word == "waive":
        _waive(transition, names)
    elif not event.approved:
        transition.wind_down(Result.NOT_GREEN, "a person decided not to continue with open findings")
        return
    rules = transition.state.rules
    transition.set(round_limit=transition.state.round + rules.max_rounds, weights=())
    for known in transition.open_findings():
        transition.put_finding(replace(known, times=1))
    replan(transition)


def _waive(transition: Transition, names: list[str]) -> None:
    for known in transition.open_findings():
        named = known.finding.id in names
        # security findings are waived by name only: "waive" alone may be a reflex
        if named or (not names and known.finding.category is not Category.SECURITY):
            transition.put_finding(replace(known, status=FindingStatus.WAIVED))
    drop_needless_fixes(transition)


def _waive_unasked(transition: Transition, event: Answered) -> None:
    """Waive findings at a moment when no question about them waits; a question that is left without any is settled."""
    _, *names = event.text.replace(",", " ").split() or [""]
    _waive(transition, names)
    if not transition.open_findings():
        asked = {item: hold for item, hold in transition.state.holds.items() if not item.startswith("rounds.")}
        transition.set(holds=asked)
    if transition.state.result is Result.NOT_GREEN:  # the reason is reported together with what was decided since
        waived = [str(i) for i, known in transition.state.findings.items() if known.status is FindingStatus.WAIVED]
        transition.set(result_reason=f"{transition.state.result_reason}; waived since then: {', '.join(waived)}")


def _answer_task(transition: Transition, event: Answered, hold: Hold, task_id: TaskId) -> None:
    known = transition.tasks[task_id]
    if known.phase is not TaskPhase.ON_HOLD:
        return  # the task was dropped from the plan while the question waited
    if event.item.startswith(ITEM):
        answer_opening(transition, event, known)
        return
    if event.item.startswith("merge."):
        if event.approved:
            transition.move(task_id, TaskPhase.QUEUED, event, reason=APPROVED)
            transition.set(merge_queue=(*transition.state.merge_queue, task_id))
        elif event.text:
            evidence = f"{known.evidence}\n\nThe user did not take this work: {event.text}".strip()
            transition.move(task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=known.attempt)
        else:
            transition.move(task_id, TaskPhase.FAILED, event, reason="its merge was not approved")
        return
    evidence = f"{known.evidence}\n\nAsked: {hold.question}\nThe user's answer: {event.text}".strip()
    transition.move(task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=known.attempt, reason="")


def edit_plan(transition: Transition, event: PlanEdited) -> None:
    """Take in an edited plan.md: new and changed tasks, dropped ones, and failed ones that are to be tried again.

    Tasks that work or are merged stay as they are, but for those at work that the event says begin anew. A green run
    that has tasks again is green no more.

    Raises:
        PlanError: the plan does not hold together.
    """
    plan = event.plan
    for task_id in event.restarted:
        _begin_anew(transition, task_id, event)
    kept = {task.id for task in plan.tasks if task.status is not TaskStatus.DROPPED}
    for task_id, known in list(transition.tasks.items()):
        over = known.phase in TERMINAL - {TaskPhase.FAILED, TaskPhase.BLOCKED}
        if task_id not in kept and not over and known.phase in _DROPPABLE:
            transition.drop(task_id, "taken out of plan.md")
    added = {task.id: _added_paths(transition, task) for task in plan.tasks if task.id in kept}
    for task in plan.tasks:
        known_before = transition.tasks.get(task.id)
        if known_before is not None and known_before.task.paths != task.paths:
            release(transition, task.id)  # what it asked to write is not what it asks for now
    transition.set_tasks((task for task in plan.tasks if task.id in kept), also=event.restarted)
    for task_id, paths in added.items():
        known_now = transition.tasks[task_id]
        if paths and set(paths) <= set(known_now.task.paths):
            transition.tasks[task_id] = replace(known_now, granted=(*known_now.granted, *paths))
    for task in plan.tasks:
        if task.status is TaskStatus.TODO and transition.tasks[task.id].phase is TaskPhase.FAILED:
            transition.retry(task.id)
        edit_budget(transition, task)
    transition.set(later=plan.later, risks=plan.risks)
    if any(known.phase not in {TaskPhase.MERGED, TaskPhase.DROPPED} for known in transition.tasks.values()):
        work_again(transition, "plan.md was edited")
    if transition.state.phase is RunPhase.APPROVING and transition.state.plan_feedback == DECLINED:
        transition.set(plan_feedback="")
        transition.ask("plan", f"Work on this plan of {count_of(len(kept), 'task')}, as you edited it?")


def _added_paths(transition: Transition, task: Task) -> tuple[str, ...]:
    """Return the paths that a person wrote into a task; what a model wrote and a person left there does not count."""
    known = transition.tasks.get(task.id)
    before = set(normal_task(known.task).paths) | set(known.task.paths) if known else set()
    return tuple(path for path in task.paths if path not in before)


def _begin_anew(transition: Transition, task_id: TaskId, event: PlanEdited) -> None:
    """Let the next attempt at a task continue from the current one's work; a question keeps waiting."""
    known = transition.tasks[task_id]
    if known.phase in {TaskPhase.WORKING, TaskPhase.ASKING}:
        end_attempt(transition, task_id)
        transition.move(task_id, TaskPhase.PENDING, event, restore_attempt=known.attempt, reason="changed in plan.md")


def work_again(transition: Transition, why: str) -> None:
    """Let a run that was at its end work on tasks that it has again; its documentation and notes are written once."""
    if transition.state.phase is RunPhase.LANDING:  # what waits to be put into the repository is not all any more
        transition.set(phase=RunPhase.WORKING)
        for key, effect in list(transition.in_flight.items()):
            if isinstance(effect, Land):
                del transition.in_flight[key]
    elif transition.state.result is Result.GREEN:
        transition.set(
            phase=RunPhase.WORKING, result=Result.INTERRUPTED, result_reason=f"{why} after the run was green"
        )


_DROPPABLE = {TaskPhase.PENDING, TaskPhase.BLOCKED, TaskPhase.FAILED, TaskPhase.ON_HOLD}
