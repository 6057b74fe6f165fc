"""What was spent, read from the facts of a run: every sum that people are shown is made here, of `agent.turn` facts."""

from dataclasses import dataclass, field

from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import decode
from codexteam.core.ids import JSONObject, JSONValue
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
        """Return it for programs."""
        return {"calls": self.calls, "tokens": self.tokens, "usd": self.usd}


@dataclass(slots=True)
class UnknownBills:
    """Those of one agent or attempt, followed from its events."""

    answered: Bound = field(default_factory=Bound)
    """Of calls that were answered without a usage."""
    unanswered: dict[tuple[str, int, str], Bound] = field(default_factory=dict)
    """Of tries without an answer, by their call; its newest event covers all of them."""

    @property
    def bound(self) -> Bound:
        """Return all of them together."""
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


@dataclass(slots=True, kw_only=True)
class Spent:
    """What the calls of an agent, an attempt or a whole run took."""

    usage: Usage = field(default_factory=Usage)
    usd: float | None = 0.0
    """None once a call of unknown price is in it."""
    credits: float | None = 0.0
    """None once a call is in it of which nobody knows what it is in credits."""
    unknown: UnknownBills = field(default_factory=UnknownBills)
    """What the budget counts beside these, for calls whose usage the service did not say."""

    def add(self, event: RunEvent) -> None:
        """Add what a fact says of a call; others change nothing."""
        self.unknown.take(event)
        if event.kind == "agent.turn":
            self.usage += usage_of(event.fields.get("usage"))
            self.usd = _plus_turn(self.usd, event.fields, "usd")
            self.credits = _plus_turn(self.credits, event.fields, "credits")

    def continues(self, before: "Spent") -> None:
        """Go on from what was spent before a resume."""
        self.usage, self.usd, self.credits, self.unknown = before.usage, before.usd, before.credits, before.unknown


def counted_of(value: JSONValue) -> Bound:
    """Return what an event says that a call counts for; one of an older version does not say."""
    match value:
        case {"tokens": int(tokens), "usd": int() | float() | None as usd}:
            return Bound(1, tokens, None if usd is None else float(usd))
        case _:
            return Bound(1, 0, None)


def usage_of(value: JSONValue) -> Usage:
    """Return the tokens in a fact's `usage`; none when it is missing."""
    return decode(Usage, value, "the usage of a fact") if isinstance(value, dict) else Usage()


def _plus_turn(before: float | None, fields: JSONObject, unit: str) -> float | None:
    """Add what an `agent.turn` is known to have cost; None once a price is unknown."""
    cost = fields.get(unit)
    counted = fields.get("counted")
    if fields.get("usage") is None and isinstance(counted, dict) and counted.get(unit) is not None:
        cost = 0.0  # all that is known of it is the most that it can cost
    if before is None or not isinstance(cost, int | float):
        return None
    return before + float(cost)
