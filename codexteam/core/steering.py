"""What people ask of a run beside answers: messages, another try, one task less or more, another order, more budget.

Each is refused with what to do instead where it makes no sense; nothing of what was done so far is lost by any of them.
A task that is dropped or tried again while an agent works on it loses that agent, and its work stays: the next attempt
begins with it. Work that is handed in is merged or sent back before its task can be asked for anything else.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NoReturn

from codexteam.core.approvals import correct_plan, work_again
from codexteam.core.attempt_ends import end_attempt
from codexteam.core.dispatch import next_id
from codexteam.core.effects import Clarify, MakePlan, Replan, Result, Work
from codexteam.core.feedback import take_feedback
from codexteam.core.ids import TaskId
from codexteam.core.opening import ITEM
from codexteam.core.plan_graph import TaskStatus
from codexteam.core.plan_md_task import normal_task
from codexteam.core.state import RunPhase, Shelved, TaskPhase, TaskState
from codexteam.core.steering_events import (
    PLANNER,
    AddRequested,
    DropRequested,
    FeedbackGiven,
    MessageLeft,
    PriorityRequested,
    RetryRequested,
    RunBudgetSet,
    Steering,
    TaskBudgetSet,
)
from codexteam.core.task_budgets import set_budget
from codexteam.core.text import clean_line
from codexteam.core.transition import Transition
from codexteam.errors import UsageError

#: The reason of a task that a person dropped.
DROPPED: Final = "a person dropped it"
#: The reason of a task that a person has tried again.
RETRIED: Final = "a person wants it tried again"

_HANDED_IN = frozenset({TaskPhase.QUEUED, TaskPhase.INTEGRATING})
_ADD = 'to have more done: codexteam add "..."'
_BEFORE_PLAN = frozenset({RunPhase.NEW, RunPhase.PREPARING, RunPhase.SCOUTING, RunPhase.PLANNING})


def steer(transition: Transition, event: Steering) -> None:
    """Take in what a person asks for.

    Raises:
        UsageError: it makes no sense now; says what does.
        PlanError: the plan would not hold together with it.
    """
    _refuse_over(transition, event)
    match event:
        case MessageLeft(to=to) if to == PLANNER:
            _tell_planner(transition, event.text)
        case MessageLeft():
            _leave_message(transition, event)
        case RetryRequested():
            _retry(transition, event)
        case DropRequested():
            _drop(transition, event)
        case AddRequested():
            _add(transition, event)
        case PriorityRequested():
            _prioritize(transition, event)
        case TaskBudgetSet():
            _set_task_budget(transition, event)
        case FeedbackGiven():
            take_feedback(transition, event)
        case RunBudgetSet():
            release_shelved(transition, lambda shelved: shelved.budget_scope.scope == "run")


def release_shelved(transition: Transition, wanted: Callable[[Shelved], bool]) -> None:
    """Hand out again what waits for budget, where the run is under way; else `Continued` does."""
    state = transition.state
    if state.stop is not None or state.paused or state.result is not None:
        return
    for key, shelved in state.shelved.items():
        if wanted(shelved):
            transition.drop_shelved(key)
            transition.hand_out(shelved.effect)


def _refuse_over(transition: Transition, event: Steering) -> None:
    result = transition.state.result
    if result is Result.ANSWERED:
        raise UsageError("the goal was a question, and is answered", hint='begin another run: codexteam run "goal"')
    if result is not Result.GREEN or isinstance(event, AddRequested | FeedbackGiven):
        return
    if isinstance(event, RetryRequested) and _known(transition, event.task_id).phase is TaskPhase.DROPPED:
        return
    raise UsageError("the run is finished and green: nothing of it is left to do", hint=_ADD)


def _known(transition: Transition, task_id: str) -> TaskState:
    known = transition.tasks.get(TaskId(task_id))
    if known is None:
        there = ", ".join([*transition.tasks][:20]) or "none yet"
        raise UsageError(
            f"there is no task {clean_line(task_id)}; there are {there}", hint="codexteam status lists them"
        )
    return known


# messages


def _leave_message(transition: Transition, event: MessageLeft) -> None:
    known = _known(transition, event.to)
    task_id = known.task.id
    match known.phase:
        case TaskPhase.MERGED:
            _refuse(f"{task_id} is merged: no agent works on it any more", _ADD)
        case TaskPhase.QUEUED | TaskPhase.INTEGRATING:
            _refuse(f"{task_id} has handed in its work, which is about to be merged: nobody would read it", _ADD)
        case TaskPhase.WORKING if known.open_contest is not None and not known.open_contest.at_work:
            _refuse(f"all attempts at {task_id} have handed in their work: nobody would read it", _ADD)
        case TaskPhase.DROPPED:
            _refuse(f"{task_id} is dropped: no agent works on it", f"codexteam retry {task_id} takes it up again")
        case TaskPhase.ON_HOLD:
            item = next((name for name, hold in transition.state.holds.items() if hold.task_id == task_id), "")
            _refuse(f"{task_id} waits for an answer", f'codexteam answer {item} "..."')
        case _:
            transition.tasks[task_id] = replace(known, said=(*known.said, event.text))


def _tell_planner(transition: Transition, text: str) -> None:
    state = transition.state
    begun = (*transition.in_flight.values(), *(shelved.effect for shelved in state.shelved.values()))
    at_work = any(isinstance(effect, MakePlan | Replan) for effect in begun)
    if at_work:
        transition.set(planner_mail=(*state.planner_mail, text))
    if state.phase in _BEFORE_PLAN:
        correct_plan(transition, f"The user says: {text}", phase=state.phase)
        if state.plan_feedback:  # which says also why a plan was rejected
            transition.set(plan_feedback=f"{state.plan_feedback}\n\nThe user says: {text}")
    elif state.phase is RunPhase.APPROVING:
        item = "plan" if "plan" in state.holds else "plan-questions"
        _refuse("the planner waits for your word on what it made", f'codexteam answer {item} "..."')
    elif not at_work:
        transition.set(planner_notes=(*state.planner_notes, text))


# tasks


def _retry(transition: Transition, event: RetryRequested) -> None:
    known = _known(transition, event.task_id)
    task_id = known.task.id
    wanted = event.model or event.effort
    match known.phase:
        case TaskPhase.MERGED:
            _refuse(f"{task_id} is merged: its work is on the branch", _ADD)
        case TaskPhase.QUEUED | TaskPhase.INTEGRATING:
            _refuse(f"{task_id} has handed in its work, which is about to be merged", "wait for what becomes of it")
        case TaskPhase.BLOCKED:
            bad = ", ".join(dep for dep in known.task.deps if transition.tasks[dep].phase is not TaskPhase.MERGED)
            _refuse(
                f"{task_id} was not begun: it {known.reason or f'waits for {bad}'}", _for_blocked(transition, known)
            )
        case TaskPhase.PENDING if not wanted:
            _refuse(f"{task_id} waits for its turn: it is tried without being asked", f"codexteam priority {task_id}")
        case TaskPhase.ON_HOLD if f"{ITEM}{task_id}" in transition.state.holds:
            item = f"{ITEM}{task_id}"
            _refuse(f"{task_id} waits for your word before it begins", f"codexteam inbox shows {item}")
        case _:
            _begin_again(transition, known, event)


def _for_blocked(transition: Transition, known: TaskState) -> str:
    failed = (dep for dep in known.task.deps if transition.tasks[dep].phase in {TaskPhase.FAILED, TaskPhase.DROPPED})
    dep = next(failed, None)
    return f"codexteam retry {dep}" if dep else "codexteam status shows what it waits for"


def _begin_again(transition: Transition, known: TaskState, event: RetryRequested) -> None:
    task_id = known.task.id
    restore = known.attempt or None
    match known.phase:
        case TaskPhase.WORKING | TaskPhase.ASKING:
            end_attempt(transition, task_id)
            _withdraw_questions(transition, task_id)
            transition.move(task_id, TaskPhase.PENDING, event, restore_attempt=restore, reason=RETRIED)
        case TaskPhase.ON_HOLD:
            _withdraw_questions(transition, task_id)
            transition.move(task_id, TaskPhase.PENDING, restore_attempt=restore, reason=RETRIED)
        case TaskPhase.FAILED | TaskPhase.DROPPED:
            transition.retry(task_id)
        case _:
            pass
    now = transition.tasks[task_id]
    transition.tasks[task_id] = replace(
        now,
        failures=0,
        resolves=0,
        unserved=0,
        model=event.model or now.model,
        model_effort=event.effort or now.model_effort,
    )
    work_again(transition, "a task is tried again")


def _withdraw_questions(transition: Transition, task_id: TaskId) -> None:
    holds = {item: hold for item, hold in transition.state.holds.items() if hold.task_id != task_id}
    transition.set(holds=holds)


def _drop(transition: Transition, event: DropRequested) -> None:
    known = _known(transition, event.task_id)
    _refuse_drop(known)
    waiting = _living_dependents(transition, known.task.id)
    if waiting and not event.dependents:
        listed = ", ".join(waiting)
        what = "waits" if len(waiting) == 1 else "wait"
        _refuse(
            f"{listed} {what} for {known.task.id}, and could never begin without it",
            f"codexteam drop {known.task.id} --with-dependents drops {listed} as well; or take {known.task.id} out of "
            "their `after` in plan.md first",
        )
    for task_id in waiting:
        _refuse_drop(transition.tasks[task_id])
    dropped = {known.task.id, *waiting}
    if all(other.phase is TaskPhase.DROPPED or task_id in dropped for task_id, other in transition.tasks.items()):
        _refuse(
            f"without {known.task.id} nothing is left of the plan",
            "codexteam stop ends the run, codexteam clean gives it up; or add what is to be done first: codexteam add",
        )
    for task_id in reversed([known.task.id, *waiting]):
        _take_out(transition, task_id, event)


def _refuse_drop(known: TaskState) -> None:
    task_id = known.task.id
    match known.phase:
        case TaskPhase.MERGED:
            undo = f'codexteam add "Take back {task_id}: ..."'
            _refuse(f"{task_id} is merged: its work is on the branch", f"to have it undone: {undo}")
        case TaskPhase.INTEGRATING:
            undo = f'codexteam add "Take back {task_id}: ..."'
            _refuse(
                f"{task_id} is being merged and checked, together with what stands behind it",
                f"wait for what becomes of it (codexteam status); once it is merged, to have it undone: {undo}",
            )
        case TaskPhase.DROPPED:
            _refuse(f"{task_id} is dropped already", f"codexteam retry {task_id} takes it up again")
        case _:
            pass


def _living_dependents(transition: Transition, task_id: TaskId) -> list[TaskId]:
    """Return the tasks that wait for one, directly or through others, and are not dropped, in plan order."""
    found: set[TaskId] = set()
    left = [task_id]
    while left:
        for follower in transition.state.graph.dependents.get(left.pop(), ()):
            if follower not in found and transition.tasks[follower].phase is not TaskPhase.DROPPED:
                found.add(follower)
                left.append(follower)
    return [each for each in transition.tasks if each in found]


def _take_out(transition: Transition, task_id: TaskId, event: DropRequested) -> None:
    known = transition.tasks[task_id]
    at_work = known.phase in {TaskPhase.WORKING, TaskPhase.ASKING}
    if at_work:
        end_attempt(transition, task_id)
    if known.phase is TaskPhase.QUEUED:
        transition.set(merge_queue=tuple(each for each in transition.state.merge_queue if each != task_id))
    _withdraw_questions(transition, task_id)
    moved_by = event if at_work or known.phase is TaskPhase.QUEUED else None
    # what was begun of it is where it would be taken up again
    restore = known.attempt or None
    transition.move(task_id, TaskPhase.DROPPED, moved_by, reason=DROPPED, restore_attempt=restore)


def _add(transition: Transition, event: AddRequested) -> None:
    state = transition.state
    if state.phase in _BEFORE_PLAN:
        _refuse("there is no plan yet that a task could be added to", 'tell the planner: codexteam say planner "..."')
    if len(transition.tasks) >= state.rules.max_tasks:
        limit = state.rules.max_tasks
        _refuse(f"the run has {len(transition.tasks)} tasks, and may have {limit}", "-c codexteam.limits.max_tasks=N")
    task = normal_task(replace(event.task, id=next_id(transition), status=TaskStatus.TODO, fixes=()))
    for dep in task.deps:
        if _known(transition, dep).phase is TaskPhase.DROPPED:
            _refuse(f"{dep} is dropped: what waits for it never begins", f"codexteam retry {dep}, or leave --after out")
    transition.set_tasks([task])
    transition.tasks[task.id] = replace(transition.tasks[task.id], granted=task.paths)
    work_again(transition, f"{task.id} was added")


def _prioritize(transition: Transition, event: PriorityRequested) -> None:
    known = _known(transition, event.task_id)
    if known.phase in {TaskPhase.MERGED, TaskPhase.DROPPED} | _HANDED_IN:
        done = "has handed in its work" if known.phase in _HANDED_IN else f"is {known.phase.value}"
        _refuse(f"{known.task.id} {done}: its place does not matter any more", "codexteam status shows what is left")
    changed = replace(known.task, priority=event.priority)
    transition.set_tasks([changed], also=[known.task.id])


def _set_task_budget(transition: Transition, event: TaskBudgetSet) -> None:
    known = _known(transition, event.task_id)
    task_id = known.task.id
    if known.phase in {TaskPhase.MERGED, TaskPhase.DROPPED}:
        _refuse(f"{task_id} is {known.phase.value}: it spends nothing any more", _ADD)
    set_budget(transition, task_id, event.budget)
    # its question is answered by this, where it was about its budget
    release_shelved(transition, lambda shelved: _is_of(shelved, task_id) and shelved.budget_scope.scope == "task")


def _is_of(shelved: Shelved, task_id: TaskId) -> bool:
    return isinstance(shelved.effect, Work | Clarify) and shelved.effect.task_id == task_id


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint=hint)
