"""Changes to a run that nobody drives at the moment: a person's answer, an edited plan."""

from dataclasses import replace

from codexteam.adapters.clock import SystemClock
from codexteam.adapters.run_files import PLAN_NAME, read_plan_file
from codexteam.app.looking import Where, state_of
from codexteam.app.start import Ground
from codexteam.app.telling import tell_offline
from codexteam.core.codec import encode_event
from codexteam.core.events import Answered, Event, PlanEdited
from codexteam.core.people import DECLINED
from codexteam.core.state import RunState
from codexteam.core.step import step
from codexteam.driver.loop import Seen
from codexteam.driver.performer import plan_of_state
from codexteam.driver.shown_plan import users_edit
from codexteam.ports.store import RunRecord, Store


async def apply_event(ground: Ground, where: Where, store: Store, record: RunRecord, event: Event) -> RunState:
    """Take an event into a stored run and its history; what follows from it is done at `resume`.

    The caller holds the lock.

    Raises:
        InvalidTransitionError: the run does not allow it now.
        PlanError: an edited plan does not hold together.
    """
    before = await state_of(store, record)
    after, effects = step(before, event)
    now = SystemClock().wall_seconds()
    number = await store.append(record.run_id, [(now, *encode_event(event))])
    tell_offline(ground, where, record, Seen(event, before, after, effects, number), at_seconds=now)
    return after


async def take_edited_plan(ground: Ground, where: Where, store: Store, record: RunRecord) -> None:
    """Take in what the user changed in plan.md while the run waited. The caller holds the lock.

    Raises:
        PlanError: the edit cannot be read, or does not hold together; names its line.
    """
    text = read_plan_file(ground.places.root / PLAN_NAME)
    if text is None or record.run_id not in text:
        return
    state = await state_of(store, record)
    if not state.tasks:
        return
    edited = await users_edit(store, record.run_id, text, plan_of_state(state))
    if edited is not None:
        await apply_event(ground, where, store, record, PlanEdited(replace(edited, goal=state.goal)))


async def approve_planned(ground: Ground, where: Where, store: Store, record: RunRecord) -> None:
    """Going on with a run that was only planned is the approval of its plan. The caller holds the lock."""
    state = await state_of(store, record)
    if record.settings.get("plan_only") is True and "plan" in state.holds and state.plan_feedback != DECLINED:
        await apply_event(ground, where, store, record, Answered("plan", "", approved=True))
