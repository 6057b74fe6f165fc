"""Puts agents to work: a sandbox each, their tools, their prompt, their share of the budget; and reports what they did."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexteam.agent.agent_events import (
    AgentEvent,
    CallRetried,
    Compacted,
    MessagesDelivered,
    PlanUpdated,
    TextStreamed,
    ToolFinished,
    ToolStarted,
    TryUnanswered,
    TurnAnswered,
    TurnStarted,
)
from codexteam.agent.assignment import Assignment, NoAnswer, Report
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.instructions import RunInstructions, skill_facts
from codexteam.agent.loop import run_agent
from codexteam.agent.mailbox import Mailbox
from codexteam.agent.mcp_tools import make_mcp_tools
from codexteam.agent.outcome import AgentOutcome, Effort, GaveUp, ModelGaveUp, Submitted, Unsaved
from codexteam.agent.prefix import Prompt, environment_fact, facts_of
from codexteam.agent.reporting import reason_of, report_of
from codexteam.agent.saving import resume_point
from codexteam.agent.skills import Skill
from codexteam.agent.spec import AgentSpec, Means
from codexteam.agent.telling import action_words, agent_fields, turn_fields, unanswered_fields, usage_json
from codexteam.agent.tools.files import ApplyPatch, ViewImage
from codexteam.agent.tools.foreign import ForeignTool
from codexteam.agent.tools.read_skill import make_read_skill_tool
from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.update_plan import UpdatePlan
from codexteam.agent.tools.workplace import ToolLimits, Workplace
from codexteam.config.receipt import receipt, tool_names
from codexteam.config.settings import NetworkKind, NetworkPolicy, RoleSettings, SandboxMode, Settings
from codexteam.core.codec import encode
from codexteam.core.ids import AgentKey
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.errors import CodexteamError, ConfigError, ModelAccessError, SandboxLost
from codexteam.ports.clock import Clock
from codexteam.ports.endings import stopped, to_its_end
from codexteam.ports.fault_points import reach
from codexteam.ports.model import Model
from codexteam.ports.repo import Repo
from codexteam.ports.run_files import RunFiles
from codexteam.ports.sandbox import Sandbox, SandboxEngine, SandboxSpec, Snapshot
from codexteam.ports.store import Store
from codexteam.ports.tool_servers import ServerTool, ToolServers

#: The provider that takes freeform tools held to a grammar; others get apply_patch as a function.
FREEFORM_PROVIDER = "openai"

#: A sandbox that goes away this often under one agent goes away for a reason.
_MAX_LOST_SANDBOXES = 3


@dataclass(slots=True)
class SandboxCrew:
    """The Crew of a real run. Made by the composition root, which also closes what it is made of."""

    settings: Settings
    model: Model
    engine: SandboxEngine
    repo: Repo
    store: Store
    clock: Clock
    files: RunFiles
    gate: BudgetGate
    instructions: RunInstructions
    redactor: Redactor
    tell: Callable[[str, JSONObject], None]
    environment: dict[str, str] = field(default_factory=dict)
    """What commands see of the host's environment: only what the user named."""
    servers: ToolServers | None = None
    server_tools: Sequence[ServerTool] = ()
    patience: Callable[[str], str] = lambda _: ""
    """Says of a provider when a call to it is given up."""
    _threads: asyncio.Semaphore = field(init=False)
    _mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    _skills: dict[str, tuple[Skill, ...]] = field(default_factory=dict)
    _answers: int = 0
    """Answers that anybody got."""
    _heard: dict[AgentKey, int] = field(default_factory=dict)
    """How many of them there were when an agent began its last turn."""

    def __post_init__(self) -> None:
        self._threads = asyncio.Semaphore(self.settings.team.limits.max_threads)

    def say(self, task_id: str, text: str) -> bool:
        """Leave a message for the agent at work on a task; False when none is."""
        mailbox = self._mailboxes.get(task_id)
        if mailbox is not None:
            mailbox.say(text)
        return mailbox is not None

    async def assign(self, assignment: Assignment) -> Report:
        """Let one agent work to its end; see `Crew.assign`."""
        async with self._threads:
            return await self._assign(assignment)

    async def _assign(self, assignment: Assignment) -> Report:
        key = assignment.key
        role = self._role(key.role)
        skills = await self._skills_of(role)
        facts = facts_of(
            self.instructions.docs,
            *await skill_facts(role, skills, assignment.prompt),
            environment_fact(role.sandbox_mode, network_of(role)),
        )
        prompt = Prompt(role.instructions, facts, assignment.prompt)
        self.gate.ledger.grant(key, assignment.budget_share)
        mailbox = Mailbox()
        name = key.task_id or str(key)
        self._mailboxes[name] = mailbox
        lost = 0
        try:
            while True:
                try:
                    outcome = await self._run(assignment, role, prompt, skills, mailbox)
                except SandboxLost as error:
                    lost += 1
                    self.tell("agent.waiting", {**agent_fields(key, role), "reason": f"its sandbox went away: {error}"})
                    if lost >= _MAX_LOST_SANDBOXES:
                        return NoAnswer(f"its sandbox went away {lost} times: {error}")
                    continue  # from its last stored turn, in a new sandbox
                self._refuse_outage(key, outcome)
                self._tell_end(key, role, outcome)
                return report_of(outcome)
        finally:
            if self._mailboxes.get(name) is mailbox:
                del self._mailboxes[name]

    def _refuse_outage(self, key: AgentKey, outcome: AgentOutcome) -> None:
        """End the sitting when the model service is away: no attempt is to blame, and the next would end alike.

        It counts as away when nobody got an answer while this agent waited for its last one in vain.

        Raises:
            ModelAccessError: it is away.
        """
        match outcome:
            case ModelGaveUp(kind=GaveUp.UNAVAILABLE, message=message) if self._heard.get(key) == self._answers:
                raise ModelAccessError(
                    f"the model service gives no answer: {message}",
                    hint="see that it can be reached; `codexteam resume` goes on from here",
                )
            case _:
                pass

    def _role(self, name: str) -> RoleSettings:
        try:
            return self.settings.roles[name]
        except KeyError:
            known = ", ".join(sorted(self.settings.roles))
            raise ConfigError(f"there is no role {name!r}; there are {known}") from None

    async def _skills_of(self, role: RoleSettings) -> tuple[Skill, ...]:
        if role.name not in self._skills:
            self._skills[role.name] = await self.instructions.skills_of(role, self.settings)
        return self._skills[role.name]

    async def _run(
        self, assignment: Assignment, role: RoleSettings, prompt: Prompt, skills: Sequence[Skill], mailbox: Mailbox
    ) -> AgentOutcome:
        key = assignment.key
        point = await resume_point(self.store, key)
        if point.missing:
            # its transcript speaks of work that is nowhere
            return Unsaved(f"the snapshot {point.missing} is gone", Effort(turns=point.turn - 1))
        # an agent that went on from something and undid all of it has no snapshot any more
        restore = assignment.restore if point.turn == 1 else point.snapshot
        folder = self.files.attempt_folder(key.task_id or key.role, key.attempt)
        if not key.task_id:
            folder = await asyncio.to_thread(_made, folder / key.purpose.value)
        sessions = Sessions()
        async with _sandbox(self._start(assignment, role, restore)) as starting:
            place = self._workplace(role, starting, folder)
            tools = self._tools(role, place, sessions, skills)
            tell = self._teller(key, role)
            limits = self.settings.team.limits
            spec = AgentSpec(
                key,
                role.model,
                prompt,
                max_turns=limits.max_turns,
                max_seconds=limits.agent_minutes * 60,
                start=restore,
                compact_prompt=self.settings.compact_prompt,
            )
            self.tell("agent.started", {**agent_fields(key, role), "effort": role.model.effort, "turn": point.turn})
            means = Means(
                self.model,
                self.store,
                self.clock,
                self.gate,
                tools,
                hosted_tools_of(role),
                place,
                sessions=sessions,
                mailbox=mailbox,
                tell=tell,
            )
            async with _beside(self._write_receipt(key, role, starting)):
                return await run_agent(spec, means)

    async def _start(self, assignment: Assignment, role: RoleSettings, restore: Snapshot | None) -> Sandbox:
        sandbox = self.settings.team.sandbox
        spec = SandboxSpec(
            agent=assignment.key,
            base=await self.repo.base_source(assignment.key.run_id, assignment.base),
            mode=role.sandbox_mode,
            network=network_of(role),
            limits=sandbox.role_limits.get(role.name, sandbox.limits),
            environment=self.environment,
            restore=restore,
        )
        reach("sandbox.start.before")
        started = await self.engine.start(spec)
        reach("sandbox.start.after")
        return started

    def _workplace(self, role: RoleSettings, starting: "asyncio.Future[Sandbox]", folder: Path) -> Workplace:
        limits = self.settings.team.sandbox.limits
        return Workplace(
            starting,
            role.sandbox_mode,
            folder,
            self.clock,
            ToolLimits(
                output_tokens=self.settings.tool_output_tokens,
                output_bytes=limits.output_bytes,
                command_seconds=self.settings.team.limits.command_seconds,
            ),
            redactor=self.redactor,
        )

    def _tools(
        self, role: RoleSettings, place: Workplace, sessions: Sessions, skills: Sequence[Skill]
    ) -> tuple[Tool, ...]:
        own: dict[str, Tool] = {
            "exec_command": ExecCommand(place, sessions),
            "write_stdin": WriteStdin(place, sessions),
            "apply_patch": ApplyPatch(place, freeform=role.model.provider_id == FREEFORM_PROVIDER),
            "view_image": ViewImage(place),
            "update_plan": UpdatePlan(lambda _steps: None),
        }
        tools = [own[name] for name in tool_names(role, self.settings)]
        reader = make_read_skill_tool(skills)
        tools += [ForeignTool(reader, place)] if reader is not None else []
        if self.servers is not None:
            wanted = [tool for tool in self.server_tools if tool.server_id in role.mcp_servers]
            tools += [ForeignTool(tool, place) for tool in make_mcp_tools(wanted, self.servers)]
        return tuple(tools)

    async def _write_receipt(self, key: AgentKey, role: RoleSettings, starting: "asyncio.Future[Sandbox]") -> None:
        """Keep what the agent was really started with, once its sandbox is there."""
        sandbox = await asyncio.shield(starting)
        written: JSONObject = {
            **receipt(role, self.settings),
            "agent": str(key),
            "started_sandbox": encode(sandbox.facts),
            "project_docs": list(self.instructions.docs_sources),
        }
        await self.store.put(
            f"{key.run_id}/receipts", f"{key.role}/{key.purpose.value}/{key.task_id}/{key.attempt}", written
        )
        self.tell("agent.received", {**agent_fields(key, role), "receipt": written})

    def _teller(self, key: AgentKey, role: RoleSettings) -> Callable[[AgentEvent], None]:
        def tell(event: AgentEvent) -> None:
            fields = agent_fields(key, role)
            match event:
                case TurnStarted():
                    self._heard[key] = self._answers
                case TurnAnswered(turn, usage, counted):
                    self._answers += 1
                    price = self.gate.prices.get(role.model.model)
                    self.tell("agent.turn", turn_fields(fields, turn, usage, price, counted))
                case TryUnanswered(turn, call, counted):
                    self.tell("agent.unanswered", unanswered_fields(fields, turn, call, counted))
                case ToolStarted(name=name, what=what):
                    self.tell("agent.acted", {**fields, "action": action_words(name, what)})
                case CallRetried(reason, wait_seconds, tries):
                    again: JSONObject = {"reason": reason, "wait_seconds": wait_seconds, "tries": tries}
                    limit = self.patience(role.model.provider_id)
                    self.tell("agent.waiting", {**fields, **again, "limit": limit})
                case Compacted(turn, before, after):
                    sizes: JSONObject = {"bytes_before": before, "bytes_after": after}
                    self.tell("agent.compacted", {**fields, "turn": turn, **sizes})
                case MessagesDelivered(turn, texts):
                    self.tell("agent.told", {**fields, "turn": turn, "messages": list(texts)})
                case TextStreamed() | ToolFinished() | PlanUpdated():
                    return  # of no interest once it is over

        return tell

    def _tell_end(self, key: AgentKey, role: RoleSettings, outcome: AgentOutcome) -> None:
        effort = outcome.effort
        self.tell(
            "agent.finished",
            {
                **agent_fields(key, role),
                "outcome": type(outcome).__name__,
                "reason": "" if isinstance(outcome, Submitted) else reason_of(outcome),
                "turns": effort.turns,
                "usage_total": usage_json(effort.usage),
                "unknown_usage_calls": effort.unknown_usage_calls,
            },
        )


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@asynccontextmanager
async def _sandbox(start: Coroutine[Any, Any, Sandbox]) -> AsyncIterator["asyncio.Future[Sandbox]"]:
    """Start a sandbox in the background; however it ends, close it, or let go of one that was not started yet."""
    starting = asyncio.ensure_future(start)
    try:
        yield starting
    finally:
        if not starting.done():
            starting.cancel()
        await to_its_end(_close(starting))


async def _close(starting: "asyncio.Future[Sandbox]") -> None:
    try:
        sandbox = await starting
    except (asyncio.CancelledError, CodexteamError):
        return  # it never came to be; whoever waited for it was told
    reach("sandbox.close.before")
    await sandbox.close()
    reach("sandbox.close.after")


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let work go on that nobody waits for; it ends with the block, and what went wrong in it is a note in the log."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        await stopped(task)


def network_of(role: RoleSettings) -> NetworkPolicy:
    """Give what a role's sandbox reaches: with full access everything, inside the sandbox."""
    if role.sandbox_mode is SandboxMode.DANGER_FULL_ACCESS and role.network.kind is NetworkKind.NONE:
        return NetworkPolicy(NetworkKind.OPEN)
    return role.network


def hosted_tools_of(role: RoleSettings) -> tuple[JSONObject, ...]:
    """Give the tools that the model service runs itself: its web search, as `web_search` says."""
    live = {"cached": False, "indexed": True, "live": True}.get(role.model.web_search)
    return () if live is None else ({"type": "web_search", "external_web_access": live},)
