"""The plan: a goal and the graph of tasks that reaches it. Immutable; graph questions live in plan_graph."""

from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.ids import FindingId, TaskId


class TaskStatus(StrEnum):
    """Where a task is; the value is the mark between the brackets in plan.md."""

    TODO = " "
    RUNNING = "~"
    DONE = "x"
    FAILED = "!"
    DROPPED = "-"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One criterion of a task."""

    criterion: str
    command: str | None
    """A command that exits 0 when the criterion holds; None when only a reader can judge it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A node of the plan's graph."""

    id: TaskId
    title: str
    description: str = ""
    role: str = "implementer"
    deps: tuple[TaskId, ...] = ()
    """What must be merged before this starts."""
    paths: tuple[str, ...] = ()
    """Globs, relative to the repository's root, that it may write; empty means that it was not said."""
    acceptance: tuple[Acceptance, ...] = ()
    effort: int = 1
    """Relative size, 1 to 5; budgets are shared out by it."""
    fixes: tuple[FindingId, ...] = ()
    status: TaskStatus = TaskStatus.TODO


@dataclass(frozen=True, slots=True)
class Plan:
    """A goal and its tasks, in the order of the file."""

    goal: str
    summary: str = ""
    tasks: tuple[Task, ...] = ()
    later: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
