"""One agent among fakes: a scripted model, a sandbox in memory, a store that can be kept for a second life."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.agent.checkpointer import resume_point
from codexteam.agent.deps import AgentDeps, AgentSpec
from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.hold import AgentHold
from codexteam.agent.loop import run_agent
from codexteam.agent.mail import Mailbox
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.prefix import Prompt
from codexteam.agent.reservations import Reservations
from codexteam.agent.tools.files import ApplyPatch, ViewImage
from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext, ToolLimits
from codexteam.config.settings import ModelSettings, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.budget_amounts import Price
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.redaction import Redactor
from codexteam.ports.model import Model, ModelRequest
from codexteam.ports.sandbox import BaseSource, SandboxSpec
from codexteam.ports.store import Store
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_model import Play, ScriptedModel

RUN = RunId("20261121-0231-7f3a")
REPORT: JSONObject = {
    "status": "done",
    "summary": "It works.",
    "commands": [],
    "question": None,
    "later": [],
    "risks": [],
}


def agent_key(purpose: Purpose = Purpose.IMPLEMENT, role: str = "implementer", task: str = "T1") -> AgentKey:
    return AgentKey(RUN, role, purpose, task, 1)


def function_call(name: str, arguments: JSONObject | str, call_id: str = "call_1") -> JSONObject:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": text}


def run_line(line: str, call_id: str = "call_1", **more: object) -> JSONObject:
    return function_call("exec_command", json.dumps({"cmd": line, **more}), call_id)


def said(content: JSONObject | str) -> JSONObject:
    text = content if isinstance(content, str) else json.dumps(content)
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def outputs_in(request: ModelRequest) -> list[str]:
    """The texts of the tool outputs in a request, oldest first."""
    return [str(item["output"]) for item in request.input if str(item.get("type")).endswith("_call_output")]


def messages_in(request: ModelRequest) -> list[str]:
    """The texts of the user's messages in a request, oldest first."""
    texts: list[str] = []
    for item in request.input:
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        texts += [str(part["text"]) for part in parts if isinstance(part, dict) and part.get("type") == "input_text"]
    return texts


@dataclass
class AgentWorld:
    """Everything around one agent. `work` may be called again: the store and the folder stay."""

    folder: Path
    model: Model
    engine: FakeEngine = field(default_factory=FakeEngine)
    store: Store = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)
    mode: SandboxMode = SandboxMode.WORKSPACE_WRITE
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    prices: dict[str, Price] = field(default_factory=dict)
    settings: ModelSettings = field(default_factory=lambda: ModelSettings("fake", "gpt-5.4", max_output_tokens=4_000))
    tool_limits: ToolLimits = field(default_factory=ToolLimits)
    more_tools: Sequence[Tool] = ()
    mailbox: Mailbox = field(default_factory=Mailbox)
    hold: AgentHold = field(default_factory=AgentHold)
    events: list[AgentEvent] = field(default_factory=list)
    max_turns: int = 50
    max_seconds: float = 3_600.0
    max_fix_cycles: int = 5
    redactor: Redactor = field(default_factory=Redactor)
    check: Callable[[JSONObject], str | None] | None = None
    freeform: bool = False
    key: AgentKey = field(default_factory=agent_key)
    gate: Reservations = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Reservations(Ledger(self.limits), self.prices)

    @property
    def asked(self) -> list[ModelRequest]:
        assert isinstance(self.model, ScriptedModel)
        return self.model.requests

    @property
    def sandbox(self) -> FakeSandbox:
        return self.engine.started[-1]

    @property
    def ran(self) -> list[str]:
        """The shell lines that ran, in all sandboxes."""
        return [command.argv[-1] for sandbox in self.engine.started for command in sandbox.ran]

    async def work(self) -> AgentOutcome:
        """Let the agent work, in a sandbox as a resumed one would have it."""
        point = await resume_point(self.store, self.key)
        base = BaseSource(CommitId("0" * 40), self.folder / "root.tar", CommitId("0" * 40))
        sandbox_spec = SandboxSpec(self.key, base, self.mode, NetworkPolicy(), SandboxLimits(), restore=point.snapshot)
        starting = asyncio.ensure_future(self.engine.start(sandbox_spec))
        place = ToolContext(starting, self.mode, self.folder, self.clock, self.tool_limits, self.redactor)
        sessions = Sessions()
        tools: list[Tool] = [
            ExecCommand(place, sessions),
            WriteStdin(place, sessions),
            ApplyPatch(place, self.freeform),
            ViewImage(place),
            *self.more_tools,
        ]
        spec = AgentSpec(
            self.key,
            self.settings,
            Prompt("Do one task.", ("# AGENTS.md instructions",), "Do T1."),
            max_turns=self.max_turns,
            max_seconds=self.max_seconds,
            max_fix_cycles=self.max_fix_cycles,
            check=self.check,
        )
        deps = AgentDeps(
            self.model,
            self.store,
            self.clock,
            self.gate,
            tools,
            place=place,
            sessions=sessions,
            mailbox=self.mailbox,
            hold=self.hold,
            report=self.events.append,
        )
        try:
            return await run_agent(spec, deps)
        finally:
            await asyncio.gather(starting, return_exceptions=True)


def playing(*plays: Play) -> ScriptedModel:
    """A model that gives these answers in order."""
    return ScriptedModel(plays)
