"""What an evaluation came to: figures of each arm, each with how sure it is, and the differences between arms.

An infrastructure failure counts as not resolved in every rate but the one that says that it leaves them out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from codexteam.core.eval_statistics import (
    Draw,
    Interval,
    PairedDifference,
    bootstrap_mean,
    holm,
    paired_difference,
    pass_at_k,
    pass_hat_k,
    wilson,
)
from codexteam.core.eval_task import Arm
from codexteam.core.eval_trials import TrialRecord, TrialVerdict
from codexteam.core.ids import JSONObject, JSONValue

#: The version of the JSON; a field is added without a new one, never taken away or changed in meaning.
EVAL_SCHEMA = 1
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class ArmRate:
    """A share of trials that were resolved."""

    resolved: int
    trials: int
    rate: float
    interval: Interval

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        ends: list[JSONValue] = [self.interval.low, self.interval.high]
        return {"resolved": self.resolved, "trials": self.trials, "rate": self.rate, "interval_95": ends}


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm's figures."""

    arm: Arm
    all: ArmRate
    without_infrastructure: ArmRate
    verdicts: Mapping[TrialVerdict, int]
    pass_at: tuple[float, ...]
    """pass@1, pass@2, ...: the chance that one of so many trials resolves a task, the mean over tasks."""
    pass_hat: tuple[float, ...]
    """pass^1, pass^2, ...: that all of them do."""
    per_resolved: Mapping[str, float | None]
    """`turns`, `tokens`, `usd`, `credits`, `wall_seconds`: what all trials took, for each resolved one; None is unknown."""
    totals: Mapping[str, float | None]
    median_seconds: float
    regressed: int
    regression_known: int
    """Trials of which it is known whether what passed before fails."""
    retries: int = 0
    """How often a trial went on, or was graded again, after its surroundings had failed."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "arm": self.arm.name,
            "kind": self.arm.kind.value,
            "candidates": self.arm.candidates,
            "options": list(self.arm.options),
            **self.all.as_json(),
            "without_infrastructure": self.without_infrastructure.as_json(),
            "verdicts": {verdict.value: self.verdicts.get(verdict, 0) for verdict in TrialVerdict},
            "pass_at_k": list(self.pass_at),
            "pass_hat_k": list(self.pass_hat),
            "per_resolved": dict(self.per_resolved),
            "totals": dict(self.totals),
            "median_wall_seconds": self.median_seconds,
            "regressed": self.regressed,
            "regression_known": self.regression_known,
            "retries": self.retries,
        }


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """Two arms on the tasks that both have done."""

    first: str
    second: str
    found: PairedDifference
    p_value: float
    """Corrected for how many comparisons were made (Holm)."""
    smallest: float | None

    @property
    def is_shown(self) -> bool:
        """Whether a difference is shown."""
        return self.p_value <= SIGNIFICANT

    @property
    def words(self) -> str:
        """Say what it means."""
        if self.is_shown:
            better, worse = (self.first, self.second) if self.found.difference > 0 else (self.second, self.first)
            return f"{better} resolves more than {worse}"
        return "no difference shown"

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        ends: list[JSONValue] = [self.found.interval.low, self.found.interval.high]
        return {
            "first": self.first,
            "second": self.second,
            "tasks": self.found.tasks,
            "difference": self.found.difference,
            "interval_95": ends,
            "first_only": self.found.first_only,
            "second_only": self.found.second_only,
            "p_value": self.found.p_value,
            "p_value_holm": self.p_value,
            "method": self.found.method,
            "smallest_detectable": self.smallest,
            "shown": self.is_shown,
        }


@dataclass(frozen=True, slots=True)
class EvalReport:
    """An evaluation, as far as it is."""

    suite: str
    kind: str
    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    repeats: int
    budget: Mapping[str, float]
    arms: tuple[ArmFigures, ...]
    comparisons: tuple[ArmComparison, ...]
    records: tuple[TrialRecord, ...]
    total: int
    """Trials when all of them are done."""

    def record(self, task: str, arm: str) -> list[TrialRecord]:
        """Return an arm's trials at a task, in order."""
        return [one for one in self.records if (one.task, one.arm) == (task, arm)]

    @property
    def infrastructure(self) -> list[TrialRecord]:
        """Return the trials that the surroundings failed."""
        return [one for one in self.records if one.verdict is TrialVerdict.INFRASTRUCTURE]

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        trials: list[JSONValue] = [trial_json(record) for record in self.records]
        return {
            "type": "eval",
            "schema": EVAL_SCHEMA,
            "suite": self.suite,
            "kind": self.kind,
            "tasks": len(self.tasks),
            "left_out": [{"task": name, "reason": why} for name, why in self.left_out],
            "repeats": self.repeats,
            "budget": dict(self.budget),
            "done": len(self.records),
            "total": self.total,
            "arms": [one.as_json() for one in self.arms],
            "comparisons": [one.as_json() for one in self.comparisons],
            "trials": trials,
        }


def trial_json(record: TrialRecord) -> JSONObject:
    """Return a trial for programs."""
    spend = record.spend
    return {
        "task": record.task,
        "arm": record.arm,
        "repeat": record.repeat,
        "verdict": record.verdict.value,
        "reason": record.reason,
        "runs": list(record.runs),
        "chosen": record.chosen,
        "regressed": record.regressed,
        "retries": record.retries,
        "turns": spend.turns,
        "tokens": spend.tokens,
        "usd": spend.usd,
        "credits": spend.credits,
        "wall_seconds": round(spend.wall_seconds, 3),
    }


@dataclass(frozen=True, slots=True)
class EvalSubject:
    """What was evaluated."""

    suite: str
    kind: str
    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    arms: tuple[Arm, ...]
    repeats: int
    budget: Mapping[str, float]


def eval_report(subject: EvalSubject, records: Iterable[TrialRecord], make_draw: Callable[[], Draw]) -> EvalReport:
    """Sum up what is done; `make_draw` gives what draws for one bootstrap, from its beginning."""
    order = {name: place for place, name in enumerate(subject.tasks)}
    named = {arm.name: place for place, arm in enumerate(subject.arms)}
    kept = [one for one in records if one.task in order and one.arm in named and one.repeat <= subject.repeats]
    kept.sort(key=lambda one: (order[one.task], named[one.arm], one.repeat))
    return EvalReport(
        subject.suite,
        subject.kind,
        subject.tasks,
        subject.left_out,
        subject.repeats,
        subject.budget,
        tuple(
            _figures(arm, [one for one in kept if one.arm == arm.name], subject.repeats, make_draw)
            for arm in subject.arms
        ),
        tuple(_comparisons(subject, kept, make_draw)),
        tuple(kept),
        len(subject.tasks) * len(subject.arms) * subject.repeats,
    )


def _figures(arm: Arm, records: Sequence[TrialRecord], repeats: int, make_draw: Callable[[], Draw]) -> ArmFigures:
    whole = [trials for trials in _by_task(records).values() if len(trials) == repeats]
    counted = [(len(trials), sum(_is_resolved(one) for one in trials)) for trials in whole]
    ks = range(1, repeats + 1) if whole else ()
    sums = _sums(records)
    resolved = sum(map(_is_resolved, records))
    known = [one.regressed for one in records if one.regressed is not None]
    return ArmFigures(
        arm,
        _rate(records, make_draw),
        _rate([one for one in records if one.verdict is not TrialVerdict.INFRASTRUCTURE], make_draw),
        {verdict: sum(one.verdict is verdict for one in records) for verdict in TrialVerdict},
        tuple(fmean(pass_at_k(n, c, k) for n, c in counted) for k in ks),
        tuple(fmean(pass_hat_k(n, c, k) for n, c in counted) for k in ks),
        {name: value / resolved if value is not None and resolved else None for name, value in sums.items()},
        sums,
        median(one.spend.wall_seconds for one in records) if records else 0.0,
        sum(known),
        len(known),
        sum(one.retries for one in records),
    )


def _is_resolved(record: TrialRecord) -> bool:
    return record.verdict is TrialVerdict.RESOLVED


def _by_task(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    found: dict[str, list[TrialRecord]] = {}
    for record in records:
        found.setdefault(record.task, []).append(record)
    return found


def _rate(records: Sequence[TrialRecord], make_draw: Callable[[], Draw]) -> ArmRate:
    by_task = _by_task(records)
    resolved = sum(map(_is_resolved, records))
    if len(records) == len(by_task):
        rate = resolved / len(records) if records else 0.0
        return ArmRate(resolved, len(records), rate, wilson(resolved, len(records)))
    means = [fmean(map(_is_resolved, trials)) for trials in by_task.values()]
    if min(means) == max(means) and min(means) in {0.0, 1.0}:  # whoever draws among equals learns nothing
        return ArmRate(resolved, len(records), means[0], wilson(int(sum(means)), len(means)))
    return ArmRate(resolved, len(records), fmean(means), bootstrap_mean(means, make_draw()))


def _sums(records: Sequence[TrialRecord]) -> dict[str, float | None]:
    spends = [one.spend for one in records]

    def known(values: Sequence[float | None]) -> float | None:
        return None if any(value is None for value in values) else sum(value for value in values if value is not None)

    return {
        "turns": float(sum(one.turns for one in spends)),
        "tokens": float(sum(one.tokens for one in spends)),
        "usd": known([one.usd for one in spends]),
        "credits": known([one.credits for one in spends]),
        "wall_seconds": sum(one.wall_seconds for one in spends),
    }


def _comparisons(
    subject: EvalSubject, records: Sequence[TrialRecord], make_draw: Callable[[], Draw]
) -> list[ArmComparison]:
    """Compare the first arm with each other one, on the tasks of which both have all trials."""
    shares = {
        arm.name: {
            task: fmean(map(_is_resolved, trials))
            for task, trials in _by_task(one for one in records if one.arm == arm.name).items()
            if len(trials) == subject.repeats
        }
        for arm in subject.arms
    }
    first, *others = subject.arms
    made: list[tuple[str, PairedDifference]] = []
    for other in others:
        both = [task for task in subject.tasks if task in shares[first.name] and task in shares[other.name]]
        one, two = ([shares[name][task] for task in both] for name in (first.name, other.name))
        if (found := paired_difference(one, two, make_draw())) is not None:
            made.append((other.name, found))
    corrected = holm([found.p_value for _, found in made])
    return [
        ArmComparison(first.name, name, found, value, found.smallest_detectable)
        for (name, found), value in zip(made, corrected, strict=True)
    ]
