"""A run's history as log records for a collector of OpenTelemetry: what `codexteam logs` prints, each within its span.

What models and people wrote is left out unless it is asked for: a record then says by its name and ids what happened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import describe
from codexteam.report.spans import SpanValue

#: What of a fact says which thing it is about, or is a number or a word of ours.
_PLAIN = (
    "agent", "role", "model", "task", "attempt", "status", "final", "gate", "round", "verdict", "findings", "finding",
    "severity", "category", "item", "commit", "exit_code", "ending", "result", "unit", "turn", "seconds", "key",
)  # fmt: skip
_ERRORS = frozenset({"task.failed", "environment.failed", "branch.failed", "plan.failed", "run.broken_off"})
_WARNINGS = frozenset(
    {
        "task.attempt_failed", "task.conflicted", "task.acceptance_failed", "task.refused", "task.blocked", "task.waiting",
        "agent.stalled", "agent.waiting", "plan.unreadable", "replan.refused", "budget.warned", "budget.spent",
        "network.denied", "notice", "policy.warned", "checkout.changed", "person.asked", "extra.refused",
    }
)  # fmt: skip


class LogSeverity(StrEnum):
    """How much a record should worry its reader."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class RunLogRecord:
    """One record."""

    name: str
    """Of the event, `codexteam.task.merged`."""
    at_seconds: float
    severity: LogSeverity
    body: str
    values: Mapping[str, SpanValue]
    span_id: int
    """The span that it happened in: an agent's, else the session's."""
    sequence: int
    """The number of its fact."""


def log_record_of(run_id: str, fact: RunEvent, span_id: int, *, with_content: bool) -> RunLogRecord | None:
    """Return the record of a fact; None where people are not told of it either."""
    words = describe(fact)
    if not words:
        return None
    values: dict[str, SpanValue] = {"codexteam.run.id": run_id, "codexteam.sequence": fact.sequence}
    for key in _PLAIN:
        value = fact.fields.get(key)
        if isinstance(value, str | int | float) and value != "":
            values[f"codexteam.{key}"] = value
    severity = LogSeverity.ERROR if fact.kind in _ERRORS else LogSeverity.INFO
    return RunLogRecord(
        f"codexteam.{fact.kind}",
        fact.at_seconds,
        LogSeverity.WARN if fact.kind in _WARNINGS else severity,
        words if with_content else fact.kind.replace(".", " ").replace("_", " "),
        values,
        span_id,
        fact.sequence,
    )
