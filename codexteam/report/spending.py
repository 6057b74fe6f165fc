"""What a run took, by role, model and task, and over its time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import encode
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.rows import AgentRow
from codexteam.report.spent import Bound, Spent
from codexteam.report.work_time import WorkTime


@dataclass(frozen=True, slots=True)
class SpentRow:
    """What some agents took together; the name is foreign."""

    name: str
    agents: int
    usage: Usage
    usd: float | None
    """None where a price is unknown; unknown is not 0."""
    credits: float | None
    unknown: Bound
    """The most that calls of unknown usage may have been billed beside that."""

    @property
    def cached_share(self) -> float | None:
        """Return the part of the input that was cached; None without input."""
        usage = self.usage
        return usage.cached_input_tokens / usage.input_tokens if usage.input_tokens else None

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "name": self.name,
            "agents": self.agents,
            "usage": encode(self.usage),
            "cached_share": self.cached_share,
            "usd": self.usd,
            "credits": self.credits,
            "at_most_more": self.unknown.as_json(),
        }


@dataclass(frozen=True, slots=True)
class SpentPoint:
    """What was known to be spent at a moment of work."""

    at_seconds: float
    tokens: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class Spending:
    """All of it."""

    by_role: tuple[SpentRow, ...]
    by_model: tuple[SpentRow, ...]
    by_task: tuple[SpentRow, ...]
    total: SpentRow
    points: tuple[SpentPoint, ...]
    limits: Mapping[str, float]
    """Those of the run, by unit, as its newest session began with them."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "total": self.total.as_json(),
            "by_role": [row.as_json() for row in self.by_role],
            "by_model": [row.as_json() for row in self.by_model],
            "by_task": [row.as_json() for row in self.by_task],
        }


def spending_of(agents: Mapping[str, AgentRow], events: Sequence[RunEvent], clock: WorkTime) -> Spending:
    """Return what a run's agents took; the events give how it grew."""
    rows = list(agents.values())
    return Spending(
        _grouped(rows, lambda agent: agent.role),
        _grouped(rows, lambda agent: agent.model or "unknown model"),
        _grouped(rows, lambda agent: agent.task or agent.purpose),
        spent_row("all", rows),
        tuple(_points(events, clock)),
        _limits(events),
    )


def _limits(events: Iterable[RunEvent]) -> dict[str, float]:
    newest: JSONObject = {}
    for event in events:
        found = event.fields.get("limits")
        newest = found if event.kind == "run.opened" and isinstance(found, dict) else newest
    return {unit: float(limit) for unit, limit in newest.items() if isinstance(limit, int | float)}


def _grouped(rows: Iterable[AgentRow], name_of: Callable[[AgentRow], str]) -> tuple[SpentRow, ...]:
    groups: dict[str, list[AgentRow]] = {}
    for agent in rows:
        groups.setdefault(name_of(agent), []).append(agent)
    found = [spent_row(name, agents) for name, agents in groups.items()]
    return tuple(sorted(found, key=lambda row: (-(row.usd or 0.0), -row.usage.total_tokens, row.name)))


def spent_row(name: str, agents: Sequence[AgentRow]) -> SpentRow:
    """Return what these agents took together."""
    return SpentRow(
        name,
        len(agents),
        sum((agent.usage for agent in agents), Usage()),
        _sum_known(agent.usd for agent in agents),
        _sum_known(agent.credits for agent in agents),
        sum((agent.unknown.bound for agent in agents), Bound()),
    )


def _sum_known(amounts: Iterable[float | None]) -> float | None:
    total = 0.0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _points(events: Iterable[RunEvent], clock: WorkTime) -> Iterable[SpentPoint]:
    spent = Spent()
    for event in events:
        spent.add(event)
        if event.kind == "agent.turn":
            yield SpentPoint(clock.at(event.at_seconds), spent.usage.total_tokens, spent.usd)
