"""An edited plan beside the state of its run: what is to be looked at, what begins anew, and what comes too late."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Plan, Task, TaskStatus
from codexteam.core.plan_md_task import normal_task
from codexteam.core.state import RunState, TaskPhase, TaskState

#: Its work is handed in: what it was asked to do cannot be changed any more.
_HANDED_IN = frozenset({TaskPhase.QUEUED, TaskPhase.INTEGRATING})
_AT_WORK = frozenset({TaskPhase.WORKING, TaskPhase.ASKING})
_ANOTHER = "add a task for what is still to be done"


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit means for the run."""

    changed: tuple[Task, ...]
    """Tasks that are to be worked on as they stand in the file."""
    restarted: tuple[TaskId, ...]
    """Of the tasks that the run has begun, those that continue under a changed text."""
    late: tuple[str, ...]
    """What is not done, and why, a line each."""


def changes_between(before: Sequence[Task], after: Sequence[Task]) -> tuple[str, ...]:
    """Say how a plan differs from the one before it, a line each: what is new, what is worded anew, what is gone."""
    was = {task.id: normal_task(replace(task, status=TaskStatus.TODO)) for task in before}
    now = {task.id: normal_task(replace(task, status=TaskStatus.TODO)) for task in after}
    lines = [f"{task.id} is new: {task.title}" for task in now.values() if task.id not in was]
    lines += [
        f"{task.id} changed ({', '.join(_different(was[task.id], task))}): {task.title}"
        for task in now.values()
        if task.id in was and was[task.id] != task
    ]
    return (*lines, *(f"{task.id} was dropped: {task.title}" for task in was.values() if task.id not in now))


def _different(before: Task, after: Task) -> list[str]:
    return [each.name for each in fields(Task) if getattr(before, each.name) != getattr(after, each.name)]


def compare(edited: Plan, state: RunState, *, marked: Collection[TaskId]) -> Edit:
    """Hold an edited plan against a run that waits; `marked` are the tasks whose marks are the user's own."""
    there = {task.id: task for task in edited.tasks}
    changed = [
        task
        for task in edited.tasks
        if task.status is not TaskStatus.DROPPED
        and ((known := state.tasks.get(task.id)) is None or known.phase is not TaskPhase.MERGED)
    ]
    restarted: list[TaskId] = []
    late: list[str] = []
    for task_id, known in state.tasks.items():
        task = there.get(task_id)
        left_out = task is None or task.status is TaskStatus.DROPPED
        # a budget is taken as it is written, whatever the task does
        before = replace(normal_task(known.task), budget=None)
        other = task is not None and replace(task, status=known.task.status, budget=None) != before
        if known.phase in _AT_WORK | {TaskPhase.ON_HOLD} and (other or left_out):
            if other or known.phase in _AT_WORK:
                restarted.append(task_id)
        elif known.phase is TaskPhase.MERGED or known.phase in _HANDED_IN:
            late += _too_late(known, left_out=left_out, other=other, marked=task_id in marked)
        elif task is not None and task.status is TaskStatus.DONE and task_id in marked:
            late.append(f"{task_id} is marked [x], but nothing of it is merged: it is worked on; [-] drops it")
    return Edit(tuple(changed), tuple(restarted), tuple(late))


def _too_late(known: TaskState, *, left_out: bool, other: bool, marked: bool) -> list[str]:
    task_id = known.task.id
    is_over = "is merged" if known.phase is TaskPhase.MERGED else "has handed in its work, which is about to be merged"
    if left_out:
        return [f"{task_id} {is_over} and stays: {_ANOTHER}"]
    if other:
        return [f"{task_id} {is_over}: your change of it comes too late and is not taken; {_ANOTHER}"]
    if marked and known.phase is TaskPhase.MERGED:
        return [f"{task_id} {is_over}: another mark does not do it again; {_ANOTHER}"]
    return []
