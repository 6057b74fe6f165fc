"""Who works, on what, within which bounds, and with what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codexteam.agent.desk import AgentStore, CallBudget
from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.prefix import Prompt
from codexteam.agent.tools.shell import Sessions
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.agent.tools.toolbox import LateTools
from codexteam.config.settings import ModelSettings
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.ports.clock import Clock
from codexteam.ports.harness import HarnessAgent
from codexteam.ports.model import Model
from codexteam.ports.sandbox import Snapshot


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
    checks: tuple[str, ...] = ()
    """The acceptance commands of its task."""
    max_fix_cycles: int = 5
    """How often it may mend what a check of its fails with; 0 is no limit."""
    hands_over: bool = True
    """Whether it is asked for what it has so far when its budget is spent, out of what is kept back for that."""
    check: Callable[[JSONObject], str | None] | None = None
    """What else must hold of a final answer that fits its contract: gives what is wrong, for the model, or None."""


def _report_to_nobody(_event: AgentEvent) -> None:
    """Ignore an event."""


@dataclass(slots=True)
class AgentDeps:
    """An agent's dependencies. Their creator closes them, except for the sessions."""

    model: Model
    store: AgentStore
    clock: Clock
    budget: CallBudget
    tools: Sequence[Tool] = ()
    late_tools: LateTools | None = None
    """Those that come to be known while it works."""
    hosted_tools: Sequence[JSONObject] = ()
    """Definitions of tools that the model service runs itself."""
    harness: HarnessAgent | None = None
    """Who makes the calls of `model` and does the tool calls in its answers; then it is `model`, and `tools` are none."""
    stored_tools: Sequence[Tool] = ()
    """With a harness: ours, for the calls of an answer that was stored before they were done."""
    place: ToolContext | None = None
    """None for an agent without a sandbox."""
    sessions: Sessions = field(default_factory=Sessions)
    mailbox: Mailbox = field(default_factory=Mailbox)
    hold: AgentHold = field(default_factory=AgentHold)
    report: Callable[[AgentEvent], None] = _report_to_nobody
