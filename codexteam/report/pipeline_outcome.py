"""How a command ended that ran in a pipeline: what later jobs decide by, and whether its cost stayed within the limits."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.core.budget_amounts import NANO, Unit, over_limits
from codexteam.core.effects import Result
from codexteam.core.ids import JSONObject
from codexteam.report.progress import Progress


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """The values; the reason is foreign text."""

    command: str
    """`run`, `plan`, `resume` or `review`."""
    result: str
    """How it ended, in a word."""
    reason: str
    exit_code: int
    run_id: str = ""
    usd: float | None = None
    """None where a price is unknown."""
    credits: float | None = None
    tokens: int = 0
    budget: str = ""
    """The run's limits, in words."""
    over_limits: str = ""
    """Which limits are passed, by the forecast or by the ledger, in words; empty where none."""
    branch: str = ""
    commit: str = ""

    def as_json(self) -> JSONObject:
        return {
            "command": self.command,
            "result": self.result,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "run": self.run_id or None,
            "usd": self.usd,
            "credits": self.credits,
            "tokens": self.tokens,
            "budget": self.budget,
            "over_limits": self.over_limits,
            "branch": self.branch or None,
            "commit": self.commit or None,
        }


def spent_amounts(progress: Progress) -> dict[Unit, int | None]:
    """Return what a run took as its ledger counts it: a call of unknown usage for the most that it can have been billed."""
    unknown = progress.unknown
    usd = None if progress.usd is None or unknown.usd is None else progress.usd + unknown.usd
    return {
        Unit.TOKENS: progress.usage.total_tokens + unknown.tokens,
        Unit.USD: None if usd is None else round(usd * NANO),
        Unit.CREDITS: None if progress.credits is None else round(progress.credits * NANO),
    }


def ended_outcome(
    command: str, word: str, exit_code: int, progress: Progress, *, limits: Mapping[Unit, int], forecast_over: str = ""
) -> PipelineOutcome:
    """Return how a run, a plan or a review ended; one that passed a limit failed, whatever else it came to."""
    over = "; ".join(filter(None, (forecast_over, over_limits(limits, spent_amounts(progress)))))
    return PipelineOutcome(
        command,
        word,
        progress.reason,
        Result.LIMIT.exit_code if over and exit_code == 0 else exit_code,
        progress.run_id,
        progress.usd,
        progress.credits,
        progress.usage.total_tokens,
        progress.budget,
        over,
        progress.branch,
        progress.commit,
    )
