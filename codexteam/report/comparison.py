"""Two runs side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.ids import JSONObject
from codexteam.report.run_figures import RunFigures
from codexteam.report.run_report import RunReport
from codexteam.report.spending import SpentRow


class FigureUnit(StrEnum):
    """How a figure is to be read."""

    COUNT = "count"
    SECONDS = "seconds"
    TOKENS = "tokens"
    USD = "usd"
    CREDITS = "credits"
    SHARE = "share"
    """Of 1."""


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of both runs; None where it is unknown."""

    name: str
    unit: FigureUnit
    first: float | None
    second: float | None

    @property
    def ratio(self) -> float | None:
        """Return the second over the first; None where that says nothing."""
        if self.first is None or self.second is None or self.first <= 0:
            return None
        return self.second / self.first

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "figure": self.name,
            "unit": self.unit.value,
            "first": self.first,
            "second": self.second,
            "ratio": self.ratio,
        }


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs."""

    first: RunReport
    second: RunReport
    figures: tuple[ComparedFigure, ...]
    roles: tuple[ComparedFigure, ...]
    """Cost by role, in money where both are known, else in tokens."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "type": "comparison",
            "schema": 1,
            "first": self.first.run.row_json(),
            "second": self.second.run.row_json(),
            "figures": [figure.as_json() for figure in self.figures],
            "roles": [figure.as_json() for figure in self.roles],
        }


def _total_path(report: RunReport) -> float:
    return sum(step.seconds for step in report.path)


_FIGURES: tuple[tuple[str, FigureUnit, Callable[[RunFigures], float | None]], ...] = (
    ("time at work", FigureUnit.SECONDS, lambda run: run.work_seconds),
    ("tasks merged", FigureUnit.COUNT, lambda run: run.merged),
    ("tasks failed", FigureUnit.COUNT, lambda run: run.failed),
    ("attempts", FigureUnit.COUNT, lambda run: run.attempts),
    ("merged at the first try", FigureUnit.SHARE, lambda run: run.first_try_rate),
    ("rounds of gates", FigureUnit.COUNT, lambda run: run.rounds),
    ("findings", FigureUnit.COUNT, lambda run: run.findings),
    ("findings left open", FigureUnit.COUNT, lambda run: run.findings_open),
    ("regressions caught by gates", FigureUnit.COUNT, lambda run: run.regressions),
    ("conflicts", FigureUnit.COUNT, lambda run: run.conflicts),
    ("infrastructure failures", FigureUnit.COUNT, lambda run: run.infrastructure_failures),
    ("stalls", FigureUnit.COUNT, lambda run: run.stalls),
    ("waiting for models, all agents", FigureUnit.SECONDS, lambda run: run.model_seconds),
    ("running commands, all agents", FigureUnit.SECONDS, lambda run: run.command_seconds),
    ("waiting for limits, all agents", FigureUnit.SECONDS, lambda run: run.limit_seconds),
    ("tokens in", FigureUnit.TOKENS, lambda run: run.input_tokens),
    ("cached share of them", FigureUnit.SHARE, lambda run: run.cached_share),
    ("tokens out", FigureUnit.TOKENS, lambda run: run.output_tokens),
    ("cost", FigureUnit.USD, lambda run: run.usd),
    ("credits", FigureUnit.CREDITS, lambda run: run.credits),
)


def compare_runs(first: RunReport, second: RunReport) -> RunComparison:
    """Put two runs side by side."""
    figures = [ComparedFigure(name, unit, of(first.figures), of(second.figures)) for name, unit, of in _FIGURES]
    figures.insert(1, ComparedFigure("critical path", FigureUnit.SECONDS, _total_path(first), _total_path(second)))
    return RunComparison(first, second, tuple(figures), tuple(_roles(first, second)))


def _roles(first: RunReport, second: RunReport) -> list[ComparedFigure]:
    ours = {row.name: row for row in first.spending.by_role}
    theirs = {row.name: row for row in second.spending.by_role}
    return [_role(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]


def _role(name: str, first: SpentRow | None, second: SpentRow | None) -> ComparedFigure:
    rows = [row for row in (first, second) if row is not None]
    if all(row.usd is not None for row in rows):
        return ComparedFigure(name, FigureUnit.USD, first.usd if first else 0.0, second.usd if second else 0.0)
    return ComparedFigure(
        name, FigureUnit.TOKENS, first.usage.total_tokens if first else 0, second.usage.total_tokens if second else 0
    )
