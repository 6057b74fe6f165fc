"""Questions about a plan's graph: does it hold together, what waits for what, which chain is the longest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.ids import TaskId
from codexteam.core.plan import Task
from codexteam.errors import PlanCycleError, PlanError

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

    def priority(self, task_id: TaskId) -> tuple[int, int]:
        """Give what to sort by, smallest first: longest remaining chain, then plan order."""
        return -self.weight[task_id], self.order[task_id]


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
    for task_id in reversed(sequence):
        followers = dependents[task_id]
        weight[task_id] = by_id[task_id].effort + max((weight[f] for f in followers), default=0)
        length[task_id] = 1 + max((length[f] for f in followers), default=0)
    depth = max(length.values(), default=0)
    if depth > MAX_DEPTH:
        raise PlanError(f"plan: a chain of {depth} tasks: at most {MAX_DEPTH} are allowed")
    return PlanGraph({key: tuple(value) for key, value in dependents.items()}, weight, order, depth)


def waves(tasks: Sequence[Task]) -> list[list[TaskId]]:
    """Give the tasks in the waves in which they could run if width were no limit and scopes did not matter.

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
    """Give the chain with the most effort, first task first; the plan's own order breaks ties."""
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
        raise PlanCycleError("plan: these tasks wait for each other: " + " -> ".join(_cycle(by_id, set(sequence))))
    return sequence


def _cycle(by_id: Mapping[TaskId, Task], done: set[TaskId]) -> list[str]:
    here = next(task_id for task_id in by_id if task_id not in done)
    trail: list[TaskId] = []
    while here not in trail:
        trail.append(here)
        here = next(dep for dep in by_id[here].deps if dep not in done)
    return [*trail[trail.index(here) :], here]
