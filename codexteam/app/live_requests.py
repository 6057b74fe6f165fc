"""Asks something of a run that a process works on: a request in the store, a signal, and what the run says to it."""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.person import person
from codexteam.app import requests
from codexteam.app.command_lines import lines_of, run_redactor
from codexteam.app.project import Project, live_run, reading_store
from codexteam.app.session import opened_store
from codexteam.core.ids import RunId
from codexteam.core.redaction import Redactor
from codexteam.ports.store import RunRecord, Store

#: How often the run's answer is looked for, in seconds between the looks; then the run takes the request when it can.
_LOOKS_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.0)
#: How long `stop --now` waits for the run's process to end.
_STOP_LOOKS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0, 2.0, 2.0)


class Fate(Enum):
    """What became of a request."""

    TAKEN = "taken"
    LEFT = "left"
    """The run is active and has not looked yet."""
    OVER = "over"
    """The run ended before it looked."""
    POSTED = "posted"
    """Nobody works on the run, and only its owner does: their next session takes it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The run looked, and says why not."""

    why: str


#: What becomes of what another account asks of a run that nobody works on.
POSTED_WORDS = "it is taken when the run's owner continues it"

Heard: TypeAlias = Fate | Refusal


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a request."""

    run_id: RunId
    what: str
    """What was asked about: an item of the inbox, a task, or the run."""
    message: str
    fate: str
    resumable: bool = False
    """Nobody works on the run, and it can be resumed now."""


async def ask_live(project: Project, run_id: RunId, asked: requests.Asked) -> Heard:
    """Leave a request with an active run, wake it, and wait briefly for its reply; one to a run that ends is taken back."""
    async with opened_store(project) as store:
        key = await requests.leave(store, run_id, asked, at_seconds=SystemClock().wall_seconds(), by=person())
        heard = await wait_until_heard(project, store, run_id, key)
        return await _withdrawn(store, run_id, key) if heard is Fate.OVER else heard


async def wait_until_heard(project: Project, store: Store, run_id: RunId, key: str) -> Heard:
    """Wake an active run for a request that was left with it, and wait briefly for its reply."""
    woken = False
    for seconds in _LOOKS_SECONDS:
        woken = woken or _wake(project, run_id)
        await asyncio.sleep(seconds)
        if (heard := await heard_of(store, run_id, key)) is not None:
            return heard
        if live_run(project) != run_id:
            # it may have been taken in the last moment
            return await heard_of(store, run_id, key) or Fate.OVER
    return Fate.LEFT


async def heard_of(store: Store, run_id: RunId, key: str) -> Heard | None:
    """Return what a run said to a request; None while it waits."""
    result = await requests.result_of(store, run_id, key)
    return None if result is None else Fate.TAKEN if result == requests.TAKEN else Refusal(result)


async def _withdrawn(store: Store, run_id: RunId, key: str) -> Heard:
    """Take back a request to a run that has ended, unless it was taken in the last moment."""
    heard = await heard_of(store, run_id, key)
    if heard is None:
        await requests.settle(store, run_id, key, "withdrawn: the run had ended")
    return heard or Fate.OVER


def _wake(project: Project, run_id: RunId) -> bool:
    from codexteam.adapters.machine.lock import find_holder

    holder = find_holder(project.state_dir, project.places.common_dir)
    return holder is not None and holder.run_id in {run_id, ""} and holder.wake()


def interrupt(project: Project, run_id: RunId) -> bool:
    """End a run that is still being opened and takes no requests yet: as Ctrl-C in its terminal would."""
    from codexteam.adapters.machine.lock import find_holder

    holder = find_holder(project.state_dir, project.places.common_dir)
    return holder is not None and holder.run_id == run_id and holder.interrupt()


async def ended(project: Project, run_id: RunId) -> bool:
    """Whether the run's process ends within some seconds."""
    for seconds in _STOP_LOOKS_SECONDS:
        if live_run(project) != run_id:
            return True
        await asyncio.sleep(seconds)
    return False


async def redactor_of(project: Project, record: RunRecord) -> Redactor:
    """Return what takes a run's secrets out of what people say: it is stored, and models are sent it."""
    async with reading_store(project) as store:
        return run_redactor(project, await lines_of(store, record))
