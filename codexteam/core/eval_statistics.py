"""How sure the figures of an evaluation are: intervals of rates, paired differences, and what could have been seen at all.

A *rate* is the share of trials that were resolved. With one trial a task it has Wilson's interval; with several, trials of
one task are alike, so that whole tasks are drawn in a bootstrap. Two arms are compared on the same tasks: by McNemar's
exact test where each task has one trial an arm, else by a bootstrap over tasks of the paired differences. Randomness is an
argument: `draw(n)` returns n numbers below n, drawn with replacement.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TypeAlias

#: Returns n numbers below n, drawn with replacement.
Draw: TypeAlias = Callable[[int], Sequence[int]]

CONFIDENCE = 0.95
#: What a difference must be shown with, where the smallest detectable one is said.
POWER = 0.8
RESAMPLES = 2_000
#: Up to so many tasks the power of McNemar's test is computed exactly.
_EXACT_TASKS = 150


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a rate; all of 0 to 1 without trials."""
    if trials <= 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / trials
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    middle, scale = rate + z * z / (2 * trials), 1 + z * z / trials
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == trials else (middle + spread) / scale
    return Interval(max(0.0, low), min(1.0, high))


def pass_at_k(trials: int, successes: int, k: int) -> float:
    """Return the chance that at least one of k trials succeeds: 1 - C(n-c, k) / C(n, k)."""
    return 1.0 - math.comb(trials - successes, k) / math.comb(trials, k)


def pass_hat_k(trials: int, successes: int, k: int) -> float:
    """Return the chance that all of k trials succeed, "pass^k": C(c, k) / C(n, k)."""
    return math.comb(successes, k) / math.comb(trials, k)


def bootstrap_mean(values: Sequence[float], draw: Draw, *, resamples: int = RESAMPLES) -> Interval:
    """Return the interval of the mean over tasks, by drawing whole tasks; 0 to 1 for fewer than two."""
    if len(values) < 2:
        return Interval(0.0, 1.0)
    means = _resampled(values, draw, resamples)
    found = _percentiles(means)
    return Interval(max(0.0, found.low), min(1.0, found.high))


def _resampled(values: Sequence[float], draw: Draw, resamples: int) -> list[float]:
    """Return means of resamples in order, spread by sqrt(n / (n - 1)): a resample varies less than a sample does."""
    n, mean = len(values), fmean(values)
    wider = math.sqrt(n / (n - 1))
    return sorted(mean + wider * (sum(values[i] for i in draw(n)) / n - mean) for _ in range(resamples))


def _percentiles(ordered: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    out = (1 - confidence) / 2
    last = len(ordered) - 1
    return Interval(ordered[math.floor(out * last)], ordered[math.ceil((1 - out) * last)])


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Two arms on the same tasks: what the first resolves more than the second."""

    tasks: int
    difference: float
    """Of the rates, first less second."""
    interval: Interval
    p_value: float
    method: str
    first_only: int
    """Tasks on which the first arm did better."""
    second_only: int
    spread: float | None = None
    """The standard deviation of the tasks' differences, where tasks have several trials."""

    @property
    def smallest_detectable(self) -> float | None:
        """Return the smallest true difference that such an evaluation shows with a power of 80 %; None: there is none."""
        if self.spread is None:
            return smallest_paired_difference(self.tasks, (self.first_only + self.second_only) / self.tasks)
        z = NormalDist()
        smallest = (z.inv_cdf((1 + CONFIDENCE) / 2) + z.inv_cdf(POWER)) * self.spread / math.sqrt(self.tasks)
        return smallest if 0 < smallest <= 1 else None


def paired_difference(
    first: Sequence[float], second: Sequence[float], draw: Draw, *, resamples: int = RESAMPLES
) -> PairedDifference | None:
    """Compare two arms by each task's share of resolved trials, in the same order; None without a task in common."""
    if not first:
        return None
    gaps = [one - other for one, other in zip(first, second, strict=True)]
    more, less = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    mean = fmean(gaps)
    if all(value in {0.0, 1.0} for value in (*first, *second)):
        both = sum(one == other == 1.0 for one, other in zip(first, second, strict=True))
        return PairedDifference(
            len(gaps),
            mean,
            newcombe(both, more, less, len(gaps)),
            mcnemar_exact(more, less),
            "McNemar's exact test",
            more,
            less,
        )
    if len(gaps) < 2:
        return PairedDifference(1, mean, Interval(-1.0, 1.0), 1.0, "one task", more, less)
    ordered = _resampled(gaps, draw, resamples)
    tail = min(sum(value <= 0 for value in ordered), sum(value >= 0 for value in ordered))
    return PairedDifference(
        len(gaps),
        mean,
        _percentiles(ordered),
        min(1.0, 2 * (tail + 1) / (resamples + 1)),
        "paired bootstrap over tasks",
        more,
        less,
        stdev(gaps),
    )


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: a sign test of the tasks on which the arms differ."""
    n = first_only + second_only
    tail = sum(math.comb(n, i) for i in range(min(first_only, second_only) + 1))
    return min(1.0, 2 * tail / (1 << n))


def newcombe(both: int, first_only: int, second_only: int, tasks: int) -> Interval:
    """Return Newcombe's interval of a paired difference of rates (his method 10), from Wilson's of each rate."""
    neither = tasks - both - first_only - second_only
    ones, others = both + first_only, both + second_only
    one, other = ones / tasks, others / tasks
    of_one, of_other = wilson(ones, tasks), wilson(others, tasks)
    margins = ones * (tasks - ones) * others * (tasks - others)
    cross = both * neither - first_only * second_only
    phi = 0.0
    if margins:
        phi = (max(cross - tasks / 2, 0.0) if cross > 0 else cross) / math.sqrt(margins)

    def away(near: float, far: float) -> float:
        return math.sqrt(max(0.0, near * near - 2 * phi * near * far + far * far))

    return Interval(
        one - other - away(one - of_one.low, of_other.high - other),
        one - other + away(of_one.high - one, other - of_other.low),
    )


def smallest_paired_difference(tasks: int, discordant: float) -> float | None:
    """Return the smallest true difference of two rates that McNemar's test shows with a power of 80 %.

    Args:
        tasks: how many both arms did, once each.
        discordant: the share of tasks on which the arms differ; a difference takes at least as many.
    """
    for step in range(1, tasks + 1):
        difference = step / tasks
        if _mcnemar_power(tasks, max(discordant, difference), difference) >= POWER:
            return difference
    return None


def _mcnemar_power(tasks: int, discordant: float, difference: float) -> float:
    if tasks > _EXACT_TASKS:
        z = NormalDist()
        spread = math.sqrt(max(1e-12, discordant - difference * difference))
        needed = z.inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(discordant)
        return z.cdf((difference * math.sqrt(tasks) - needed) / spread)
    chance = (discordant + difference) / (2 * discordant)
    return sum(_binomial(tasks, m, discordant) * _tail(m, _critical(m), chance) for m in range(1, tasks + 1))


def _critical(pairs: int) -> int:
    """Return how many of so many discordant pairs must be one arm's for a p-value of at most 5 %."""
    tail, count = 1, pairs
    if 2 * tail > (1 - CONFIDENCE) * (1 << pairs):
        return pairs + 1
    while 2 * (tail + math.comb(pairs, count - 1)) <= (1 - CONFIDENCE) * (1 << pairs):
        count -= 1
        tail += math.comb(pairs, count)
    return count


def _tail(trials: int, at_least: int, chance: float) -> float:
    return sum(_binomial(trials, count, chance) for count in range(at_least, trials + 1))


def _binomial(trials: int, count: int, chance: float) -> float:
    if chance >= 1.0:
        return 1.0 if count == trials else 0.0
    return math.comb(trials, count) * chance**count * (1.0 - chance) ** (trials - count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many comparisons were made, by Holm's method."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, worst = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = worst
    return corrected
