"""Who works, on what, within which bounds, and with what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codexteam.agent.agent_events import AgentEvent
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.mailbox import Mailbox
from codexteam.agent.prefix import Prompt
from codexteam.agent.tools.shell import Sessions
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.workplace import Workplace
from codexteam.config.settings import ModelSettings
from codexteam.core.ids import AgentKey
from codexteam.core.json_types import JSONObject
from codexteam.ports.clock import Clock
from codexteam.ports.model import Model
from codexteam.ports.sandbox import Snapshot
from codexteam.ports.store import Store


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Who works, on what, and within which bounds. What is given to a resumed agent must be what it was given first."""

    key: AgentKey
    settings: ModelSettings
    prompt: Prompt
    max_turns: int = 200
    max_seconds: float = 3_600.0
    """Wall clock, counted anew after a resume."""
    start: Snapshot | None = None
    """What its workspace was started with, if anything."""
    compact_prompt: str | None = None
    check: Callable[[JSONObject], str | None] | None = None
    """What else must hold of a final answer that fits its contract: gives what is wrong, for the model, or None."""


def _tell_nobody(_event: AgentEvent) -> None:
    """Leave an event untold."""


@dataclass(slots=True)
class Means:
    """What an agent works with. Whoever made it closes what needs closing, but for the sessions."""

    model: Model
    store: Store
    clock: Clock
    gate: BudgetGate
    tools: Sequence[Tool] = ()
    hosted_tools: Sequence[JSONObject] = ()
    """Definitions of tools that the model service runs itself."""
    place: Workplace | None = None
    """None for an agent without a sandbox."""
    sessions: Sessions = field(default_factory=Sessions)
    mailbox: Mailbox = field(default_factory=Mailbox)
    tell: Callable[[AgentEvent], None] = _tell_nobody
