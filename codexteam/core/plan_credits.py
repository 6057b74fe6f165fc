"""What a run takes of its user's plan in credits, as the plan's service counts it.

The service counts by the threads of the harness, some time after the work, and not for every plan. So its count is never
the only one: each agent's work counts by our own rates at once, and by the service's count where that is more
(`Ledger.count_plan_credits`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import AgentKey

#: The service counts in millionths of a credit and of a dollar.
MICRO: Final = 1_000_000


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class ThreadCredits:
    """What the service last said of one thread; None where it says nothing."""

    agent: AgentKey
    """Whose thread it is: an agent that was continued has several."""
    micro_credits: int | None = None
    micro_usd: int | None = None

    def after(self, read: "ThreadCredits") -> "ThreadCredits":
        """Return it as it is now: what was counted once stays counted."""
        return replace(
            self,
            micro_credits=_most(self.micro_credits, read.micro_credits),
            micro_usd=_most(self.micro_usd, read.micro_usd),
        )


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credits that are left in the user's plan."""

    left: float | None = None
    """None where the service does not say how many."""
    unlimited: bool = False

    @property
    def words(self) -> str:
        """Say how many are left; empty where that is not known."""
        if self.unlimited:
            return "unlimited credits"
        return "" if self.left is None else f"{self.left:,.10g} credits left"


@dataclass(frozen=True, slots=True)
class CreditsReading:
    """What was read at one time: threads by their ids, the balance, or both."""

    threads: Mapping[str, ThreadCredits] = field(default_factory=dict)
    balance: CreditBalance | None = None


@dataclass(slots=True)
class PlanCredits:
    """The service's count for one run."""

    threads: dict[str, ThreadCredits] = field(default_factory=dict)
    """As earlier sessions left them, and since."""
    balance: CreditBalance | None = None

    def take(self, reading: CreditsReading) -> frozenset[AgentKey]:
        """Take what was read; return the agents of which it says something new."""
        changed = set()
        for thread_id, read in reading.threads.items():
            known = self.threads.get(thread_id)
            now = read if known is None else known.after(read)
            if now != known:
                self.threads[thread_id] = now
                changed.add(now.agent)
        self.balance = reading.balance or self.balance
        return frozenset(changed)

    def micro_credits(self, agent: AgentKey | None = None) -> int | None:
        """Return what the service counts for an agent, or for all; None where it says nothing."""
        return _sum(each.micro_credits for each in self.threads.values() if agent in (None, each.agent))

    @property
    def used(self) -> float | None:
        """Return the credits that the run took; None where the service does not say."""
        return None if (micro := self.micro_credits()) is None else micro / MICRO

    @property
    def usd(self) -> float | None:
        """Return them in dollars, where the service says it."""
        micro = _sum(each.micro_usd for each in self.threads.values())
        return None if micro is None else micro / MICRO

    def words(self) -> str:
        """Say what the run took and what is left; empty where the service was not asked yet."""
        known = []
        if self.used is not None:
            usd = "" if self.usd is None else f" (${self.usd:,.2f})"
            known.append(f"{self.used:,.10g} used by this run{usd}")
        elif self.threads:
            known.append("what this run uses is not reported")
        if self.balance is not None and self.balance.words:
            known.append(self.balance.words)
        return ", ".join(known)


@dataclass(slots=True)
class AgentCredits:
    """What an agent took, in billionths of a credit: by our own rates, and as its user's plan counts it."""

    own: int = 0
    ratio: float = 1.0
    """How much more the plan counted than our own rates, when it was last heard; what comes after counts at it, too."""
    least: int = 0
    """What the plan counted."""

    def hear(self, nano_credits: int) -> None:
        """Take the plan's count; one that is not more than the last says nothing of what was done since."""
        if nano_credits > self.least:
            self.least = nano_credits
            self.ratio = max(1.0, nano_credits / self.own) if self.own else 1.0

    @property
    def counted(self) -> int:
        """Return what counts against limits: the larger of the two."""
        # a product with 1.0 is not exact where numbers are large
        return max(self.own if self.ratio == 1.0 else math.ceil(self.own * self.ratio), self.least)


def _most(one: int | None, other: int | None) -> int | None:
    known = [each for each in (one, other) if each is not None]
    return max(known, default=None)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
