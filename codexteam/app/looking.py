"""Runs as they are now, for commands that only look: no lock, no migration, no write, also while a run goes on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from codexteam.agent.budget_gate import UNKNOWN_MODEL
from codexteam.agent.call_record import open_amount
from codexteam.agent.telling import fields_of, unanswered_fields
from codexteam.app.history import read_events
from codexteam.app.start import Ground, find_ground, pick_run
from codexteam.core.ids import RunId
from codexteam.core.state import Rules, RunState
from codexteam.driver.loop import load_state
from codexteam.errors import StoreError, UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store
from codexteam.report.board import Board
from codexteam.report.overview import RunOverview, UnreadableRun


@dataclass(frozen=True, slots=True)
class Where:
    """Where a command looks."""

    cwd: Path
    environment: Mapping[str, str]
    state_dir: Path | None = None

    def ground(self) -> Ground:
        """Find the repository and its state.

        Raises:
            RepoError: there is no repository.
        """
        return find_ground(self.cwd, self.environment, self.state_dir)


@asynccontextmanager
async def reading_store(ground: Ground) -> AsyncIterator[Store]:
    """Open the store to look at it.

    Raises:
        UsageError: nothing ever ran here.
        StoreError: it cannot be read.
    """
    from codexteam.adapters.store.sqlite_store import SqliteStore

    if not ground.store_path.exists():
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    store = SqliteStore(ground.store_path, read_only=True)
    try:
        yield store
    finally:
        await store.close()


def live_run(ground: Ground) -> RunId | None:
    """Give the run that a process works on at this moment; a process that only tidies up works on none."""
    from codexteam.adapters.lock import find_holder

    holder = find_holder(ground.state_dir, ground.places.common_dir)
    return RunId(holder.run_id) if holder is not None and holder.run_id else None


async def state_of(store: Store, record: RunRecord) -> RunState:
    """Give a run's newest state.

    Raises:
        StoreError: what is stored cannot be read.
    """
    return await load_state(store, record.run_id, goal=record.goal, rules=Rules())


async def overview(ground: Ground, store: Store, record: RunRecord, *, live: bool) -> RunOverview:
    """Give a run as it is now."""
    board = Board()
    for event in read_events(events_path(ground, record.run_id)):
        board.take(event)
    for event in [] if live else await open_calls_told(store, record, at_seconds=board.now_seconds):
        board.take(event)
    sittings = tuple(await store.sittings(record.run_id))
    return RunOverview(record, await state_of(store, record), board, live, sittings)


async def open_calls_told(store: Store, record: RunRecord, *, at_seconds: float) -> list[RunEvent]:
    """Tell what calls without an answer count for, of a run that nobody drives: those of a killed process are not told."""
    return [
        RunEvent(
            "agent.unanswered",
            at_seconds,
            unanswered_fields(
                fields_of(call.key.agent, UNKNOWN_MODEL), call.key.turn, call.key.purpose, open_amount(call)
            ),
        )
        for call in await store.open_calls(record.run_id)
    ]


async def overview_or_why(
    ground: Ground, store: Store, record: RunRecord, *, live: bool
) -> RunOverview | UnreadableRun:
    """Give a run as it is now, or why it cannot be read: where others are shown too, it must not hide them."""
    try:
        return await overview(ground, store, record, live=live)
    except StoreError as error:
        return UnreadableRun(record, error)


async def picked(ground: Ground, store: Store, name: str | None) -> RunOverview:
    """Give the run that a name means, the newest without one.

    Raises:
        UsageError: there is none, or several begin so.
    """
    record = await pick_run(store, name)
    return await overview(ground, store, record, live=live_run(ground) == record.run_id)


def events_path(ground: Ground, run_id: RunId) -> Path:
    """Give where a run's history is."""
    return ground.run_folder(run_id) / "events.jsonl"
