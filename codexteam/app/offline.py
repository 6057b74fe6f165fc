"""Changes to a run that nobody drives at the moment: a person's answer, an edited plan."""

from dataclasses import replace

from codexteam.adapters.clock import SystemClock
from codexteam.adapters.run_files import PLAN_NAME, read_plan_file
from codexteam.app.command_lines import lines_of
from codexteam.app.looking import Where, state_of
from codexteam.app.plan_file import refuse_to_lose
from codexteam.app.start import Ground, cleaned_mark
from codexteam.app.telling import tell_offline
from codexteam.core.codec import encode_event
from codexteam.core.events import Answered, Event, PlanEdited
from codexteam.core.ids import RunId
from codexteam.core.people import plan_waits
from codexteam.core.plan import Plan, TaskStatus
from codexteam.core.plan_md import parse, placed, run_named_in
from codexteam.core.state import RunState
from codexteam.core.step import step
from codexteam.driver.loop import Seen
from codexteam.driver.performer import plan_of_state
from codexteam.driver.shown_plan import note_shown, users_edit, was_shown
from codexteam.errors import PlanError
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
    seen, lines = Seen(event, before, after, effects, number), await lines_of(store, record)
    tell_offline(ground, where, record, seen, lines=lines, at_seconds=now)
    return after


async def take_edited_plan(ground: Ground, where: Where, store: Store, record: RunRecord) -> None:
    """Take in what the user changed in plan.md while the run waited. The caller holds the lock.

    Raises:
        PlanError: the edit cannot be read, or does not hold together; names its line. Or the file is not the run's, and
            would be written over.
    """
    text = read_plan_file(ground.places.root / PLAN_NAME)
    if text is None or not text.strip():
        return
    run_id = record.run_id
    named = run_named_in(text)
    if named in {None, run_id} and await was_shown(store, run_id, text):
        return  # as the run wrote it; or it was begun with this file, and killed before it wrote its line into it
    if named != run_id:
        await refuse_to_lose(store, record, text)
        return
    state = await state_of(store, record)
    if not state.tasks:
        return
    edited = await users_edit(store, run_id, text, plan_of_state(state))
    if edited is not None:
        await _refuse_if_cleaned(store, record.run_id, edited)
        try:
            await apply_event(ground, where, store, record, PlanEdited(replace(edited, goal=state.goal)))
        except PlanError as error:
            raise placed(error, text, PLAN_NAME) from error
    # known from now on: the run goes on to write its progress into it
    await note_shown(store, run_id, on_disk=text, text=text, plan=parse(text).plan())


async def _refuse_if_cleaned(store: Store, run_id: RunId, edited: Plan) -> None:
    """Refuse new work on a green run whose branch is gone from the hub."""
    new = [task.id for task in edited.tasks if task.status is TaskStatus.TODO]
    if new and await store.get(*cleaned_mark(run_id)) is not None:
        what = f"run {run_id} was cleaned and takes no new tasks; the file was left as it is"
        raise PlanError(
            f"{PLAN_NAME}: {', '.join(new)}: {what}",
            hint='begin a new run with what is left to do: codexteam run "goal", or --plan FILE with tasks of yours',
        )


async def approve_planned(ground: Ground, where: Where, store: Store, record: RunRecord) -> None:
    """Going on with a run that was only planned is the approval of its plan. The caller holds the lock."""
    state = await state_of(store, record)
    if record.settings.get("plan_only") is True and plan_waits(state):
        await apply_event(ground, where, store, record, Answered("plan", "", approved=True))
