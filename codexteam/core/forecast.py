"""What a run will take: width, critical path, tokens, money and credits, from its plan and from earlier runs.

Everything is forecast: scouts, planning, tasks, gates, fixes, documentation and release. A figure rests on what the same
stage took in this repository before. Where there is nothing, it rests on the priors below, which are assumptions and said
to be such. The worst case is what nine of ten of the known cases stayed below, and wider the fewer there are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from codexteam.core.budget_amounts import NANO, Amount, Price, Prices, Unit, Usage, by_unit
from codexteam.core.ids import AGENT_GATES, GateName, TaskId
from codexteam.core.paths import may_clash
from codexteam.core.plan_graph import Task, critical_path, waves
from codexteam.core.run_costs import PastRun, SpentBy, Stage


@dataclass(frozen=True, slots=True)
class Prior:
    """What is assumed of an agent before one like it has worked here."""

    expected: Usage
    worst: Usage
    calls: int
    """By which the usage is divided: a price may depend on how long a call's input is."""


def _prior(expected: tuple[int, int, int], worst: tuple[int, int, int], calls: int) -> Prior:
    """Make one from thousands of tokens: input, the cached part of it, output."""
    made = [Usage(fresh * 1_000, cached * 1_000, out * 1_000) for fresh, cached, out in (expected, worst)]
    return Prior(made[0], made[1], calls)


#: Thousands of tokens of input, of it cached, and of output: expected and worst. Nobody measured them.
PRIORS: Final[Mapping[str, Prior]] = {
    "scout": _prior((120, 80, 4), (400, 250, 12), 8),
    "planner": _prior((150, 100, 12), (600, 400, 40), 8),
    "point of effort": _prior((200, 150, 8), (900, 600, 30), 12),
    "gate": _prior((120, 80, 7), (500, 300, 25), 8),
    "explained failure": _prior((10, 5, 1), (60, 30, 4), 2),
    "documentation": _prior((100, 70, 6), (400, 250, 20), 8),
    "release": _prior((40, 20, 3), (150, 80, 8), 3),
}
#: From so many runs on what none of them met is left out of the worst case.
_MANY_RUNS: Final = 10
#: Passes of the gates beside those that the merges need, and what fixes take for each token of the plan's tasks.
PRIOR_MORE_ROUNDS: Final = (0.5, 3.0)
PRIOR_FIXES: Final = (0.25, 1.0)

#: The role that works for a stage; a task names its own.
_ROLES: Final = {
    Stage.SCOUTS: "explorer",
    Stage.PLANNING: "orchestrator",
    Stage.DOCUMENTATION: "documentation",
    Stage.RELEASE: "release_manager",
}


#: Stages that a run may end well without.
_OPTIONAL: Final = frozenset((Stage.DOCUMENTATION, Stage.RELEASE))


@dataclass(frozen=True, slots=True)
class Range:
    """An expected and a worst value; None if they are unknown."""

    expected: float | None = None
    worst: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """A range in every unit."""

    tokens: Range = field(default_factory=Range)
    usd: Range = field(default_factory=Range)
    credits: Range = field(default_factory=Range)
    runs: int = 0
    """Earlier runs that it rests on; 0 is an assumption."""
    spent: bool = False
    """It is not a forecast: the stage is over."""

    def of(self, unit: Unit) -> Range:
        """Return the range in one unit."""
        return {Unit.TOKENS: self.tokens, Unit.USD: self.usd, Unit.CREDITS: self.credits}[unit]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of a run."""

    width: int
    """The most tasks that can run at once, scopes respected, within the threads."""
    depth: int
    critical_path: tuple[str, ...]
    history_runs: int
    """Earlier runs that they rest on; 0 means that they are assumptions."""
    tokens: Range
    usd: Range
    credits: Range
    """These are of the whole run, from its first scout to its release notes."""
    stages: Mapping[Stage, Cost]
    per_task: Mapping[TaskId, Range]
    """Task id to its tokens."""

    def of(self, unit: Unit) -> Range:
        """Return the range of the whole run in one unit."""
        return {Unit.TOKENS: self.tokens, Unit.USD: self.usd, Unit.CREDITS: self.credits}[unit]


@dataclass(frozen=True, slots=True)
class Team:
    """What a run will ask for beside its tasks, and at which prices."""

    prices: Prices
    models: Mapping[str, str]
    """Role to its model."""
    max_threads: int = 6
    scouts: int = 3
    gates: tuple[GateName, ...] = AGENT_GATES
    max_rounds: int = 5
    batch_size: int = 8
    document: bool = True
    release: bool = True

    def price(self, role: str) -> Price | None:
        """Return a role's price."""
        model = self.models.get(role)
        return None if model is None else self.prices.get(model)

    def price_of(self, spent: SpentBy) -> Price | None:
        """Return what a role's calls would cost today; with its model of then where the role is gone."""
        return self.prices.get(self.models.get(spent.role, spent.model))


def forecast(
    tasks: Sequence[Task], past: Sequence[PastRun], team: Team, *, spent: Sequence[SpentBy] = (), planned: bool = True
) -> Forecast:
    """Judge a whole run by its tasks, by earlier runs, and by what it has spent so far.

    With `planned`, scouts and planning are over: what they spent is known.
    """
    points = [_divided(amount, effort) for run in past for amount, effort in _task_amounts(run, team)]
    per_task = {task.id: _task_cost(task, points, team) for task in tasks}
    stages: dict[Stage, Cost] = {}
    for stage in (Stage.SCOUTS, Stage.PLANNING):
        if planned:
            stages[stage] = _known(_total(spent, team, stage))
        elif stage is Stage.PLANNING or team.scouts:
            stages[stage] = _per_run(stage, past, team)
    of_tasks = _sum(per_task.values())
    stages[Stage.TASKS] = _but(of_tasks, runs=_runs_with(past, Stage.TASKS))
    stages[Stage.GATES] = _gates(len(tasks), past, team)
    stages[Stage.FIXES] = _fixes(of_tasks, past, team)
    if team.document:
        stages[Stage.DOCUMENTATION] = _per_run(Stage.DOCUMENTATION, past, team)
    if team.release:
        stages[Stage.RELEASE] = _per_run(Stage.RELEASE, past, team)
    whole = _sum(stages.values())
    layers = waves(tasks)
    return Forecast(
        width=max(
            (min(team.max_threads, _free_width([t for t in tasks if t.id in set(layer)])) for layer in layers),
            default=0,
        ),
        depth=len(layers),
        critical_path=tuple(critical_path(tasks)),
        history_runs=len(past),
        tokens=whole.tokens,
        usd=whole.usd,
        credits=whole.credits,
        stages=stages,
        per_task={task_id: cost.tokens for task_id, cost in per_task.items()},
    )


def _free_width(tasks: Sequence[Task]) -> int:
    """Return how many tasks of a wave can run together, taking them in order."""
    running: list[Task] = []
    for task in tasks:
        if not any(may_clash(task.paths, other.paths) for other in running):
            running.append(task)
    return len(running)


# what earlier runs say


def _task_amounts(run: PastRun, team: Team) -> list[tuple[Amount, int]]:
    """Return what each merged task of a run took, and its effort."""
    return [
        (_total([one for one in run.spent if one.task_id == task_id], team), effort)
        for task_id, effort in run.efforts.items()
        if effort > 0 and any(one.task_id == task_id for one in run.spent)
    ]


def _task_cost(task: Task, points: Sequence[Amount], team: Team) -> Cost:
    if points:
        return _scaled(_from(points), task.effort)
    return _scaled(_assumed("point of effort", task.role, team), task.effort)


def _per_run(stage: Stage, past: Sequence[PastRun], team: Team) -> Cost:
    """Return what a stage takes that a run has once at most; where runs were without it, that is a part of the figure."""
    kept = [run for run in past if _has(run, stage) or stage in _OPTIONAL]
    seen = [_total(run.spent, team, stage) for run in kept]
    kind = {Stage.SCOUTS: "scout", Stage.PLANNING: "planner"}.get(stage, stage.value)
    cost = _assumed(kind, _ROLES[stage], team)
    if seen:
        without = len(seen) - _runs_with(kept, stage)
        return _at_worst(_from(seen), cost, _unseen(len(seen)) if without else 0.0)
    return _scaled(cost, team.scouts) if stage is Stage.SCOUTS else cost


def _gates(count: int, past: Sequence[PastRun], team: Team) -> Cost:
    """Return what all passes of the gates take: that of one, as often as they are expected to be passed."""
    batches = math.ceil(count / max(1, team.batch_size))
    with_rounds = [run for run in past if run.rounds > 0]
    seen = [_divided(_total(run.spent, team, Stage.GATES), run.rounds) for run in with_rounds]
    more = [float(max(0, run.rounds - run.batches)) for run in with_rounds]
    expected, worst = (_quantile(more, 0.5), _spread_worst(more)) if more else PRIOR_MORE_ROUNDS
    worst = max(worst, PRIOR_MORE_ROUNDS[1] * _unseen(len(more)))
    most = max(batches, team.max_rounds)
    one = _from(seen) if seen else _assumed_gates(team)
    return _scaled(one, batches + expected, min(most, batches + max(worst, expected)))


def _assumed_gates(team: Team) -> Cost:
    asked = [gate for gate in team.gates if gate.purpose is not None]
    costs = [_assumed("explained failure" if gate is GateName.CI else "gate", gate.value, team) for gate in asked]
    return _sum(costs)


def _fixes(of_tasks: Cost, past: Sequence[PastRun], team: Team) -> Cost:
    """Return what findings lead to, as a part of what the plan's tasks take."""
    shares = []
    for run in past:
        planned = _total(run.spent, team, Stage.TASKS).tokens
        if planned:
            shares.append(_total(run.spent, team, Stage.FIXES).tokens / planned)
    expected, worst = (_quantile(shares, 0.5), _spread_worst(shares)) if shares else PRIOR_FIXES
    worst = max(worst, expected, PRIOR_FIXES[1] * _unseen(len(shares)))
    return _but(_scaled(of_tasks, expected, worst), runs=len(shares))


def _has(run: PastRun, stage: Stage) -> bool:
    return any(one.stage is stage for one in run.spent)


def _runs_with(past: Sequence[PastRun], stage: Stage) -> int:
    return sum(_has(run, stage) for run in past)


# ranges


def _from(seen: Sequence[Amount]) -> Cost:
    """Return what is to be expected after these: their middle, and what few of them passed."""
    ranges = {}
    for unit in Unit:
        values = [by_unit(amount)[unit] for amount in seen]
        known = [value / (1 if unit is Unit.TOKENS else NANO) for value in values if value is not None]
        whole = len(known) == len(values)
        ranges[unit] = Range(_quantile(known, 0.5), _spread_worst(known)) if whole else Range()
    return _cost_of(ranges, runs=len(seen))


def _spread_worst(values: Sequence[float]) -> float:
    """Return the worst case: nine of ten stayed below it, and where few are known it lies further out."""
    spread = 1 + 2 / math.sqrt(len(values))
    return max(_quantile(values, 0.9), _quantile(values, 0.5) * spread)


def _unseen(runs: int) -> float:
    """Return which part of an assumed worst case still counts after so many runs: what none of a few met may yet come."""
    return 1 / (1 + runs) if runs < _MANY_RUNS else 0.0


def _at_worst(cost: Cost, assumed: Cost, part: float) -> Cost:
    """Let a cost be no less at worst than a part of an assumed one."""

    def wider(found: Range, other: Range) -> Range:
        if found.worst is None or other.worst is None:
            return found
        return Range(found.expected, max(found.worst, other.worst * part))

    ranges = {unit: wider(cost.of(unit), assumed.of(unit)) for unit in Unit}
    return _cost_of(ranges, runs=cost.runs, spent=cost.spent)


def _assumed(kind: str, role: str, team: Team) -> Cost:
    prior, price = PRIORS[kind], team.price(role)
    expected, worst = (
        by_unit(SpentBy(Stage.TASKS, role, "", usage, prior.calls).amount(price))
        for usage in (prior.expected, prior.worst)
    )
    return _cost_of({unit: _range(expected[unit], worst[unit], unit) for unit in Unit})


def _range(expected: int | None, worst: int | None, unit: Unit) -> Range:
    factor = 1 if unit is Unit.TOKENS else NANO
    return Range(None if expected is None else expected / factor, None if worst is None else worst / factor)


def _cost_of(ranges: Mapping[Unit, Range], *, runs: int = 0, spent: bool = False) -> Cost:
    return Cost(ranges[Unit.TOKENS], ranges[Unit.USD], ranges[Unit.CREDITS], runs, spent)


def _known(amount: Amount) -> Cost:
    values = by_unit(amount)
    return _cost_of({unit: _range(values[unit], values[unit], unit) for unit in Unit}, spent=True)


def _total(spent: Iterable[SpentBy], team: Team, stage: Stage | None = None) -> Amount:
    """Return what calls come to, or those of one stage, at a team's prices."""
    amounts = (one.amount(team.price_of(one)) for one in spent if stage is None or one.stage is stage)
    return sum(amounts, Amount())


def _divided(amount: Amount, by: int) -> Amount:
    return Amount(
        round(amount.tokens / by),
        None if amount.nano_usd is None else round(amount.nano_usd / by),
        None if amount.nano_credits is None else round(amount.nano_credits / by),
    )


def _scaled(cost: Cost, expected: float, worst: float | None = None) -> Cost:
    high = expected if worst is None else worst

    def times(found: Range) -> Range:
        return Range(
            None if found.expected is None else found.expected * expected,
            None if found.worst is None else found.worst * high,
        )

    return Cost(times(cost.tokens), times(cost.usd), times(cost.credits), cost.runs, cost.spent)


def _but(cost: Cost, *, runs: int) -> Cost:
    return Cost(cost.tokens, cost.usd, cost.credits, runs, cost.spent)


def _sum(costs: Iterable[Cost]) -> Cost:
    listed = list(costs)

    def added(unit: Unit) -> Range:
        ranges = [cost.of(unit) for cost in listed]
        expected = [each.expected for each in ranges if each.expected is not None]
        worst = [each.worst for each in ranges if each.worst is not None]
        whole = len(expected) == len(worst) == len(ranges)
        return Range(sum(expected), sum(worst)) if whole else Range()

    return Cost(added(Unit.TOKENS), added(Unit.USD), added(Unit.CREDITS), runs=min((c.runs for c in listed), default=0))


def _quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
