"""What one agent has of its run, wherever it works: the run's process itself, or a worker on another machine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.prefix import Prompt
from codexteam.agent.reservations import Patience
from codexteam.agent.tools.tool import Tool
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Amount, Prices, Usage
from codexteam.core.ids import AgentKey, CallKey
from codexteam.ports.environments import SetupOrder
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import SandboxFacts, SandboxSpec
from codexteam.ports.store import OpenCall, StoredAnswer, StoredTurn


class AgentStore(Protocol):
    """What an agent keeps and finds of itself; a `Store` is one."""

    async def turns(self, agent: AgentKey, *, after: int = 0) -> Sequence[StoredTurn]:
        """Return an agent's finished turns with a number above `after`, in order."""
        ...

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        """Return the stored answer of a call."""
        ...

    async def open_call(self, call: OpenCall) -> None:
        """Note that a call is about to be sent, or what it counts for now."""
        ...

    async def close_call(self, key: CallKey) -> None:
        """Note that a call ended without an answer and will not be billed."""
        ...

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        """Store an answer, settle its call and record its facts, in one transaction."""
        ...

    async def record_turn(self, turn: StoredTurn, facts: Sequence[RunEvent] = ()) -> None:
        """Store a finished turn and record its facts, in one transaction."""
        ...


class CallBudget(Protocol):
    """What an agent's calls may cost; the run's `Reservations` are one."""

    @property
    def prices(self) -> Prices:
        """What models cost."""
        ...

    async def reserve(
        self,
        key: CallKey,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        hand_over: bool = False,
        patience: Patience | None = None,
    ) -> Reservation | Exhausted:
        """Set aside the most that a call can cost, waiting as long as that may help."""
        ...

    async def refusal(self, key: CallKey, model: str, *, input_tokens: int, output_tokens: int) -> Exhausted | None:
        """Say why a call would be refused; None when it would be let through, now or later."""
        ...

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        """Turn a reservation into what was spent; an unknown usage counts as all of it."""
        ...

    def lose(self, reservation: Reservation) -> None:
        """Count a try that may have been billed and gave no answer; the call may be made again."""
        ...

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation whose call will not be billed."""
        ...

    def lost(self, key: CallKey) -> Amount:
        """Return what earlier, unanswered tries of a call count for."""
        ...

    def note_lost(self, key: CallKey, amount: Amount) -> None:
        """Remember that a try of a call was settled without an answer and the call is made again."""
        ...


class AgentDesk(Protocol):
    """What one agent has of its run. For tasks of one event loop."""

    @property
    def store(self) -> AgentStore:
        """Where its calls and turns are kept."""
        ...

    @property
    def budget(self) -> CallBudget:
        """What its calls may cost."""
        ...

    @property
    def mailbox(self) -> Mailbox:
        """What people and other agents say to it."""
        ...

    @property
    def hold(self) -> AgentHold:
        """Who holds it back between two turns."""
        ...

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Those of its tools that ask the run and not its sandbox, by name; what they give is not yet shortened."""
        ...

    async def sandbox_wanted(self) -> SandboxSpec | SetupOrder:
        """Return what its sandbox is made of, once that is known: an environment may still be built."""
        ...

    def sandbox_started(self, facts: SandboxFacts) -> None:
        """Note what its sandbox really is."""
        ...

    def begins(self, prompt: Prompt, offered: frozenset[str]) -> None:
        """Note what it is asked first, and the names of the tools that it is offered."""
        ...

    def prints(self, printed: Callable[[], str]) -> None:
        """Note how people find out what its commands have printed that it has not seen yet."""
        ...

    def report(self, event: AgentEvent) -> None:
        """Take what happens to it."""
        ...
