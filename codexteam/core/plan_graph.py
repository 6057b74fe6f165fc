"""Questions about a plan's graph: does it hold together, what waits for what, which chain is the longest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from codexteam.core.budget_text import TaskBudget
from codexteam.core.ids import FindingId, TaskId
from codexteam.errors import PlanCycleError, PlanError


class TaskStatus(StrEnum):
    """Where a task is; the value is the mark between the brackets in plan.md."""

    TODO = " "
    RUNNING = "~"
    DONE = "x"
    FAILED = "!"
    DROPPED = "-"


class OwedTests(StrEnum):
    """What a task owes in tests; the value stands in plan.md."""

    REQUIRED = "required"
    """A test that fails without its code."""
    EXISTING = "existing"
    """Nothing new: tests that are there run its code."""
    NONE = "none"


class TaskRisk(StrEnum):
    """How much may go wrong with a task; the value stands in plan.md."""

    NORMAL = "normal"
    HIGH = "high"
    """Its first attempt has already what others get after failed ones."""


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
    """Globs, relative to the repository's root, that it may write; empty means any, so that it works alone."""
    acceptance: tuple[Acceptance, ...] = ()
    effort: int = 1
    """Relative size, 1 to 5; budgets are shared out by it."""
    fixes: tuple[FindingId, ...] = ()
    status: TaskStatus = TaskStatus.TODO
    budget: TaskBudget | None = None
    """What it may use over all its attempts; None where only the limits of all tasks count."""
    priority: int = 0
    """What a person said of its place among others: it is started before those of a lower number."""
    tests: OwedTests | None = None
    """None: `core.untested` says what it owes."""
    model: str = ""
    """What the plan has its attempts use in place of its role's; so is `reasoning`, an effort of the model."""
    reasoning: str = ""
    risk: TaskRisk = TaskRisk.NORMAL


@dataclass(frozen=True, slots=True)
class Plan:
    """A goal and its tasks, in the order of the file."""

    goal: str
    summary: str = ""
    tasks: tuple[Task, ...] = ()
    later: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    answer: str = ""
    """To a goal that only asks a question: then there are no tasks."""
    plan_only: bool = False
    """The goal asks for a plan, and for nothing to be done."""
    probes: tuple[str, ...] = ()
    """What scouts are to look at first: then there are no tasks yet."""


#: A role needs to finish before the next; deeper than this no plan of people or models is meant.
MAX_DEPTH = 1_000


@dataclass(frozen=True, slots=True)
class PlanGraph:
    """A plan's tasks with what follows from their dependencies. Made by `graph_of`, which checks them."""

    dependents: Mapping[TaskId, tuple[TaskId, ...]]
    """Task to the tasks that wait for it, in plan order."""
    weight: Mapping[TaskId, int]
    """Task to the effort of the longest chain that starts with it, its own effort included."""
    order: Mapping[TaskId, int]
    """Task to its place in the plan, from 0."""
    depth: int
    """Tasks in the longest chain by count."""
    urgency: Mapping[TaskId, int] = field(default_factory=dict)
    """The priority of each task that has one, or that another with a higher one waits for."""

    def priority(self, task_id: TaskId) -> tuple[int, int, int]:
        """Return what to sort by, smallest first: what a person said, longest remaining chain, then plan order."""
        return -self.urgency.get(task_id, 0), -self.weight[task_id], self.order[task_id]


def graph_of(tasks: Sequence[Task], *, max_tasks: int = 100_000) -> PlanGraph:
    """Check a plan's tasks and give their graph.

    Raises:
        PlanError: a duplicate id, an unknown dependency, a task that waits for itself, too many tasks, too deep.
        PlanCycleError: tasks that wait for each other, spelled out.
    """
    if len(tasks) > max_tasks:
        raise PlanError(
            f"plan: {len(tasks)} tasks: at most {max_tasks} are allowed", hint="raise codexteam.limits.max_tasks"
        )
    order: dict[TaskId, int] = {}
    for place, task in enumerate(tasks):
        if task.id in order:
            raise PlanError(f"plan: task {task.id} is there twice: ids are unique")
        order[task.id] = place
    dependents: dict[TaskId, list[TaskId]] = {task.id: [] for task in tasks}
    for task in tasks:
        for dep in task.deps:
            if dep == task.id:
                raise PlanCycleError(f"plan: task {task.id} waits for itself", task_id=task.id)
            if dep not in order:
                what = f"plan: task {task.id} waits for {dep}, which is not in the plan"
                raise PlanError(what, hint="name a task that is there, or take it out of `after`", task_id=task.id)
            dependents[dep].append(task.id)
    by_id = {task.id: task for task in tasks}
    sequence = _topological(by_id, dependents)
    weight: dict[TaskId, int] = {}
    length: dict[TaskId, int] = {}
    urgency: dict[TaskId, int] = {}
    for task_id in reversed(sequence):
        followers = dependents[task_id]
        if urgent := _urgency(by_id[task_id], [urgency.get(follower, 0) for follower in followers]):
            urgency[task_id] = urgent
        weight[task_id] = by_id[task_id].effort + max((weight[f] for f in followers), default=0)
        length[task_id] = 1 + max((length[f] for f in followers), default=0)
    depth = max(length.values(), default=0)
    if depth > MAX_DEPTH:
        raise PlanError(f"plan: a chain of {depth} tasks: at most {MAX_DEPTH} are allowed")
    return PlanGraph({key: tuple(value) for key, value in dependents.items()}, weight, order, depth, urgency)


def _urgency(task: Task, followers: Sequence[int]) -> int:
    """Return a task's own priority, or that of the most urgent of those that wait for it."""
    return max((urgent for urgent in followers if urgent > max(0, task.priority)), default=task.priority)


def waves(tasks: Sequence[Task]) -> list[list[TaskId]]:
    """Return the tasks in the waves in which they could run with unlimited width and no regard for scopes.

    Raises:
        PlanError: see `graph_of`.
    """
    graph_of(tasks)
    level: dict[TaskId, int] = {}
    by_id = {task.id: task for task in tasks}
    for task_id in _topological(by_id, _dependents(tasks)):
        level[task_id] = 1 + max((level[dep] for dep in by_id[task_id].deps), default=-1)
    result: list[list[TaskId]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for task in tasks:
        result[level[task.id]].append(task.id)
    return result


def critical_path(tasks: Sequence[Task]) -> list[TaskId]:
    """Return the chain with the most effort, first task first; the plan's own order breaks ties."""
    graph = graph_of(tasks)
    path: list[TaskId] = []
    candidates: Iterable[TaskId] = [task.id for task in tasks if not task.deps]
    while best := min(candidates, key=graph.priority, default=None):
        path.append(best)
        candidates = graph.dependents[best]
    return path


def _dependents(tasks: Sequence[Task]) -> dict[TaskId, list[TaskId]]:
    dependents: dict[TaskId, list[TaskId]] = {task.id: [] for task in tasks}
    for task in tasks:
        for dep in task.deps:
            dependents[dep].append(task.id)
    return dependents


def _topological(by_id: Mapping[TaskId, Task], dependents: Mapping[TaskId, Sequence[TaskId]]) -> list[TaskId]:
    missing = {task_id: len(task.deps) for task_id, task in by_id.items()}
    sequence = [task_id for task_id, count in missing.items() if count == 0]
    for task_id in sequence:  # grows while it is read: Kahn's algorithm
        for follower in dependents[task_id]:
            missing[follower] -= 1
            if missing[follower] == 0:
                sequence.append(follower)
    if len(sequence) != len(by_id):
        cycle = _cycle(by_id, set(sequence))
        raise PlanCycleError("plan: these tasks wait for each other: " + " -> ".join(cycle), task_id=cycle[0])
    return sequence


def _cycle(by_id: Mapping[TaskId, Task], done: set[TaskId]) -> list[str]:
    here = next(task_id for task_id in by_id if task_id not in done)
    trail: list[TaskId] = []
    while here not in trail:
        trail.append(here)
        here = next(dep for dep in by_id[here].deps if dep not in done)
    return [*trail[trail.index(here) :], here]
