"""What calls of unknown usage may have been billed at most: what the budget counts for them, beside what is known.

Such a call was answered without a usage, or its tries gave no answer and the service did not say what they cost.
"""

from dataclasses import dataclass, field

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.ports.reporter import RunEvent


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that some calls may have been billed."""

    calls: int = 0
    tokens: int = 0
    usd: float | None = 0.0
    """None where a price is unknown."""

    def __add__(self, other: "Bound") -> "Bound":
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Bound(self.calls + other.calls, self.tokens + other.tokens, usd)

    def as_json(self) -> JSONObject:
        """Give it for programs."""
        return {"calls": self.calls, "tokens": self.tokens, "usd": self.usd}


@dataclass(slots=True)
class UnknownBills:
    """Those of one agent or attempt, followed from its events."""

    answered: Bound = field(default_factory=Bound)
    """Of calls that were answered without a usage."""
    unanswered: dict[tuple[str, int, str], Bound] = field(default_factory=dict)
    """Of tries without an answer, by their call; its newest event tells of all of them."""

    @property
    def bound(self) -> Bound:
        """Give all of them together."""
        return sum(self.unanswered.values(), self.answered)

    def take(self, event: RunEvent) -> None:
        """Follow an event."""
        fields = event.fields
        if event.kind == "agent.turn" and fields.get("usage") is None:
            self.answered += counted_of(fields.get("counted"))
        elif event.kind == "agent.unanswered":
            turn = fields.get("turn")
            call = (str(fields.get("agent")), turn if isinstance(turn, int) else 0, str(fields.get("call")))
            self.unanswered[call] = counted_of(fields.get("counted"))


def counted_of(value: JSONValue) -> Bound:
    """Give what an event says that a call counts for; one of an older version does not say."""
    match value:
        case {"tokens": int(tokens), "usd": int() | float() | None as usd}:
            return Bound(1, tokens, None if usd is None else float(usd))
        case _:
            return Bound(1, 0, None)
