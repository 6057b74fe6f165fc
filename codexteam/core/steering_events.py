"""What people ask of a run beside answers, as events. `core.steering` takes them in; `app.requests` keeps them until then."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from codexteam.core.budget_text import TaskBudget
from codexteam.core.codec import StoredForm, stored
from codexteam.core.findings import Finding
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Task

#: Who a message is for that is for no task.
PLANNER: Final = "planner"


@stored(StoredForm(tag="kind", name="say", names={"to": "task"}))
@dataclass(frozen=True, slots=True)
class MessageLeft:
    """A person says something to who works on a task, now or next, or to the planner."""

    to: str
    """A task's id, or `PLANNER`."""
    text: str


@stored(StoredForm(tag="kind", name="retry"))
@dataclass(frozen=True, slots=True)
class RetryRequested:
    """A task is to be tried again from the work that there is; empty words leave what was asked for before."""

    task_id: TaskId
    model: str = ""
    effort: str = ""


@stored(StoredForm(tag="kind", name="drop"))
@dataclass(frozen=True, slots=True)
class DropRequested:
    """A task is not to be done."""

    task_id: TaskId
    dependents: bool = False
    """Nor are those that wait for it; without this a task that others wait for is not dropped."""


@stored(StoredForm(tag="kind", name="add"))
@dataclass(frozen=True, slots=True)
class AddRequested:
    """A task more is to be done."""

    task: Task
    """Its id does not count: it gets the next free one."""


@stored(StoredForm(tag="kind", name="priority"))
@dataclass(frozen=True, slots=True)
class PriorityRequested:
    """A task is to be started before others, or after them."""

    task_id: TaskId
    priority: int


@stored(StoredForm(tag="kind", name="task-budget"))
@dataclass(frozen=True, slots=True)
class TaskBudgetSet:
    """A person says what a task may use over all its attempts."""

    task_id: TaskId
    budget: TaskBudget


@stored(StoredForm(tag="kind", name="run-budget"))
@dataclass(frozen=True, slots=True)
class RunBudgetSet:
    """A person says what the run may use in all; None leaves a limit as it is.

    The limits themselves are settings, and stored as such with this event.
    """

    usd: float | None = None
    credits: float | None = None
    tokens: int | None = None
    words: str = ""
    """All limits of the run from here on."""


@stored(StoredForm(tag="kind", name="feedback"))
@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    """People who may write to the repository, or its checks, want what the run made changed."""

    place: str
    """Where, in words: `pull request 7`."""
    findings: tuple[Finding, ...]
    """Each with its source."""


Steering: TypeAlias = (
    MessageLeft
    | RetryRequested
    | DropRequested
    | AddRequested
    | PriorityRequested
    | TaskBudgetSet
    | RunBudgetSet
    | FeedbackGiven
)
