"""Guarded paths are opened by people: a task whose paths name some waits until one has decided."""

from dataclasses import replace

from codexteam.core.events import Answered
from codexteam.core.ids import TaskId
from codexteam.core.paths import closed_among
from codexteam.core.state import TaskPhase, TaskState
from codexteam.core.transition import Transition

#: How the items begin that ask for it.
ITEM = "guarded."


def hold_if_closed(transition: Transition, task_id: TaskId) -> bool:
    """Put a task before a person, before any work on it, when its paths name what is guarded and nobody opened."""
    known = transition.tasks[task_id]
    closed = closed_among(known.task.paths, known.granted, transition.state.rules)
    if not closed or transition.state.rules.decisions < 2:
        return False
    listed = ", ".join(closed)
    transition.move(task_id, TaskPhase.ON_HOLD, reason=f"waits for a person to open {listed}")
    whose = "a finding asks for it" if known.from_findings else "the plan names it"
    question = (
        f"{task_id} ({known.task.title}) wants to write what is guarded: {listed}. "
        f"Such files later run, or steer agents, with more rights, and {whose}. Open it for this task?"
    )
    transition.ask(f"{ITEM}{task_id}", question, task_id)
    return True


def release_opened(transition: Transition) -> None:
    """Let tasks begin that waited for what is open by now."""
    for item, hold in list(transition.state.holds.items()):
        if item.startswith(ITEM) and hold.task_id is not None:
            known = transition.tasks[hold.task_id]
            if not closed_among(known.task.paths, known.granted, transition.state.rules):
                release(transition, hold.task_id)


def release(transition: Transition, task_id: TaskId) -> None:
    """Take the question back, and let the task be judged anew."""
    item = f"{ITEM}{task_id}"
    if item in transition.state.holds:
        transition.set(holds={name: hold for name, hold in transition.state.holds.items() if name != item})
        transition.move(task_id, TaskPhase.PENDING, reason="")


def answer_opening(transition: Transition, event: Answered, known: TaskState) -> None:
    """Open what a task named, or let it do without; one that has nothing else to write is not done."""
    closed = closed_among(known.task.paths, known.granted, transition.state.rules)
    if event.approved:
        granted = (*known.granted, *closed)
        transition.move(known.task.id, TaskPhase.PENDING, event, granted=granted, reason="")
        return
    rest = tuple(path for path in known.task.paths if path not in closed)
    if not rest:
        transition.move(known.task.id, TaskPhase.FAILED, event, reason=f"a person did not open {', '.join(closed)}")
        return
    said = f"The user did not open {', '.join(closed)}: do the task without. {event.text}".strip()
    evidence = f"{known.evidence}\n\n{said}".strip()
    task = replace(known.task, paths=rest)
    transition.move(known.task.id, TaskPhase.PENDING, event, task=task, evidence=evidence, reason="")
