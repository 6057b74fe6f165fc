"""What runs came to together: figures over all runs of a repository since a moment."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from codexteam.core.ids import JSONObject
from codexteam.report.contest_figures import ContestFigures, summed
from codexteam.report.run_figures import RunFigures


@dataclass(frozen=True, slots=True)
class RoleLatency:
    """How long the agents of a role took, from start to end, in seconds of work."""

    role: str
    agents: int
    median_seconds: float
    p95_seconds: float

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "role": self.role,
            "agents": self.agents,
            "median_seconds": round(self.median_seconds, 3),
            "p95_seconds": round(self.p95_seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class KnownSum:
    """A sum of what is known; some runs may not say."""

    total: float
    unknown_runs: int = 0
    """Runs in which a part is unknown: they are in no figure that rests on this."""
    merged: int = 0
    """Tasks merged in the runs that are in it."""
    tasks: int = 0
    """Tasks of these runs."""

    @property
    def per_merged(self) -> float | None:
        """Return what it is for each merged task; None where none was merged."""
        return self.total / self.merged if self.merged else None

    @property
    def per_task(self) -> float | None:
        """Return what it is for each task, merged or not; None without any."""
        return self.total / self.tasks if self.tasks else None

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "total": self.total,
            "per_task": self.per_task,
            "per_merged_task": self.per_merged,
            "unknown_runs": self.unknown_runs,
        }


@dataclass(frozen=True, slots=True)
class HeldForecast:
    """What forecasts expected against what was spent, over the runs that had both."""

    runs: int
    expected: float
    spent: float

    @property
    def ratio(self) -> float | None:
        """Return what was spent over what was expected; None without a forecast."""
        return self.spent / self.expected if self.expected else None

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"runs": self.runs, "expected": self.expected, "spent": self.spent, "ratio": self.ratio}


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The metrics."""

    runs: int
    by_state: tuple[tuple[str, int], ...]
    unreadable: tuple[str, ...]
    """Runs that this version cannot read: they are in no figure."""
    since_seconds: float | None
    work_seconds: float
    tasks: int
    merged: int
    failed: int
    attempts: int
    attempted: int
    """Tasks that were tried at all."""
    first_try: int
    tokens: KnownSum
    usd: KnownSum
    credits: KnownSum
    cached_share: float | None
    latencies: tuple[RoleLatency, ...]
    rounds: int
    regressions: int
    findings: int
    conflicts: int
    infrastructure_failures: int
    stalls: int
    forecast_usd: HeldForecast
    forecast_tokens: HeldForecast
    best_of: ContestFigures

    @property
    def attempts_per_task(self) -> float | None:
        """Return how many attempts a task took that was tried; None where none was."""
        return self.attempts / self.attempted if self.attempted else None

    @property
    def first_try_rate(self) -> float | None:
        """Return which part of the merged tasks was merged at the first attempt; None where none was merged."""
        return self.first_try / self.merged if self.merged else None

    @property
    def merged_per_hour(self) -> float | None:
        """Return how many tasks were merged in an hour at work; None where nobody worked."""
        return self.merged * 3_600 / self.work_seconds if self.work_seconds else None

    def as_json(self) -> JSONObject:
        """Return them for programs."""
        return {
            "type": "metrics",
            "since": self.since_seconds,
            "runs": self.runs,
            "runs_by_state": dict(self.by_state),
            "unreadable": list(self.unreadable),
            "work_seconds": round(self.work_seconds, 3),
            "tasks": self.tasks,
            "tasks_merged": self.merged,
            "tasks_failed": self.failed,
            "attempts": self.attempts,
            "attempts_per_task": self.attempts_per_task,
            "first_try_rate": self.first_try_rate,
            "merged_per_hour": self.merged_per_hour,
            "tokens": self.tokens.as_json(),
            "usd": self.usd.as_json(),
            "credits": self.credits.as_json(),
            "cached_share": self.cached_share,
            "latency": [latency.as_json() for latency in self.latencies],
            "rounds": self.rounds,
            "regressions_caught": self.regressions,
            "findings": self.findings,
            "conflicts": self.conflicts,
            "infrastructure_failures": self.infrastructure_failures,
            "stalls": self.stalls,
            "best_of": self.best_of.as_json(),
            "forecast": {"usd": self.forecast_usd.as_json(), "tokens": self.forecast_tokens.as_json()},
        }


def metrics_of(
    runs: Sequence[RunFigures], *, unreadable: Sequence[str] = (), since_seconds: float | None = None
) -> RunMetrics:
    """Sum up runs."""
    states: dict[str, int] = {}
    for run in runs:
        states[run.state] = states.get(run.state, 0) + 1
    read = sum(run.input_tokens for run in runs)
    return RunMetrics(
        len(runs),
        tuple(sorted(states.items())),
        tuple(unreadable),
        since_seconds,
        sum(run.work_seconds for run in runs),
        sum(run.tasks for run in runs),
        sum(run.merged for run in runs),
        sum(run.failed for run in runs),
        sum(run.attempts for run in runs),
        sum(run.attempted for run in runs),
        sum(run.first_try for run in runs),
        _summed(runs, lambda run: float(run.tokens) if run.unknown.calls == 0 else None),
        _summed(runs, lambda run: run.usd if run.unknown.calls == 0 else None),
        _summed(runs, lambda run: run.credits if run.unknown.calls == 0 else None),
        sum(run.cached_tokens for run in runs) / read if read else None,
        tuple(_latencies(runs)),
        sum(run.rounds for run in runs),
        sum(run.regressions for run in runs),
        sum(run.findings for run in runs),
        sum(run.conflicts for run in runs),
        sum(run.infrastructure_failures for run in runs),
        sum(run.stalls for run in runs),
        _held((run.expected_usd, run.usd) for run in runs),
        _held((run.expected_tokens, float(run.tokens)) for run in runs),
        summed(run.best_of for run in runs),
    )


def _summed(runs: Iterable[RunFigures], amount_of: Callable[[RunFigures], float | None]) -> KnownSum:
    total, unknown, merged, tasks = 0.0, 0, 0, 0
    for run in runs:
        amount = amount_of(run)
        if amount is None:
            unknown += 1
            continue
        total, merged, tasks = total + amount, merged + run.merged, tasks + run.tasks
    return KnownSum(total, unknown, merged, tasks)


def _held(pairs: Iterable[tuple[float | None, float | None]]) -> HeldForecast:
    known = [(expected, spent) for expected, spent in pairs if expected is not None and spent is not None]
    return HeldForecast(len(known), sum(expected for expected, _ in known), sum(spent for _, spent in known))


def _latencies(runs: Iterable[RunFigures]) -> list[RoleLatency]:
    by_role: dict[str, list[float]] = {}
    for run in runs:
        for agent in run.agents:
            by_role.setdefault(agent.role, []).append(agent.seconds)
    return [
        RoleLatency(role, len(seconds), median(seconds), quantile(seconds, 0.95))
        for role, seconds in sorted(by_role.items())
    ]


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of the values does not pass: one of them, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
