"""What a plan would take: width, critical path, tokens and cost, from prices and past runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.ids import TaskId
from codexteam.core.plan import Task
from codexteam.core.plan_graph import critical_path, waves
from codexteam.core.scopes import scopes_overlap
from codexteam.core.usage import Price, Usage


@dataclass(frozen=True, slots=True)
class PastTask:
    """What one task of an earlier run took, over all its attempts."""

    role: str
    effort: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Range:
    """An expected and a worst value; None where they cannot be told."""

    expected: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of a plan."""

    width: int
    """The most tasks that can run at once, scopes respected, within the threads."""
    depth: int
    critical_path: tuple[str, ...]
    history_tasks: int
    """Tasks of earlier runs that the figures rest on; 0 means that there are no figures."""
    tokens: Range
    usd: Range
    per_task: Mapping[TaskId, Range]
    """Task id to its tokens."""


def forecast(
    tasks: Sequence[Task], past: Sequence[PastTask], prices: Mapping[str, Price], *, max_threads: int
) -> Forecast:
    """Judge a plan by what tasks took before: the median of an effort point is expected, the 90th percentile worst.

    `prices` are by role. Gates, scouts and planning are not tasks and not in the figures.
    """
    per_point = sorted(task.usage.total_tokens / task.effort for task in past if task.effort > 0)
    middle, high = _quantile(per_point, 0.5), _quantile(per_point, 0.9)
    per_task = {task.id: Range(_times(middle, task.effort), _times(high, task.effort)) for task in tasks}
    usd = Range(_cost(tasks, past, prices, 0.5), _cost(tasks, past, prices, 0.9))
    total = Range(_sum([r.expected for r in per_task.values()]), _sum([r.worst for r in per_task.values()]))
    layers = waves(tasks)
    return Forecast(
        width=max(
            (min(max_threads, _free_width([t for t in tasks if t.id in set(layer)])) for layer in layers), default=0
        ),
        depth=len(layers),
        critical_path=tuple(critical_path(tasks)),
        history_tasks=len(past),
        tokens=total,
        usd=usd,
        per_task=per_task,
    )


def _free_width(tasks: Sequence[Task]) -> int:
    """Give how many tasks of a wave can run together, taking them in order."""
    running: list[Task] = []
    for task in tasks:
        if not any(scopes_overlap(task.paths, other.paths) for other in running):
            running.append(task)
    return len(running)


def _cost(tasks: Sequence[Task], past: Sequence[PastTask], prices: Mapping[str, Price], part: float) -> float | None:
    costs: list[float | None] = []
    for task in tasks:
        price = prices.get(task.role)
        known = [price.usd(done.usage) for done in past if done.effort > 0] if price else []
        points = sorted(cost / done.effort for cost, done in zip(known, past, strict=False) if cost is not None)
        costs.append(_times(_quantile(points, part), task.effort))
    return _sum(costs)


def _quantile(values: Sequence[float], part: float) -> float | None:
    if not values:
        return None
    place = part * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else value * factor


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None
