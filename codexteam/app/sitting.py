"""One sitting of a run: everything is opened, driven to its end, and closed again."""

import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.agent.office import Office
from codexteam.app import requests
from codexteam.app.engines import choose_engine, told_once
from codexteam.app.request_desk import RequestDesk
from codexteam.app.signals import Signals
from codexteam.app.start import Ground
from codexteam.config.settings import Settings
from codexteam.core.codec import encode_state
from codexteam.core.effects import Finish
from codexteam.core.events import Continued, Event, Planned, RunStarted, StopRequested
from codexteam.core.ids import CommitId, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.plan import Plan
from codexteam.core.redaction import Redactor
from codexteam.core.state import Rules, RunPhase, RunState
from codexteam.driver.loop import Driver, load_state
from codexteam.driver.performer import TeamPerformer
from codexteam.errors import CodexteamError, ConfigError
from codexteam.ports.clock import Clock
from codexteam.ports.fault_points import reach
from codexteam.ports.model import Model
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.ports.sandbox import SandboxEngine
from codexteam.ports.store import RunRecord, Store

if TYPE_CHECKING:
    from codexteam.agent.crew import SandboxCrew


@dataclass(frozen=True, slots=True)
class Sitting:
    """What a sitting needs to know."""

    ground: Ground
    settings: Settings
    environment: Mapping[str, str]
    run: RunRecord
    base: CommitId
    plan: Plan | None = None
    """The user's plan, for a run that does not plan itself."""
    document: bool = True
    release: bool = True
    folder: str = ""
    """The folder that the command was started in, relative to the repository's root."""
    number: int = 1
    """Counted from 1, per run."""
    plan_only: bool = False
    """The run was begun by `codexteam plan`: its plan waits for its user, and going on then is the approval."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sitting ended."""

    finish: Finish
    state: RunState
    folder: Path


def rules_of(sitting: Sitting) -> Rules:
    """Give the limits that the run is decided under."""
    team = sitting.settings.team
    limits = team.limits
    wanted = {*team.approve, "plan"} if sitting.plan_only else {*team.approve}
    return Rules(
        max_threads=limits.max_threads,
        max_rounds=limits.max_rounds,
        max_attempts=limits.max_attempts,
        max_resolves=limits.max_resolves,
        batch_size=limits.batch_size,
        max_tasks=limits.max_tasks,
        gates=team.gates.enabled,
        approve=tuple(word for word in ("plan", "merge") if word in wanted),
        scout=limits.max_scouts > 0,
        document=sitting.document and "documentation" in sitting.settings.roles,
        release=sitting.release and "release_manager" in sitting.settings.roles,
    )


class Table:
    """A sitting under way: the adapters, and the loop that uses them."""

    def __init__(
        self, sitting: Sitting, store: Store, clock: Clock, reporters: Sequence[Reporter], signals: Signals
    ) -> None:
        """Take what is open already; `reporters` get every event in order and are closed by their owner."""
        self._sitting = sitting
        self._store = store
        self._clock = clock
        self._reporters = reporters
        self._signals = signals
        self._driver: Driver | None = None
        self._crew: SandboxCrew | None = None
        values = secret_values(sitting.settings, sitting.environment)
        self._redactor = Redactor(values)
        self._secrets = values

    @property
    def redactor(self) -> Redactor:
        """Give what takes secrets out of text."""
        return self._redactor

    def tell(self, kind: str, fields: JSONObject) -> None:
        """Report a fact to all views and files, secrets taken out."""
        event = RunEvent(kind, self._clock.wall_seconds(), self._redactor.redact_object(fields))
        for reporter in self._reporters:
            reporter.report(event)

    async def sit(self) -> Ended:
        """Drive the run until this sitting ends.

        Raises:
            CodexteamError: it cannot go on; it can be resumed.
        """
        sitting = self._sitting
        run_id = sitting.run.run_id
        rules = rules_of(sitting)
        state = await load_state(self._store, run_id, goal=sitting.run.goal, rules=rules)
        begun = state.phase is not RunPhase.NEW
        if not begun:
            # the rules are part of the state that events are replayed on, by whoever replays them; a sitting before
            # this one may have ended before it began
            state = replace(state, rules=rules)
            await self._store.save_checkpoint(run_id, 0, encode_state(state))
        self.tell("run.opened", {"run": run_id, "goal": sitting.run.goal, "budget": budget_words(sitting.settings)})
        for notice in sitting.settings.notices:
            self.tell("notice", {"text": notice})
        async with AsyncExitStack() as stack:
            office, crew = await self._open(stack)
            self._crew = crew
            performer = TeamPerformer(office, sitting.base, also=self._also)
            driver = Driver(run_id, store=self._store, performer=performer, clock=self._clock, state=state)
            self._driver = driver
            desk = RequestDesk(self._store, run_id, sitting.number, take=self._take, tell=self.tell)
            stack.push_async_callback(desk.close)
            with self._signals.driving(self._on_signal, desk.look):
                desk.look()  # what was asked while everything was being opened
                if not begun and sitting.plan is not None:
                    driver.post(Planned(sitting.plan))
                again = Continued(rules if rules != state.rules else None)
                finish = await driver.drive(again if begun else RunStarted())
            if driver.state.result is not finish.result:  # stopped where it was: no decision says so
                code: JSONObject = {"exit_code": finish.exit_code}
                self.tell("run.finished", {"result": finish.result.value, "reason": finish.reason, **code})
            await self._store.set_run_state(run_id, finish.result.value)
            reach("effect.Finish.after")
            return Ended(finish, driver.state, office.files.folder)

    def _also(self, event: Event) -> None:
        if self._driver is not None:
            self._driver.post(event)

    async def _open(self, stack: AsyncExitStack) -> tuple[Office, "SandboxCrew"]:
        from codexteam.adapters.git.repo import GitRepo
        from codexteam.adapters.run_files import DiskRunFiles
        from codexteam.adapters.secret_scan import SecretScanner
        from codexteam.app.hiring import Surroundings, hire

        sitting = self._sitting
        settings, ground = sitting.settings, sitting.ground
        files = DiskRunFiles(
            ground.state_dir, sitting.run.run_id, plan_root=ground.places.root, redact=self._redactor.redact
        )
        repo = GitRepo(
            ground.places,
            ground.state_dir,
            sitting.environment,
            history_depth=settings.team.history_depth,
            copy_ignored=settings.team.sandbox.copy_ignored,
            scanner=SecretScanner(),
        )
        stack.push_async_callback(repo.close)
        model = make_model(settings, sitting.environment, self._clock, self._secrets)
        stack.push_async_callback(model.close)
        chosen = await choose_engine(
            settings.team.sandbox,
            state_dir=ground.state_dir,
            environment=sitting.environment,
            files=repo,
            trusted=settings.trusted is True,
            on_denied=told_once(self.tell),
        )
        stack.push_async_callback(chosen.engine.close)
        # before anybody is hired, so that an end in the middle of it leaves nothing either
        stack.push_async_callback(_sweep, chosen.engine, sitting.run.run_id, self.tell)
        self.tell("sandbox.chosen", {"engine": chosen.report.name, "detail": chosen.report.version, "why": chosen.why})
        around = Surroundings(
            run_id=sitting.run.run_id,
            base=sitting.base,
            root=ground.places.root,
            folder=sitting.folder,
            settings=settings,
            environment=sitting.environment,
            model=model,
            engine=chosen.engine,
            repo=repo,
            store=self._store,
            clock=self._clock,
            files=files,
            redactor=self._redactor,
            tell=self.tell,
        )
        crew = await hire(around, stack)
        return Office(
            sitting.run.run_id,
            settings,
            crew,
            repo,
            self._store,
            chosen.engine,
            self._clock,
            files,
            self.tell,
            self._secrets,
        ), crew

    def _on_signal(self, number: int, times: int) -> None:
        driver = self._driver
        if driver is None:
            return
        code = 128 + number
        name = signal.Signals(number).name
        if number == signal.SIGINT and times == 1:
            driver.post(StopRequested(f"{name}: agents could end first", code))
            self.tell("notice", {"text": "letting agents end; Ctrl-C again stops them (both can be resumed)"})
        elif times <= 2 or number != signal.SIGINT:
            driver.halt(StopRequested(f"{name}: agents were stopped where they were", code))
            self.tell("notice", {"text": f"{name}: stopping agents where they are"})
        else:
            os._exit(code)  # the third Ctrl-C: the store is good at any moment

    async def _take(self, asked: requests.Asked) -> None:
        driver = self._driver
        if driver is None:
            return
        if isinstance(asked, requests.SayTo):
            if self._crew is None or not self._crew.say(asked.task_id, asked.text):
                raise ConfigError(f"no agent works on {asked.task_id}")
        elif isinstance(asked, requests.StopNow):
            driver.halt(StopRequested("codexteam stop --now", 143))
        else:
            event = requests.as_event(asked)
            if event is not None:
                await driver.send(event)


async def _sweep(engine: SandboxEngine, run_id: RunId, tell: Callable[[str, JSONObject], None]) -> None:
    """Leave nothing of ours behind, however the sitting ended; what cannot be removed does not change how it did."""
    reach("sandbox.sweep.before")
    try:
        await engine.sweep(run_id)
    except (CodexteamError, OSError) as error:
        left = f"sandboxes of this run may be left on {engine.name}: {error}"
        tell("notice", {"text": f"{left}; `codexteam clean` removes them"})
    reach("sandbox.sweep.after")


def secret_values(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Give the values that must not reach a sandbox, a file, a log or a commit: every provider's key, every MCP token."""
    names: set[str | None] = {provider.api_key_variable for provider in settings.providers.values()}
    names |= {name for provider in settings.providers.values() for name in provider.env_http_headers.values()}
    names |= {server.bearer_token_env_var for server in settings.mcp_servers.values()}
    names |= {*settings.team.sandbox.proxy_secrets.values(), *settings.team.sandbox.setup_secrets}
    names |= {
        name for name in environment if any(word in name.upper() for word in ("API_KEY", "SECRET", "TOKEN", "PASSWORD"))
    }
    # what the user names for commands is theirs to show
    shown = settings.team.sandbox.environment
    values = {environment[name] for name in names if name is not None and name in environment and name not in shown}
    values |= {provider.bearer_token for provider in settings.providers.values() if provider.bearer_token}
    return tuple(sorted(value for value in values if len(value) >= 8))


def make_model(settings: Settings, environment: Mapping[str, str], clock: Clock, secrets: Sequence[str]) -> Model:
    """Give the model: the providers' services, a recording that is played back, and a recorder around either."""
    from codexteam.adapters.recording import RecordingModel, ReplayModel
    from codexteam.adapters.responses.model import ModelOptions, ResponsesModel

    provider = settings.providers.get(settings.model.provider_id)
    model: Model
    if provider is not None and provider.id == "replay" and provider.replay_file is not None:
        model = ReplayModel(provider.replay_file, clock, speed=settings.team.replay_speed or None)
    else:
        options = ModelOptions(send_metadata=settings.team.send_metadata, warm_first=True)
        model = ResponsesModel(settings.providers, environment, clock, random.Random().random, options)  # noqa: S311 - jitter
        # the client takes a second to import: while the sandboxes start
        model.start_warming()
    if settings.team.record_file is not None:
        return RecordingModel(model, settings.team.record_file, clock, secrets=secrets)
    return model


def budget_words(settings: Settings) -> str:
    """Give the run's limits in words; empty without any."""
    budget = settings.team.budget
    words = [f"${budget.run_usd:.2f}"] if budget.run_usd is not None else []
    words += [f"{budget.run_credits:g} credits"] if budget.run_credits is not None else []
    words += [f"{budget.run_tokens:,} tokens"] if budget.run_tokens is not None else []
    return ", ".join(words)


@asynccontextmanager
async def opened_store(ground: Ground) -> AsyncIterator[Store]:
    """Open the repository's store for a while.

    Raises:
        StoreError: it cannot be opened.
    """
    from codexteam.adapters.store.sqlite_store import SqliteStore

    store = SqliteStore(ground.store_path)
    try:
        yield store
    finally:
        await store.close()
