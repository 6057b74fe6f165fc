"""Brings what a person decides to its run: through the process that works on it, else under the repository's lock.

It is taken once, whatever crashes: a request stays until it is settled, and it is settled in the transaction of the event
that it becomes. One that a run has not looked at when it ends is taken in here, or by the next session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.person import person
from codexteam.app import requests
from codexteam.app.apply_offline import apply_event, expected_state
from codexteam.app.command_lines import budget_line
from codexteam.app.inspect import OVER
from codexteam.app.live_requests import Fate, Refusal, heard_of, redactor_of, wait_until_heard
from codexteam.app.posting import leave_letter, post_request, posts
from codexteam.app.project import (
    Project,
    cleaned_mark,
    live_run,
    reading_store,
    refuse_cleaned,
    repository_lock,
    state_of,
)
from codexteam.app.session import opened_store
from codexteam.core.events import Answered
from codexteam.core.redaction import redact_texts
from codexteam.core.state import RunState
from codexteam.core.steering_events import RunBudgetSet, Steering
from codexteam.errors import InvalidTransitionError, RepositoryBusyError, UsageError
from codexteam.ports.store import RunRecord, Store


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of an event that was brought to a run."""

    fate: Fate
    """`OVER`: nobody works on the run, and it is stored."""
    before: RunState
    after: RunState
    """As it is now; as it would be, where the run has not looked yet."""


async def deliver(project: Project, record: RunRecord, event: Answered | Steering) -> Delivered:
    """Have an event taken in by its run, and say what became of it.

    Raises:
        UsageError: the run does not allow it; says what it does.
        PlanError: its plan would not hold together.
        RepositoryBusyError: nobody works on this run, but on another one.
    """
    refuse_cleaned(record)
    async with reading_store(project) as store:
        before = await state_of(store, record)
        if await store.get(*cleaned_mark(record.run_id)) is not None:
            raise UsageError(
                f"run {record.run_id} was cleaned, and takes nothing any more",
                hint='begin a new run: codexteam run "goal"',
            )
    event = redact_texts(event, (await redactor_of(project, record)).redact)
    expected = expected_state(before, event)
    if posts(project):
        return await _posted(project, record, event, before, expected)
    key = None
    if live_run(project) == record.run_id:
        async with opened_store(project) as store:
            key = await requests.leave(
                store, record.run_id, event, at_seconds=SystemClock().wall_seconds(), by=person()
            )
            heard = await wait_until_heard(project, store, record.run_id, key)
            if isinstance(heard, Refusal):
                raise UsageError(heard.why)
            if heard is Fate.TAKEN:
                return Delivered(heard, before, await state_of(store, record))
            if heard is Fate.LEFT:
                return Delivered(heard, before, expected)
    try:
        return await _apply(project, record, event, key, before)
    except RepositoryBusyError:
        if key is not None and live_run(project) == record.run_id:  # its next session takes what waits
            return Delivered(Fate.LEFT, before, expected)
        raise


async def _posted(
    project: Project, record: RunRecord, event: Answered | Steering, before: RunState, expected: RunState
) -> Delivered:
    """Ask the account that owns the run."""
    if live_run(project) != record.run_id:
        await leave_letter(project, record.run_id, event)
        return Delivered(Fate.POSTED, before, expected)
    heard = await post_request(project, record.run_id, event)
    if isinstance(heard, Refusal):
        raise UsageError(heard.why)
    async with reading_store(project) as store:
        return Delivered(heard, before, await state_of(store, record) if heard is Fate.TAKEN else expected)


async def _apply(
    project: Project, record: RunRecord, event: Answered | Steering, key: str | None, before: RunState
) -> Delivered:
    with repository_lock(project, SystemClock().wall_seconds()):
        async with opened_store(project) as store:
            if key is not None:
                heard = await heard_of(store, record.run_id, key)
                if isinstance(heard, Refusal):
                    raise UsageError(heard.why)
                if heard is not None:
                    return Delivered(heard, before, await state_of(store, record))
            try:
                after = await apply_event(project, store, record, event, await _values(store, record, event, key))
            except InvalidTransitionError as error:
                raise UsageError(str(error)) from error
            if isinstance(event, Answered) and after.stop is not None and not after.holds:  # a person ended it
                await store.set_run_state(record.run_id, after.stop.result.value)
            elif record.state in OVER and after.result is not None:  # and there is more to be done
                await store.set_run_state(record.run_id, after.result.value)
            return Delivered(Fate.OVER, before, after)


async def _values(
    store: Store, record: RunRecord, event: Answered | Steering, key: str | None
) -> Sequence[requests.StoredValue]:
    values = [] if key is None else [await requests.settled(store, record.run_id, key)]
    if isinstance(event, RunBudgetSet):
        values.append(await budget_line(store, record, event))
    return values
