"""Puts agents to work: a sandbox each, their tools, their prompt, their share of the budget; and reports what they did."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexteam.agent.activities import Activities
from codexteam.agent.agent_kinds import instructions
from codexteam.agent.checkpointer import resume_point
from codexteam.agent.contract import output_schema, shape_fact
from codexteam.agent.deps import AgentSpec
from codexteam.agent.event_fields import (
    AgentEvent,
    BudgetAwaited,
    CallRetried,
    CallSent,
    Compacted,
    PersonAwaited,
    PlanUpdated,
    StreamBegan,
    TextStreamed,
    ToolFinished,
    ToolStarted,
    TryUnanswered,
    TurnAnswered,
    TurnStarted,
    action_words,
    agent_fields,
    tool_fields,
    unanswered_fields,
)
from codexteam.agent.harness_calls import offered_tool
from codexteam.agent.hold import AgentHold
from codexteam.agent.instructions import RunInstructions, skill_facts
from codexteam.agent.mail import Mailbox, message_item
from codexteam.agent.outage import Outage
from codexteam.agent.outcome import AgentOutcome, AgentStats, GaveUp, ModelGaveUp, OutOfBudget, Submitted, Unsaved
from codexteam.agent.prefix import Prompt, environment_fact, facts_of
from codexteam.agent.reservations import Reservations
from codexteam.agent.server_tools import ServerNotices, ServerTools
from codexteam.agent.skills import Skill
from codexteam.agent.tools.external_tool import ExternalTool
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext, ToolLimits
from codexteam.agent.transcript import text_of
from codexteam.config.roles import with_model
from codexteam.config.settings import ModelSettings, NetworkKind, NetworkPolicy, RoleSettings, SandboxMode
from codexteam.config.team import AgentEngine, engine_of
from codexteam.core.answers import ScoutReport
from codexteam.core.codec import encode
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, TaskId
from codexteam.errors import ConfigError, HostLost, ModelOutageError, SandboxLost
from codexteam.ports.environments import SetupOrder
from codexteam.ports.harness import Harness, HarnessOrder
from codexteam.ports.model import Model
from codexteam.ports.sandbox import SandboxSpec, Snapshot
from codexteam.ports.store import StoredTurn
from codexteam.ports.tool_servers import ToolServers
from codexteam.run.agent_places import AgentPlaces
from codexteam.run.agent_receipts import AgentReceipts
from codexteam.run.agent_tools import FREEFORM_PROVIDER, offered_names, run_tools, works_on_task
from codexteam.run.assignment import AgentAnswer, AgentFailure, AnswerT, Assignment, Report, reason_of, report_of
from codexteam.run.context import RunContext
from codexteam.run.engine_host import EngineHost, Surroundings
from codexteam.run.fallbacks import Fallbacks
from codexteam.run.host import AgentOrder, Host
from codexteam.run.kept_prompts import PromptKeeper
from codexteam.run.lookups import Lookups
from codexteam.run.lost_hosts import Losses
from codexteam.run.reachable_agents import ReachableAgents, mailbox_name
from codexteam.run.run_desk import RunDesk

#: A sandbox that goes away this often in one turn goes away for a reason.
_MAX_LOST_SANDBOXES = 3
#: Hosts that die so often in one turn of one agent, each after it had answered.
_MAX_LOST_HOSTS = 10


@dataclass(slots=True)
class SandboxAgentRunner:
    """The AgentRunner of a real run. `app.compose` makes it, and closes what it is made of."""

    context: RunContext
    model: Model
    gate: Reservations
    instructions: RunInstructions
    environment: dict[str, str] = field(default_factory=dict)
    """What commands see of the host's environment: only what the user named."""
    servers: ToolServers | None = None
    harness: Harness | None = None
    """The user's Codex, for the roles whose engine it is."""
    patience: Callable[[str], str] = lambda _: ""
    """Says of a provider when a call to it is given up."""
    crowding: Callable[[ModelSettings], str] = lambda _: ""
    """Says why one more agent of a model would only wait for its calls."""
    outage: Outage = field(default_factory=Outage)
    workers: Host | None = None
    """A cluster's, for the agents that can work there; the others work here."""
    reachable: ReachableAgents = field(default_factory=ReachableAgents)
    activities: Activities = field(init=False)
    _prompts: PromptKeeper = field(init=False)
    places: AgentPlaces = field(init=False)
    _host: EngineHost = field(init=False)
    _fallbacks: Fallbacks = field(init=False)
    _lookups: Lookups = field(init=False)
    _server_notices: ServerNotices = field(init=False)
    _skills: dict[str, tuple[Skill, ...]] = field(default_factory=dict)
    _answers: int = 0
    """Answers that anybody got."""
    _receipts: AgentReceipts = field(init=False)
    _heard: dict[AgentKey, int] = field(default_factory=dict)
    """How many of them there were when an agent began its last turn."""

    def __post_init__(self) -> None:
        self.activities = Activities(self.context.redactor.redact)
        self._prompts = PromptKeeper(self.context.store, self.context.redactor.redact)
        self._receipts = AgentReceipts(self.context, self.gate, self.instructions)
        self._fallbacks = Fallbacks(self.context)
        self._lookups = Lookups(self.context, self._look_up)
        engine, most = self.context.engine, self.context.settings.team.limits.max_threads
        # one place is left for checks, whose sandboxes are here
        far = self.workers
        room = (lambda: engine.places) if far is None else (lambda: None if far.places is None else far.places + 1)
        self.places = AgentPlaces(most, room, self.crowding)
        self._host = EngineHost(engine, self.model, self.context.clock, self.context.redactor)
        self._server_notices = ServerNotices(lambda text: self.context.report("notice", {"text": text}))

    async def read_credits(self) -> None:
        """Read what the user's plan counts in credits once more, at the end of a session."""
        if self.harness is not None:
            await self.harness.read_credits()

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        """Let one agent work to its end; see `AgentRunner.assign`."""
        key = assignment.key
        role = with_model(
            self._role(key.role), model=assignment.model, effort=assignment.effort, place=assignment.chosen_by
        )

        def waits(reason: str) -> None:
            self.context.report("agent.waiting", {**agent_fields(key, role), "reason": reason})

        async with self.places.place(key, assignment.standing, role.model, waits):
            if assignment.key.task_id:
                self.gate.ledger.limit_task(TaskId(assignment.key.task_id), assignment.budget)
            with self.gate.at_work(assignment.key, assignment.standing):
                report = await self._fallbacks.serve(assignment, self._run_assignment)
                if isinstance(report, AgentAnswer):
                    self.gate.learn(assignment.key, assignment.standing.effort)
                return report

    async def _look_up(self, assignment: Assignment[ScoutReport]) -> Report[ScoutReport]:
        """Let an explorer answer who waits for it, in its place among agents at work."""
        return await self._fallbacks.serve(assignment, self._run_assignment)

    async def _run_assignment(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        key = assignment.key
        asked = assignment.model, assignment.effort
        role = with_model(self._role(key.role), model=asked[0], effort=asked[1], place=assignment.chosen_by)
        skills = await self._skills_of(role)
        schema = output_schema(key.purpose)
        facts = facts_of(
            self.instructions.docs,
            *await skill_facts(role, skills, assignment.prompt),
            environment_fact(*_place_of(assignment, role)),
            shape_fact(schema) if schema else None,
        )
        prompt = Prompt(instructions(key.purpose, role.instructions), facts, assignment.prompt)
        losses = Losses()
        with self.reachable.reached(key) as (mailbox, hold):
            for text in await self._unread(assignment):
                mailbox.say(text)
            if works_on_task(key):
                await self._hear_notes(key, mailbox)
            self.outage.begins(key, self.context.clock.monotonic_seconds())
            self.activities.begins(key, self.context.clock.wall_seconds())
            try:
                while True:
                    try:
                        work = self._run(assignment, role, prompt, skills, mailbox, hold=hold)
                        outcome = await self.reachable.stoppable(key, work)
                    except SandboxLost as error:
                        where = "host" if isinstance(error, HostLost) else "sandbox"
                        self.context.report(
                            "agent.waiting", {**agent_fields(key, role), "reason": f"its {where} went away: {error}"}
                        )
                        losses.count(error, turn=len(await self.context.store.turns(key)))
                        if losses.sandboxes >= _MAX_LOST_SANDBOXES:
                            return AgentFailure(f"its sandbox went away {losses.sandboxes} times: {error}")
                        if losses.hosts >= _MAX_LOST_HOSTS:
                            raise  # no attempt is to blame; the run can be resumed
                        continue  # from its last stored turn, in a new sandbox
                    if outcome is not None:
                        self._refuse_outage(key, outcome)
                    unread = mailbox.waiting() if key.task_id else ()
                    if unread and not isinstance(outcome, OutOfBudget):  # that goes on later, and reads them then
                        told: JSONObject = {"to": key.task_id, "attempt": key.attempt, "messages": list(unread)}
                        self.context.report("person.unread", told)
                    if outcome is None:
                        self._report_stopped(key, role, await self.context.store.turns(key))
                        return AgentFailure("a person stopped its agent")
                    self._report_end(key, role, outcome)
                    return report_of(outcome, assignment.answer_type, self.context.redactor)
            finally:
                self.outage.ends(key)
                self.activities.ends(key)
                self.context.notes.ends(mailbox_name(key))

    async def _hear_notes(self, key: AgentKey, mailbox: Mailbox) -> None:
        turns = await self.context.store.turns(key)
        known = [text_of([item]) for turn in turns for item in turn.outputs]
        await self.context.notes.begins(mailbox_name(key), mailbox, known)

    async def _unread(self, assignment: Assignment[AnswerT]) -> list[str]:
        """Return the messages for an agent that are in none of its turns that are stored."""
        if not assignment.messages:
            return []
        turns = await self.context.store.turns(assignment.key)
        read = [item for turn in turns for item in turn.outputs]
        unread = []
        for text in assignment.messages:
            item = message_item(text)
            if item in read:
                read.remove(item)
            else:
                unread.append(text)
        return unread

    def _refuse_outage(self, key: AgentKey, outcome: AgentOutcome) -> None:
        """End the session if the model service is unreachable: no attempt is to blame, and the next would end the same way.

        It counts as away when nobody got an answer while this agent waited for its last one in vain.

        Raises:
            ModelOutageError: it is away.
        """
        match outcome:
            case ModelGaveUp(kind=GaveUp.UNAVAILABLE, message=message) if self._heard.get(key) == self._answers:
                raise ModelOutageError(
                    f"the model service gives no answer: {message}",
                    hint="make sure it can be reached; then `codexteam resume` continues from here",
                )
            case _:
                pass

    def _role(self, name: str) -> RoleSettings:
        try:
            return self.context.settings.roles[name]
        except KeyError:
            known = ", ".join(sorted(self.context.settings.roles))
            raise ConfigError(f"there is no role {name!r}; there are {known}") from None

    async def _skills_of(self, role: RoleSettings) -> tuple[Skill, ...]:
        if role.name not in self._skills:
            self._skills[role.name] = await self.instructions.skills_of(role, self.context.settings)
        return self._skills[role.name]

    async def _run(
        self,
        assignment: Assignment[AnswerT],
        role: RoleSettings,
        prompt: Prompt,
        skills: Sequence[Skill],
        mailbox: Mailbox,
        *,
        hold: AgentHold,
    ) -> AgentOutcome:
        key = assignment.key
        point = await resume_point(self.context.store, key)
        if point.missing:
            # its transcript speaks of work that is nowhere
            return Unsaved(f"the snapshot {point.missing} is gone", AgentStats(turns=point.turn - 1))
        # an agent that continued from something and undid all of it has no snapshot any more
        restore = assignment.restore if point.turn == 1 else point.snapshot
        folder = self.context.files.attempt_folder(key.work_task or key.role, key.attempt)
        if not key.work_task:
            folder = await asyncio.to_thread(_made, folder / key.purpose.value)
        tools = run_tools(self.context, assignment, lookups=self._lookups, skills=skills)
        limits = self.context.settings.team.limits
        spec = AgentSpec(
            key,
            role.model,
            prompt,
            max_turns=min(limits.max_turns, assignment.max_turns or limits.max_turns),
            max_seconds=limits.agent_minutes * 60,
            start=restore,
            compact_prompt=self.context.settings.compact_prompt,
            checks=assignment.checks,
            max_fix_cycles=limits.max_fix_cycles if works_on_task(key) else 0,
            hands_over=key.purpose is not Purpose.LOOKUP,  # that is for who asked
        )
        order = AgentOrder(
            spec,
            role.sandbox_mode,
            offered_names(role, self.context.settings, tools),
            role.model.provider_id == FREEFORM_PROVIDER,
            self._tool_limits(),
            hosted_tools_of(role),
            folder,
        )

        def begins(known: Prompt) -> None:
            self._prompts.keep(key, known)
            self.context.report(
                "agent.started", {**agent_fields(key, role), "effort": role.model.effort, "turn": point.turn}
            )

        harness = self._harness_of(role)
        desk = RunDesk(
            key,
            self.context.store,
            self.gate,
            mailbox,
            hold,
            tools,
            lambda: self._wanted(assignment, role, restore, harness),
            begins,
            self._event_handler(key, role),
            self.activities,
        )
        around = self._surroundings(role, key, harness)
        async with self._receipts.kept(key, role, desk):
            if self.workers is not None and around is None and _can_travel(assignment):
                return await self.workers.work(order, desk)
            return await self._host.work(order, desk, around)

    def _surroundings(self, role: RoleSettings, key: AgentKey, harness: Harness | None) -> Surroundings | None:
        """Return what only a host in this process can give; None where the agent needs nothing of the kind."""
        servers = self.servers if role.mcp_servers else None
        if servers is None and harness is None:
            return None
        return Surroundings(
            None if servers is None else lambda place: self._server_tools(servers, role, place),
            None
            if harness is None
            else lambda place, tools: harness.agent(self._harness_order(role, key, place, tools)),
        )

    def _harness_of(self, role: RoleSettings) -> Harness | None:
        """Return who runs a role's agents; None: we do.

        Raises:
            ConfigError: Codex is to run them, and there is none.
        """
        if engine_of(role, self.context.settings).engine is not AgentEngine.CODEX:
            return None
        if self.harness is None:
            raise ConfigError(f"the engine of {role.name} is codex, and no Codex was found")
        return self.harness

    def _harness_order(
        self, role: RoleSettings, key: AgentKey, place: ToolContext, tools: Sequence[Tool]
    ) -> HarnessOrder:
        network = network_of(role).kind is not NetworkKind.NONE
        metadata = CallKey(key, 1, key.purpose).metadata() if self.context.settings.team.send_metadata else {}
        offered = tuple(offered_tool(tool) for tool in tools if isinstance(tool, ExternalTool))
        return HarnessOrder(key, role.model, place.enter, offered, network=network, metadata=metadata)

    async def _wanted(
        self, assignment: Assignment[AnswerT], role: RoleSettings, restore: Snapshot | None, harness: Harness | None
    ) -> SandboxSpec | SetupOrder:
        if assignment.setup is not None:
            return assignment.setup
        sandbox = self.context.settings.team.sandbox
        return SandboxSpec(
            agent=assignment.key,
            base=await self.context.repo.base_source(assignment.key.run_id, assignment.base),
            mode=role.sandbox_mode,
            network=network_of(role),
            limits=sandbox.role_limits.get(role.name, sandbox.limits),
            environment=self.environment,
            restore=restore,
            paths=assignment.paths,
            programs=harness.folder if harness is not None else None,
            repositories=bool(self.context.repositories),
            environment_key=await self._environment_key(assignment),
        )

    async def _environment_key(self, assignment: Assignment[AnswerT]) -> str:
        environments = self.context.environments
        if environments is None:
            return ""
        # who only reads need not wait until everything is built
        waits = assignment.key.purpose not in {Purpose.SCOUT, Purpose.PLAN, Purpose.LOOKUP}
        key = await environments.key_for_agent(assignment.base, assignment.paths, wait=waits)
        self._receipts.environments[assignment.key] = key
        return key

    def _tool_limits(self) -> ToolLimits:
        return ToolLimits(
            output_tokens=self.context.settings.tool_output_tokens,
            output_bytes=self.context.settings.team.sandbox.limits.output_bytes,
            command_seconds=self.context.settings.team.limits.command_seconds,
        )

    def _server_tools(self, servers: ToolServers, role: RoleSettings, place: ToolContext) -> ServerTools:
        known = self.context.settings.mcp_servers
        return ServerTools(
            servers.inside(place.enter),
            role.mcp_servers,
            place,
            required=[id_ for id_ in role.mcp_servers if id_ in known and known[id_].required],
            notices=self._server_notices,
            price=self.gate.prices.get(role.model.model),
        )

    def _event_handler(self, key: AgentKey, role: RoleSettings) -> Callable[[AgentEvent], None]:
        def report(event: AgentEvent) -> None:
            fields = agent_fields(key, role)
            self.outage.take(key, event, self.context.clock.monotonic_seconds())
            self.activities.take(key, event, self.context.clock.wall_seconds())
            if isinstance(event, TurnAnswered | CallRetried):  # how crowded the service is may be another matter now
                self.places.look_again()
            match event:
                case TurnStarted():
                    self._heard[key] = self._answers
                case TurnAnswered():
                    self._answers += 1
                case TryUnanswered(turn, call, counted):
                    self.context.report("agent.unanswered", unanswered_fields(fields, turn, call, counted))
                case ToolStarted(call_id, name, what):
                    acted: JSONObject = {"action": action_words(name, what), "tool": name, "call": call_id}
                    self.context.report("agent.acted", {**fields, **acted})
                case ToolFinished():
                    self.context.report("agent.tool_finished", tool_fields(key, event))
                case CallRetried(reason, wait_seconds, tries):
                    again: JSONObject = {"reason": reason, "wait_seconds": wait_seconds, "tries": tries}
                    limit = self.patience(role.model.provider_id)
                    self.context.report("agent.waiting", {**fields, **again, "limit": limit})
                case BudgetAwaited(reason) | PersonAwaited(reason):
                    self.context.report("agent.waiting", {**fields, "reason": reason})
                case Compacted(turn, before, after):
                    sizes: JSONObject = {"bytes_before": before, "bytes_after": after}
                    self.context.report("agent.compacted", {**fields, "turn": turn, **sizes})
                case CallSent() | StreamBegan() | TextStreamed() | PlanUpdated():
                    return  # of no interest once it is over

        return report

    def _report_end(self, key: AgentKey, role: RoleSettings, outcome: AgentOutcome) -> None:
        effort = outcome.effort
        self.context.report(
            "agent.finished",
            {
                **agent_fields(key, role),
                "outcome": type(outcome).__name__,
                "reason": "" if isinstance(outcome, Submitted) else reason_of(outcome),
                "turns": effort.turns,
                "usage_total": encode(effort.usage),
                "unknown_usage_calls": effort.unknown_usage_calls,
            },
        )

    def _report_stopped(self, key: AgentKey, role: RoleSettings, turns: Sequence[StoredTurn]) -> None:
        end: JSONObject = {"outcome": "Stopped", "reason": "a person stopped it", "turns": len(turns)}
        self.context.report("agent.finished", {**agent_fields(key, role), **end})


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _can_travel(assignment: Assignment[Any]) -> bool:
    """Return whether an agent may work on a worker: not in a set-up's sandbox, and not while another waits in its slot."""
    return assignment.setup is None and assignment.key.purpose is not Purpose.LOOKUP


def _place_of(assignment: Assignment[Any], role: RoleSettings) -> tuple[SandboxMode, NetworkPolicy]:
    if assignment.setup is not None:
        return SandboxMode.WORKSPACE_WRITE, assignment.setup.network
    return role.sandbox_mode, network_of(role)


def network_of(role: RoleSettings) -> NetworkPolicy:
    """Return what a role's sandbox reaches: with full access everything, inside the sandbox."""
    if role.sandbox_mode is SandboxMode.DANGER_FULL_ACCESS and role.network.kind is NetworkKind.NONE:
        return NetworkPolicy(NetworkKind.OPEN)
    return role.network


def hosted_tools_of(role: RoleSettings) -> tuple[JSONObject, ...]:
    """Return the tools that the model service runs itself: its web search, as `web_search` says."""
    live = {"cached": False, "indexed": True, "live": True}.get(role.model.web_search)
    return () if live is None else ({"type": "web_search", "external_web_access": live},)
