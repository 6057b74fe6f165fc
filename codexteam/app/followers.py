"""Who else follows a run in its own process: programs, addresses and hooks of the user, and a collector of telemetry."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from codexteam.app.display import RunDisplay
from codexteam.app.hook_reporter import HookReporter, make_hooks
from codexteam.app.secret_values import secret_values
from codexteam.app.session import SessionSpec
from codexteam.app.telemetry import telemetry_reporter
from codexteam.core.ids import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.ports.store import Store
from codexteam.report.notices import Notice, NoticeReader
from codexteam.report.rows import SESSION_ENDS


@dataclass(frozen=True, slots=True)
class NoticeChannel:
    """Where notices go."""

    names: frozenset[str]
    tell: Callable[[Notice], None]


class NoticeReporter:
    """The Reporter that tells of what a person wants to hear."""

    def __init__(self, channels: Sequence[NoticeChannel]) -> None:
        """Take the channels, each with the names of what it is told of."""
        self._channels = channels
        self._reader = NoticeReader()

    def report(self, event: RunEvent) -> None:
        """Tell of an event that is worth it."""
        notice = self._reader.take(event)
        for channel in self._channels if notice is not None else ():
            if notice is not None and notice.name in channel.names:
                channel.tell(notice)

    def close(self) -> None:
        """Nothing: channels are closed by who opened them."""


class _Sayer:
    """Says a line about a follower: as a notice of the run while it lasts, to the terminal afterwards."""

    def __init__(self, session: SessionSpec, store: Store, clock: Clock, display: RunDisplay) -> None:
        self._session = session
        self._store = store
        self._clock = clock
        self._display = display
        self._redactor = Redactor(secret_values(session.settings, session.project.environment))
        self._has_ended = False

    def report(self, event: RunEvent) -> None:
        self._has_ended = self._has_ended or event.kind in SESSION_ENDS

    def close(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Say a line to the terminal."""
        self._display.note(self._redactor.redact(text))

    def record(self, text: str) -> None:
        """Make a line a notice of the run."""
        fields: JSONObject = {"text": self._redactor.redact(text)}
        self._store.record_facts(self._session.run.run_id, [RunEvent("notice", self._clock.wall_seconds(), fields)])

    def say(self, text: str) -> None:
        """Say a line where it is seen."""
        (self.note if self._has_ended else self.record)(text)


@dataclass(frozen=True, slots=True)
class Followers:
    """Who follows a run beside what shows it."""

    reporters: tuple[Reporter, ...]
    notices: Reporter
    """Of them, who also must hear of an end that the store could not take."""


async def open_followers(
    session: SessionSpec,
    store: Store,
    clock: Clock,
    display: RunDisplay,
    *,
    earlier: Sequence[RunEvent],
    stack: AsyncExitStack,
) -> Followers:
    """Return who follows a run; the stack's end lets each finish, within a time limit."""
    sayer = _Sayer(session, store, clock, display)
    notices = NoticeReporter(_channels(session, display, sayer, stack))
    hooks = make_hooks(session.settings, session.project, session.run)
    found: list[Reporter] = [sayer, notices]
    if hooks is not None:
        hook = HookReporter(hooks, sayer.record, sayer.note, resumed=bool(earlier))
        stack.push_async_callback(hook.finish)
        found.append(hook)
    telemetry = await telemetry_reporter(session.settings, session.run.run_id, store, earlier, sayer.say)
    if telemetry is not None:
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        found.append(telemetry)
    return Followers(tuple(found), notices)


def _channels(
    session: SessionSpec, display: RunDisplay, sayer: _Sayer, stack: AsyncExitStack
) -> Sequence[NoticeChannel]:
    settings, run = session.settings, session.run
    wanted = settings.team.notifications
    environment = session.project.environment
    terminal = settings.terminal_notices
    shown = frozenset(wanted.events) & frozenset(terminal.names)
    channels = [NoticeChannel(shown, lambda notice: display.alert(notice.text, terminal.method))]
    if settings.notify:
        from codexteam.adapters.machine.notify import NotifyProgram

        program = NotifyProgram(
            settings.notify,
            run_id=run.run_id,
            goal=run.goal,
            folder=session.project.places.root,
            environment=environment,
            warn=display.note,
        )
        stack.callback(program.close)
        channels.append(NoticeChannel(frozenset(wanted.events), program.tell))
    if url := wanted.webhook_url(environment):
        from codexteam.adapters.machine.webhook import Webhook

        webhook = Webhook(url, seconds=wanted.webhook_seconds, run_id=run.run_id, goal=run.goal, warn=sayer.say)
        stack.push_async_callback(webhook.finish)
        channels.append(NoticeChannel(frozenset(wanted.events), webhook.tell))
    return channels


class LoadingAhead:
    """A follower of the journal that begins to load at an agent's first turn: until then a start is waited for."""

    def __init__(self, loaders: Sequence[Callable[[], None]]) -> None:
        """Take what loads, first things first. None of it may be in a hurry."""
        self._loaders = loaders
        self._begun = False

    def report(self, event: RunEvent) -> None:
        """Begin, once."""
        if event.kind == "agent.turn" and not self._begun:
            self._begun = True
            # the process does not wait for it to end
            threading.Thread(target=self._load, name="codexteam-loading", daemon=True).start()

    def close(self) -> None:
        """Leave it to itself."""

    def _load(self) -> None:
        for load in self._loaders:
            with suppress(Exception):  # what cannot be loaded is said where it is used
                load()
