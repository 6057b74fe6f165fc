"""One session of a run: everything is opened, driven to its end, and closed again."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codexteam.adapters.machine.person import person
from codexteam.adapters.machine.shared_state import SharedState, close_up, group_id
from codexteam.app import requests
from codexteam.app.beginning import copied_notices
from codexteam.app.code_map import make_code_map, open_index
from codexteam.app.command_lines import budget_line
from codexteam.app.compose import build_environments, choose_engine, report_hosts_once
from codexteam.app.fork_points import first_state_mark
from codexteam.app.group_access import GroupRequests
from codexteam.app.hook_reporter import make_hooks
from codexteam.app.plan_file import GivenPlan
from codexteam.app.project import FORKED, Project
from codexteam.app.registries import setup_inputs
from codexteam.app.requests import RequestListener
from codexteam.app.scanning import make_scanner, usable_gates
from codexteam.app.secret_values import secret_values
from codexteam.app.server_memory import StoredMemory
from codexteam.app.several import copy_rules
from codexteam.app.signals import Signals, hard_exit
from codexteam.app.signs_of_life import SignsOfLife
from codexteam.app.steered_agents import ask_agent, follow_steering
from codexteam.config.priced import budget_words
from codexteam.config.settings import McpPlace, Settings, StepMode
from codexteam.core.budget import run_limit_amounts
from codexteam.core.documentation import asks_for_documentation
from codexteam.core.effects import Finish
from codexteam.core.events import Continued, Planned, RunStarted, StopRequested
from codexteam.core.ids import AgentKey, CommitId, JSONObject, JSONValue, Purpose, RunId
from codexteam.core.limits import RunLimits
from codexteam.core.redaction import Redactor
from codexteam.core.state import Rules, RunPhase, RunState, TaskPhase
from codexteam.core.steering_events import RunBudgetSet, Steering
from codexteam.core.stored_state import encode_state
from codexteam.errors import CodexteamError, UsageError
from codexteam.ports.clock import Clock
from codexteam.ports.model import Model, ServerMemory
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.ports.store import RunRecord, Store
from codexteam.report.progress import Progress
from codexteam.run.context import RunContext
from codexteam.run.effects import RunEffectHandler
from codexteam.run.history import keep_costs
from codexteam.run.loop import Driver, load_state
from codexteam.run.planning import put_in_place
from codexteam.system.cancellation import stopped
from codexteam.system.fault_points import reach

if TYPE_CHECKING:
    from codexteam.adapters.git.checkout import Checkout
    from codexteam.adapters.git.composite import Member
    from codexteam.run.agents import SandboxAgentRunner


#: How often it is looked at whether agents that may finish only wait for a model service.
_LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session needs to know."""

    project: Project
    settings: Settings
    run: RunRecord
    base: CommitId
    plan: GivenPlan | None = None
    """The user's plan, for a run that does not plan itself."""
    number: int = 1
    """Counted from 1, per run."""
    person: bool = False
    """Whether a person is at the terminal."""
    plan_only: bool = False
    """The run was begun by `codexteam plan`: its plan waits for its user, and resuming it is the approval."""
    review: bool = False
    """The run was begun by `codexteam review`: gates alone are at work."""
    batches: int = 0
    """The passes of the gates after which this session ends; 0 is any number."""
    members: "tuple[Member, ...]" = ()
    """The repositories of a run in several; empty where there is one."""

    @property
    def repositories(self) -> tuple[str, ...]:
        """Return the names of several repositories; empty where there is one."""
        return tuple(each.name for each in self.members)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended."""

    finish: Finish
    state: RunState
    folder: Path


def rules_of(session: SessionSpec) -> Rules:
    """Return the limits that the run is decided under."""
    team = session.settings.team
    limits: dict[str, Any] = {field.name: getattr(team.limits, field.name) for field in fields(RunLimits)}
    wanted = {*team.approve, "plan"} if session.plan_only else {*team.approve}
    if session.review:
        return Rules(
            **limits,
            gates=usable_gates(team.gates),
            scout=False,
            document=False,
            release=False,
            guarded=team.guarded_paths,
            check_base=True,
            allow_unchecked=team.gates.allow_unchecked,
            review=True,
        )
    return Rules(
        **limits,
        gates=usable_gates(team.gates),
        approve=tuple(word for word in ("plan", "merge") if word in wanted),
        scout=_scouts_look(session),
        document=team.steps.documentation is not StepMode.OFF and "documentation" in session.settings.roles,
        release=team.steps.release is not StepMode.OFF and "release_manager" in session.settings.roles,
        release_unchanged=team.steps.release is StepMode.ALWAYS,
        documentation_asked=asks_for_documentation(session.run.goal),
        guarded=team.guarded_paths,
        allow_guarded=team.allow_guarded,
        check_base=True,
        red_base=team.gates.red_base,
        allow_unchecked=team.gates.allow_unchecked,
        on_task_budget=team.budget.on_task_budget,
        fallbacks=len(team.escalation.fallback),
        best_of=team.best_of.attempts,
        best_of_tasks=team.best_of.tasks,
        person=session.person,
        repositories=session.repositories,
    )


def _scouts_look(session: SessionSpec) -> bool:
    """Return whether scouts look: they tell the planner of the repository, and the gates of its commands."""
    team = session.settings.team
    if team.limits.max_scouts == 0 or team.steps.scouts is StepMode.OFF:
        return False
    needless = session.plan is not None and bool(team.gates.commands)
    return team.steps.scouts is StepMode.ALWAYS or not needless


class RunSession:
    """A session under way: the adapters, and the loop that uses them."""

    def __init__(self, session: SessionSpec, store: Store, clock: Clock, signals: Signals, progress: Progress) -> None:
        """Take what is open already; `progress` is shown what the agents at work do."""
        self._session = session
        self._store = store
        self._clock = clock
        self._signals = signals
        self._progress = progress
        self._driver: Driver | None = None
        self._agents: SandboxAgentRunner | None = None
        self._stopping: StopRequested | None = None
        """What asked for an end that lets agents finish."""
        self._inputs = setup_inputs(session.settings, session.project.environment)
        known = secret_values(session.settings, session.project.environment)
        self._redactor = Redactor((*known, *self._inputs.credentials))
        self._checkout: Checkout | None = None
        """The user's, as it was at the beginning; None once the end was told."""

    @property
    def redactor(self) -> Redactor:
        """Return what takes secrets out of text."""
        return self._redactor

    def report(self, kind: str, fields: JSONObject) -> None:
        """Record a fact in the run's journal, without secrets; followers read it from there."""
        fact = RunEvent(kind, self._clock.wall_seconds(), self._redactor.redact_object(fields))
        self._store.record_facts(self._session.run.run_id, [fact])
        if self._stopping is not None and kind in {"agent.waiting", "agent.finished"}:
            self._stop_waiting(self._stopping)

    async def run(self) -> Ended:
        """Drive the run until this session ends, and say what else changed the user's checkout meanwhile.

        Raises:
            CodexteamError: it cannot continue; it can be resumed.
        """
        self._checkout = await asyncio.to_thread(self._look_at_checkout)
        try:
            return await self._run()
        except BaseException:
            self._tell_checkout()
            raise

    def _look_at_checkout(self) -> "Checkout | None":
        from codexteam.adapters.git.checkout import look_at_checkout

        project, recording = self._session.project, self._session.settings.team.record_file
        ours = [project.state_dir, *((recording,) if recording is not None else ())]
        return look_at_checkout(project.places, self._session.project.environment, ours)

    def _tell_checkout(self) -> None:
        """Say it once, just before the run is said to be finished: no agent is at work then, nobody waits for the look."""
        before, self._checkout = self._checkout, None
        after = self._look_at_checkout() if before is not None else None
        if before is None or after is None:
            return
        from codexteam.adapters.git.checkout import changes_of_checkout

        if changes := changes_of_checkout(before, after):
            self.report("checkout.changed", {"text": changes, "suspects": self._outside()})

    def _outside(self) -> list[JSONValue]:
        servers = self._session.settings.mcp_servers.values()
        return [*sorted({server.id for server in servers if server.enabled and server.place is McpPlace.HOST})]

    async def _run(self) -> Ended:
        session = self._session
        run_id = session.run.run_id
        rules = rules_of(session)
        state = await load_state(self._store, run_id, goal=session.run.goal, rules=rules)
        rules = replace(rules, last_round=state.round + session.batches if session.batches else 0)
        begun = state.phase is not RunPhase.NEW
        if not begun:
            # the rules are part of the state that events are replayed on, by whoever replays them; a session before
            # this one may have ended before it began
            state = replace(state, rules=rules)
            self._store.put_soon(*first_state_mark(run_id), encode_state(state))
            await self._store.save_checkpoint(run_id, 0, encode_state(state))
        self.report(
            "run.opened",
            {
                "run": run_id,
                "goal": session.run.goal,
                "by": person(),
                "budget": budget_words(session.settings.team.budget),
                "limits": run_limit_amounts(session.settings.team.budget),
                "stalled_seconds": session.settings.team.limits.stalled_minutes * 60,
            },
        )
        for notice in session.settings.notices:
            self.report("notice", {"text": notice})
        async with AsyncExitStack() as stack:
            context, agents = await self._open(stack)
            self._agents = agents
            self._progress.activities = agents.activities
            self._progress.stalled_seconds = session.settings.team.limits.stalled_minutes * 60
            _learn(agents, state)
            if FORKED in session.run.settings:  # a fork that was killed before its branch was there
                await put_in_place(context.repo, state)
            handler = RunEffectHandler(context)

            async def before_end(ended: RunState) -> None:
                await handler.forecast(ended)  # of a plan that its user is to look at first
                await agents.read_credits()
                self._tell_checkout()

            driver = Driver(
                run_id,
                store=self._store,
                handler=handler,
                clock=self._clock,
                state=state,
                redact=self._redactor.redact,
                before_end=before_end,
            )
            self._driver = driver
            stack.push_async_callback(stopped, asyncio.create_task(self._signs(agents).leave()))
            listener = RequestListener(self._store, run_id, session.number, take=self._take, report=self.report)
            stack.push_async_callback(listener.close)
            await self._share(stack, listener)
            with self._signals.driving(self._on_signal, listener.look):
                listener.look()  # what was asked while everything was being opened
                if not begun and session.plan is not None:
                    driver.post(Planned(session.plan.plan, by_person=session.plan.by_person))
                again = Continued(rules if rules != state.rules else None)
                finish = await driver.drive(again if begun else RunStarted())
                self._stopping = None
            if driver.state.result is not finish.result:  # stopped where it was: no decision says so
                code: JSONObject = {"exit_code": finish.exit_code}
                self._tell_checkout()
                self.report("run.finished", {"result": finish.result.value, "reason": finish.reason, **code})
            await keep_costs(self._store, driver.state)
            await self._store.set_run_state(run_id, finish.result.value)
            reach("effect.Finish.after")
            return Ended(finish, driver.state, context.files.folder)

    async def _share(self, stack: AsyncExitStack, listener: RequestListener) -> None:
        """Let the group that the configuration names look and ask, until the session ends; nobody where it names none."""
        access, project = self._session.settings.team.access, self._session.project
        if access.group is None:
            close_up(project.state_dir)
            return
        run_id = self._session.run.run_id
        group, folder = group_id(access.group), project.run_folder(run_id)
        shared = SharedState(project.state_dir, folder, group, takes_requests=bool(access.may))
        members = GroupRequests(
            shared, self._store, run_id, self._clock, may=access.may, look=listener.look, report=self.report
        )
        await members.look_once()
        stack.push_async_callback(stopped, asyncio.create_task(members.serve()))

    def _signs(self, agents: "SandboxAgentRunner") -> SignsOfLife:
        return SignsOfLife(
            self._store,
            self._clock,
            agents.activities,
            agents.reachable,
            run_id=(run_id := self._session.run.run_id),
            session=self._session.number,
            folder=self._session.project.run_folder(run_id),
            stalled_seconds=self._progress.stalled_seconds,
            state=lambda: None if self._driver is None else self._driver.state,
            report=self.report,
        )

    async def _open(self, stack: AsyncExitStack) -> tuple[RunContext, "SandboxAgentRunner"]:
        from codexteam.adapters.git.content import SecretScanner
        from codexteam.adapters.git.repo import GitRepo
        from codexteam.adapters.machine.run_files import DiskRunFiles
        from codexteam.app.compose import build_agent_runner

        session = self._session
        settings, project = session.settings, session.project
        files = DiskRunFiles(
            project.state_dir, session.run.run_id, plan_root=project.places.root, redact=self._redactor.redact
        )
        repo = GitRepo(
            project.places,
            project.state_dir,
            session.project.environment,
            history_depth=settings.team.history_depth,
            copied=(copied := copy_rules(settings, session.members)),
            scanner=SecretScanner(),
            members=session.members,
        )
        stack.push_async_callback(repo.close)
        roots = [each.places.root for each in session.members] or [project.places.root]
        unused = any(map(copied.has_unused_include, roots))
        for text in copied_notices(await repo.copied_files(), unused=unused):
            self.report("notice", {"text": text})
        memory = StoredMemory(self._store, session.run.run_id, self.report)
        model = make_model(settings, session.project.environment, self._clock, self._redactor.values, memory=memory)
        stack.push_async_callback(model.close)
        chosen = await choose_engine(
            settings.team.sandbox,
            state_dir=project.state_dir,
            environment=session.project.environment,
            files=repo,
            trusted=settings.trusted is True,
            on_denied=report_hosts_once(self.report),
            on_change=lambda text: self.report("notice", {"text": text}),
        )
        stack.push_async_callback(chosen.engine.close)
        # before any agent starts, so that being interrupted here leaves nothing either
        stack.push_async_callback(_sweep, chosen.engine, session.run.run_id, self.report)
        self.report(
            "sandbox.chosen", {"engine": chosen.report.name, "detail": chosen.report.version, "why": chosen.why}
        )
        if settings.team.sandbox.kind == "kubernetes":
            self.report("notice", {"text": "sandboxes are pods: what the tests need has to be in their image"})
        context = RunContext(
            session.run.run_id,
            session.base,
            settings,
            repo,
            self._store,
            chosen.engine,
            self._clock,
            files,
            self.report,
            self._redactor,
            scanner=make_scanner(settings.team.gates, files.folder / "scan"),
            hooks=make_hooks(settings, project, session.run),
            started_by=person(),
            repositories=session.repositories,
        )
        if settings.team.sandbox.builds_environments:
            context.environments = build_environments(context, self._inputs)
            stack.push_async_callback(context.environments.close)
        if settings.team.map.enabled:
            stack.push_async_callback((index := open_index(project.state_dir)).close)
            wait_seconds = settings.team.map.wait_seconds
            context.code_map = make_code_map(repo, index, settings.team.map, wait_seconds=wait_seconds)
            stack.push_async_callback(context.code_map.close)
        agents = await build_agent_runner(context, model, project, stack)
        context.agents = agents
        return context, agents

    def _on_signal(self, number: int, times: int) -> None:
        driver = self._driver
        if driver is None:
            return
        code = 128 + number
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if number == signal.SIGINT and times == 1:
            stop = StopRequested(f"by {name}; running agents finish first", code)
            if not self._stop_waiting(stop):
                driver.post(stop)
                self._let_finish(stop)
                self.report(
                    "notice", {"text": "running agents finish first; Ctrl-C again cuts them off (both can be resumed)"}
                )
        elif times <= 2 or number != signal.SIGINT:
            driver.halt(StopRequested(f"by {name}; agents were cut off, their work is saved", code))
            self.report("notice", {"text": f"{name}: cutting agents off; their work is saved", "cuts_off": True})
        else:
            hard_exit(code)  # the third Ctrl-C: the store is good at any moment

    def _let_finish(self, stop: StopRequested) -> None:
        """Let agents finish, as long as there is anything that they do beside waiting for the model service."""
        self._stopping = stop
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self._stopping is not None and not self._stop_waiting(self._stopping):
            self._let_finish(self._stopping)

    def _stop_waiting(self, stop: StopRequested) -> bool:
        """End at once where all agents at work only wait for a service that does not answer; whether it is so."""
        now_seconds = self._clock.monotonic_seconds()
        if self._driver is None or self._agents is None or not self._agents.outage.is_all(now_seconds):
            return False
        self._stopping = None
        why = "the model service does not answer; agents stopped waiting, their work is saved"
        first = stop.reason.partition(";")[0]
        self._driver.halt(StopRequested(f"{first}; {why}", stop.exit_code))
        return True

    async def _take(self, asked: requests.Asked, taken: requests.StoredValue) -> None:
        driver = self._driver
        if driver is None:
            return
        by = requests.asked_by(taken)
        if isinstance(asked, requests.AgentRequest):
            if self._agents is None:
                raise UsageError("no agent is at work yet", hint="codexteam status lists them")
            ask_agent(asked, self._agents)
            if isinstance(asked, requests.StopAgent):
                self.report("notice", {"text": f"{by or 'a person'} stops {asked.agent}"})
            return
        if isinstance(asked, requests.StopNow):
            driver.halt(StopRequested("codexteam stop --now", requests.STOP_EXIT_CODE))
            said = f"stop --now{f' by {by}' if by else ''}: cutting agents off; their work is saved"
            self.report("notice", {"text": said, "cuts_off": True})
            return
        values = [taken]
        if isinstance(asked, RunBudgetSet):
            values.append(await budget_line(self._store, self._session.run, asked))
        await driver.send(asked, values, by=by)
        if isinstance(asked, StopRequested) and not self._stop_waiting(asked):
            self._let_finish(asked)
        if isinstance(asked, Steering) and self._agents is not None:
            follow_steering(asked, driver.state, self._agents, self.report)


def _learn(agents: "SandboxAgentRunner", state: RunState) -> None:
    """Let what finished tasks took tell what others will need, as it did before the run was interrupted."""
    for known in state.tasks.values():
        if known.phase in {TaskPhase.QUEUED, TaskPhase.INTEGRATING, TaskPhase.MERGED}:
            task = known.task
            agent = AgentKey(state.run_id, task.role, Purpose.IMPLEMENT, task.id, max(1, known.attempt))
            agents.gate.learn(agent, task.effort)


async def _sweep(engine: SandboxEngine, run_id: RunId, report: Callable[[str, JSONObject], None]) -> None:
    """Leave nothing of ours behind, however the session ended; what cannot be removed does not change how it did."""
    reach("sandbox.sweep.before")
    try:
        await engine.sweep(run_id)
    except (CodexteamError, OSError) as error:
        left = f"sandboxes of this run may be left on {engine.name}: {error}"
        report("notice", {"text": f"{left}; `codexteam clean` removes them"})
    reach("sandbox.sweep.after")


def make_model(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    secrets: Sequence[str],
    *,
    memory: ServerMemory | None = None,
) -> Model:
    """Return the model: the providers' services, a recording that is played back, and a recorder around either."""
    from codexteam.adapters.recording import RecordingModel, ReplayModel
    from codexteam.adapters.responses.model import ModelOptions, ResponsesModel

    provider = settings.providers.get(settings.model.provider_id)
    model: Model
    if provider is not None and provider.id == "replay" and provider.replay_file is not None:
        model = ReplayModel(provider.replay_file, clock, speed=settings.team.replay_speed or None)
    else:
        team = settings.team
        options = ModelOptions(send_metadata=team.send_metadata, proxy_loopback=team.proxy_loopback, warm_first=True)
        jitter = random.Random().random  # noqa: S311 - for waiting, not for secrets
        model = ResponsesModel(settings.providers, environment, clock, jitter, options, memory=memory)
        # the client takes a second to import: while the sandboxes start
        model.start_warming()
    if settings.team.record_file is not None:
        return RecordingModel(model, settings.team.record_file, clock, secrets=secrets)
    return model


@asynccontextmanager
async def opened_store(project: Project) -> AsyncIterator[Store]:
    """Open the repository's store for a while.

    Raises:
        StoreError: it cannot be opened.
    """
    from codexteam.adapters.store.sqlite_store import SqliteStore

    store = SqliteStore(project.store_path)
    try:
        yield store
    finally:
        await store.close()
