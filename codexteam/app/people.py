"""What people decide: answers, approvals, messages, pause and stop, for a run that goes on and for one that waits."""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from codexteam.adapters.clock import SystemClock
from codexteam.app import requests
from codexteam.app.looking import Where, live_run, reading_store, state_of
from codexteam.app.offline import apply_event
from codexteam.app.output import Output
from codexteam.app.sitting import opened_store
from codexteam.app.start import Ground, pick_run, repository_lock
from codexteam.app.viewing import OVER, task_of
from codexteam.core.events import Answered, Continued, PauseRequested, StopRequested
from codexteam.core.ids import RunId
from codexteam.core.people import DECLINED
from codexteam.core.replies import Choice, read_reply
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.text import clean_line
from codexteam.errors import InvalidTransitionError, StoreError, UsageError
from codexteam.ports.store import RunRecord, Store

#: How often the run's answer is looked for, in seconds between the looks; then the run takes the request when it can.
_LOOKS_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.0)
#: How long `stop --now` waits for the run's process to end.
_STOP_LOOKS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0, 2.0, 2.0)
STOP_EXIT_CODE = 143


class Fate(Enum):
    """What became of a request."""

    TAKEN = "taken"
    LEFT = "left"
    """The run goes on and has not looked yet."""
    OVER = "over"
    """The run ended before it looked."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The run looked, and says why not."""

    why: str


Heard: TypeAlias = Fate | Refusal


@dataclass(frozen=True, slots=True)
class Item:
    """Something that waits, and its run."""

    record: RunRecord
    state: RunState
    name: str


def answer(where: Where, output: Output, item: str, run: str | None, *, text: str, choice: Choice) -> int:
    """Answer something that waits for a person.

    Raises:
        UsageError: nothing of that name waits, or the answer does not fit it.
    """
    return asyncio.run(_answer(where, output, item, run, text=text, choice=choice))


async def _answer(where: Where, output: Output, name: str, run: str | None, *, text: str, choice: Choice) -> int:
    ground = where.ground()
    item, live = await _find_item(ground, name, run)
    event = read_reply(item.state, item.name, text, choice)
    run_id = item.record.run_id
    heard = await _ask_live(ground, run_id, event) if live == run_id else Fate.OVER
    match heard:
        case Refusal(why):
            raise UsageError(f"{item.name}: {why}", hint="codexteam inbox lists what waits")
        case Fate.TAKEN:
            return _said(output, run_id, item.name, "the run has taken it", "taken")
        case Fate.LEFT:
            return _said(output, run_id, item.name, "the run will take it as soon as it looks", "left")
        case Fate.OVER:
            after = await _apply_offline(ground, where, item.record, event)
            waits = ", ".join(after.holds)
            if after.stop is not None and not waits:
                words = f"taken; the run ends: {after.stop.reason}"
                if after.plan_feedback == DECLINED:
                    words += "; codexteam resume takes plan.md as you edit it, or asks again"
            else:
                words = f"taken; it still waits for {waits}" if waits else "taken; codexteam resume goes on"
            return _said(output, run_id, item.name, words, "stored")


def _said(output: Output, run_id: RunId, what: str, words: str, fate: str) -> int:
    if output.json_lines:
        output.record({"type": "request.completed", "run": run_id, "what": what, "fate": fate, "message": words})
    else:
        output.write(f"{what}: {words}\n")
    return 0


async def _find_item(ground: Ground, name: str, run: str | None) -> tuple[Item, RunId | None]:
    """Find what waits under a name, or under the start of one, in the runs that are not over."""
    async with reading_store(ground) as store:
        records = [await pick_run(store, run)] if run else await store.runs()
        live = live_run(ground)
        waiting: list[Item] = []
        for record in records:
            if record.state in OVER:
                continue
            try:
                state = await state_of(store, record)
            except StoreError:
                if run:
                    raise
                continue  # it must not keep the others from being answered; `inbox` says why it cannot be read
            waiting += [Item(record, state, item) for item in state.holds]
    exact = [item for item in waiting if item.name == name]
    found = exact or [item for item in waiting if item.name.startswith(name)]
    if len(found) == 1:
        return found[0], live
    if not found:
        names = ", ".join(dict.fromkeys(item.name for item in waiting)) or "nothing"
        raise UsageError(f"nothing that waits is called {clean_line(name)!r}; what waits: {names}", hint=_INBOX)
    several = ", ".join(f"{item.name} in {item.record.run_id}" for item in found)
    raise UsageError(f"{clean_line(name)!r} names several things: {several}", hint="give the whole name, and --run RUN")


_INBOX = "codexteam inbox shows each with its question"


async def _ask_live(ground: Ground, run_id: RunId, asked: requests.Asked) -> Heard:
    """Leave a request with a run that goes on, wake it, and wait a little for what it says."""
    async with opened_store(ground) as store:
        key = await requests.leave(store, run_id, asked, at_seconds=SystemClock().wall_seconds())
        woken = False
        for seconds in _LOOKS_SECONDS:
            woken = woken or _wake(ground, run_id)
            await asyncio.sleep(seconds)
            result = await requests.result_of(store, run_id, key)
            if result is not None:
                return Fate.TAKEN if result == "taken" else Refusal(result)
            if live_run(ground) != run_id:
                return await _withdrawn(store, run_id, key)
        return Fate.LEFT


async def _withdrawn(store: Store, run_id: RunId, key: str) -> Heard:
    """Take back a request to a run that has ended, unless it was taken in the last moment."""
    result = await requests.result_of(store, run_id, key)
    if result is None:
        await requests.settle(store, run_id, key, "withdrawn: the run had ended")
        return Fate.OVER
    return Fate.TAKEN if result == "taken" else Refusal(result)


def _wake(ground: Ground, run_id: RunId) -> bool:
    from codexteam.adapters.lock import find_holder

    holder = find_holder(ground.state_dir, ground.places.common_dir)
    return holder is not None and holder.run_id in {run_id, ""} and holder.wake()


async def _apply_offline(ground: Ground, where: Where, record: RunRecord, event: Answered) -> RunState:
    """Take a person's answer into a run that nobody drives, under the repository's lock.

    Raises:
        UsageError: it no longer waits.
        RepositoryBusyError: another run goes on.
    """
    with repository_lock(ground, SystemClock().wall_seconds()):
        async with opened_store(ground) as store:
            try:
                after = await apply_event(ground, where, store, record, event)
            except InvalidTransitionError as error:
                raise UsageError(str(error), hint=_INBOX) from error
            if after.stop is not None and not after.holds:  # a person ended it
                await store.set_run_state(record.run_id, after.stop.result.value)
            return after


def say(where: Where, output: Output, task: str, text: str, run: str | None) -> int:
    """Put a message before the next turn of the agent that works on a task.

    Raises:
        UsageError: the run does not go on, or nobody works on the task.
    """
    return asyncio.run(_say(where, output, task, text, run))


async def _say(where: Where, output: Output, task: str, text: str, run: str | None) -> int:
    ground = where.ground()
    async with reading_store(ground) as store:
        record = await pick_run(store, run)
        known = task_of(await state_of(store, record), task)
        live = live_run(ground)
    task_id = known.task.id
    if live == record.run_id:
        match await _ask_live(ground, record.run_id, requests.SayTo(task_id, text)):
            case Refusal(why):
                raise UsageError(f"{task_id}: {why}", hint="codexteam status shows who works on what")
            case Fate.TAKEN:
                return _said(output, record.run_id, task_id, "its agent reads it before its next turn", "taken")
            case Fate.LEFT:
                return _said(output, record.run_id, task_id, "the run will take it as soon as it looks", "left")
            case Fate.OVER:
                pass
    if known.phase is TaskPhase.ON_HOLD:
        item = next((name for name, hold in known_holds(await _state(ground, record), task_id)), "")
        raise UsageError(f"{task_id} waits for an answer", hint=f'codexteam answer {item} "..."')
    raise UsageError(
        f"{task_id}: no agent is at work, run {record.run_id} does not go on",
        hint=_gone_on(record, "change the task in plan.md, then codexteam resume"),
    )


def _gone_on(record: RunRecord, hint: str) -> str:
    return 'it is over; codexteam run "goal" begins another' if record.state in OVER else hint


def known_holds(state: RunState, task_id: str) -> list[tuple[str, str]]:
    """Give what waits for a person because of a task: item and question."""
    return [(item, hold.question) for item, hold in state.holds.items() if hold.task_id == task_id]


async def _state(ground: Ground, record: RunRecord) -> RunState:
    async with reading_store(ground) as store:
        return await state_of(store, record)


def pause(where: Where, output: Output, run: str | None, *, go_on: bool) -> int:
    """Let no new agent start, or let them start again.

    Raises:
        UsageError: the run does not go on.
    """
    asked: requests.Asked = Continued() if go_on else PauseRequested()
    words = (
        "new agents start again"
        if go_on
        else "no new agent starts; codexteam pause --off goes on, codexteam resume once those at work have ended"
    )
    return asyncio.run(_steer(where, output, run, asked, words=words, idle=None))


def stop(where: Where, output: Output, run: str | None, *, now: bool) -> int:
    """End a run that goes on so that it can be resumed; agents at work end first, or at once with `now`.

    Raises:
        UsageError: there is no such run.
    """
    asked: requests.Asked = requests.StopNow() if now else StopRequested("codexteam stop", STOP_EXIT_CODE)
    words = "stopping; codexteam resume goes on with it" if now else "agents are let end; codexteam logs -f shows it"
    return asyncio.run(_steer(where, output, run, asked, words=words, idle="nothing goes on here"))


async def _steer(
    where: Where, output: Output, run: str | None, asked: requests.Asked, *, words: str, idle: str | None
) -> int:
    ground = where.ground()
    async with reading_store(ground) as store:
        live = live_run(ground)
        # without a name it is the run that goes on that is meant, be it the newest or not
        record = await pick_run(store, run or live)
    run_id = record.run_id
    if live != run_id:
        if idle is None:
            raise UsageError(f"run {run_id} does not go on", hint=_gone_on(record, "codexteam resume goes on with it"))
        return _said(output, run_id, run_id, idle, "over")
    heard = await _ask_live(ground, run_id, asked)
    stops = isinstance(asked, requests.StopNow | StopRequested)
    if heard is Fate.LEFT and stops and _interrupt(ground, run_id):
        heard = Fate.TAKEN
    if isinstance(asked, requests.StopNow) and heard in {Fate.TAKEN, Fate.OVER}:
        ended = heard is Fate.OVER or await _ended(ground, run_id)
        words = "stopped; codexteam resume goes on with it" if ended else "it is being stopped"
        return _said(output, run_id, run_id, words, "taken")
    match heard:
        case Refusal(why):
            raise UsageError(f"run {run_id}: {why}")
        case Fate.TAKEN:
            return _said(output, run_id, run_id, words, "taken")
        case Fate.LEFT:
            return _said(output, run_id, run_id, "the run will take it as soon as it looks", "left")
        case Fate.OVER:
            return _said(output, run_id, run_id, "it has just ended", "over")


def _interrupt(ground: Ground, run_id: RunId) -> bool:
    """End a run that is still being opened and takes no requests yet: as Ctrl-C in its terminal would."""
    from codexteam.adapters.lock import find_holder

    holder = find_holder(ground.state_dir, ground.places.common_dir)
    return holder is not None and holder.run_id == run_id and holder.interrupt()


async def _ended(ground: Ground, run_id: RunId) -> bool:
    for seconds in _STOP_LOOKS_SECONDS:
        if live_run(ground) != run_id:
            return True
        await asyncio.sleep(seconds)
    return False
