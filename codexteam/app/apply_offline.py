"""Changes to a run that nobody drives at the moment: a person's answer, an edited plan."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.person import person
from codexteam.adapters.machine.run_files import PLAN_NAME, read_plan_file, replace_file
from codexteam.app.command_lines import lines_of, run_redactor
from codexteam.app.journal import write_events_file
from codexteam.app.plan_file import NO_TASKS, check_roles, plan_names, refuse_to_lose
from codexteam.app.project import Project, cleaned_mark, state_of
from codexteam.app.requests import StoredValue
from codexteam.app.secret_values import secret_values
from codexteam.config.settings import Settings
from codexteam.core.approvals import plan_waits
from codexteam.core.events import Answered, Event, PlanEdited
from codexteam.core.ids import RunId
from codexteam.core.plan_check import check_plan, placed
from codexteam.core.plan_edit import compare
from codexteam.core.plan_graph import Plan, TaskStatus
from codexteam.core.plan_md import PlanDocument, normal_line, parse, run_named_in
from codexteam.core.redaction import Redactor, redact_texts
from codexteam.core.state import RunState
from codexteam.core.step import step
from codexteam.core.stored_state import encode_event
from codexteam.errors import InvalidTransitionError, PlanError, UsageError
from codexteam.ports.store import RunRecord, Store
from codexteam.run.effects import plan_of_state
from codexteam.run.loop import StoredStep
from codexteam.run.plan_versions import marked_by_user, note_shown, says_other_goal, users_edit, was_shown


async def apply_event(
    project: Project, store: Store, record: RunRecord, event: Event, values: Sequence[StoredValue] = ()
) -> RunState:
    """Take an event into a stored run and its history; what follows from it is done at `resume`.

    The caller holds the lock. `values` are stored in the same transaction. It is told under the name of this process's user.

    Raises:
        InvalidTransitionError: the run does not allow it now.
        PlanError: an edited plan does not hold together.
        UsageError: a person asks for what makes no sense now.
    """
    before = await state_of(store, record)
    lines = await lines_of(store, record)
    event = redact_texts(event, run_redactor(project, lines).redact)
    after, effects = step(before, event)
    now = SystemClock().wall_seconds()
    decided = StoredStep(event, before, after, effects, by=person())
    await store.append(record.run_id, [(now, *encode_event(event))], [decided.facts(now)], values)
    await write_events_file(project, store, record)
    return after


def expected_state(state: RunState, event: Event) -> RunState:
    """Return what a run would be with an event; nothing is stored.

    Raises:
        UsageError: the run does not allow it now.
        PlanError: an edited plan does not hold together.
    """
    try:
        return step(state, event)[0]
    except InvalidTransitionError as error:
        raise UsageError(str(error)) from error


async def take_edited_plan(project: Project, store: Store, record: RunRecord, settings: Settings) -> tuple[str, ...]:
    """Take in what the user changed in plan.md while the run waited; give what of it came too late, in words.

    All of the edit is looked at before any of it is stored, so that a correction is read like the first edit was. The
    caller holds the lock.

    Raises:
        PlanError: the edit cannot be read, or does not hold together; names its line. Or the file is not the run's, and
            would be written over. Or a task that is left to do has a role that is gone.
    """
    text = read_plan_file(project.places.root / PLAN_NAME)
    state = await state_of(store, record)
    told: tuple[str, ...] = ()
    if text is not None and not text.strip():
        if state.tasks:
            hint = "put the tasks back, or remove the file, and the run's plan is written anew"
            raise PlanError(f"{PLAN_NAME}:1: the file is empty", hint=hint)
    elif text is not None and not await _is_as_written(store, record, text):
        told = await _take_edit(project, store, record, settings=settings, text=text)
        state = await state_of(store, record)
    check_roles(settings, state, text)
    return told


async def _is_as_written(store: Store, record: RunRecord, text: str) -> bool:
    # or the run was begun with this file, and killed before it wrote its line into it
    return run_named_in(text) in {None, record.run_id} and await was_shown(store, record.run_id, text)


async def _take_edit(
    project: Project, store: Store, record: RunRecord, *, settings: Settings, text: str
) -> tuple[str, ...]:
    run_id = record.run_id
    if run_named_in(text) != run_id:
        await refuse_to_lose(store, record, text)
        return ()
    state = await state_of(store, record)
    if not state.tasks:
        return ()
    document = parse(text)
    await _refuse_other_goal(store, record, document, text)
    edited = await users_edit(store, run_id, text, plan_of_state(state))
    told: tuple[str, ...] = ()
    if edited is not None:
        _refuse_empty(document)
        edit = compare(edited, state, marked=await marked_by_user(store, run_id, edited))
        check_plan(document, text, PLAN_NAME, edit.changed, plan_names(settings, state))
        await _refuse_if_cleaned(store, record.run_id, edited)
        try:
            event = PlanEdited(replace(edited, goal=state.goal), edit.restarted)
            await apply_event(project, store, record, event)
        except PlanError as error:
            raise placed(error, document, PLAN_NAME) from error
        if edit.late:
            kept = _keep(project, run_id, Redactor(secret_values(settings, project.environment)).redact(text))
            told = (*(f"{PLAN_NAME}: {words}" for words in edit.late), f"{PLAN_NAME} as you edited it is kept: {kept}")
    # known from now on: the run continues to write its progress into it
    await note_shown(store, run_id, on_disk=text, text=text, plan=document.plan())
    return told


async def _refuse_other_goal(store: Store, record: RunRecord, document: PlanDocument, text: str) -> None:
    """Refuse another goal: what was planned, built and judged so far was for the one that the run began with."""
    if not await says_other_goal(store, record.run_id, document.plan(), record.goal):
        return
    number = next((at for at, line in enumerate(text.split("\n"), start=1) if line.casefold().startswith("## goal")), 1)
    goal = normal_line(record.goal)
    first = goal if len(goal) <= 200 else f"{goal[:200]}..."
    raise PlanError(
        f"{PLAN_NAME}:{number}: the goal was changed, and a run keeps the goal that it began with: {first}",
        hint=f"put it back and change the tasks; or begin a new run with this file: codexteam run --plan {PLAN_NAME}",
    )


def _refuse_empty(document: PlanDocument) -> None:
    if all(task.status is TaskStatus.DROPPED for task in document.plan().tasks):
        raise PlanError(
            f"{PLAN_NAME}: there are no tasks in it that are not dropped; the file was left as it is",
            hint=f"{NO_TASKS}; remove the file, and the run's plan is written anew; codexteam clean gives a run up",
        )


def _keep(project: Project, run_id: RunId, text: str) -> Path:
    """Keep an edited plan.md, of which the run's progress is about to replace a part."""
    path = project.run_folder(run_id) / "plan-as-edited.md"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, text, mode=0o600)
    return path


async def _refuse_if_cleaned(store: Store, run_id: RunId, edited: Plan) -> None:
    """Refuse new work on a green run whose branch is gone from the hub."""
    new = [task.id for task in edited.tasks if task.status is TaskStatus.TODO]
    if new and await store.get(*cleaned_mark(run_id)) is not None:
        what = f"run {run_id} was cleaned and takes no new tasks; the file was left as it is"
        raise PlanError(
            f"{PLAN_NAME}: {', '.join(new)}: {what}",
            hint='begin a new run with what is left to do: codexteam run "goal", or --plan FILE with tasks of yours',
        )


async def approve_planned(project: Project, store: Store, record: RunRecord) -> None:
    """Going on with a run that was only planned is the approval of its plan. The caller holds the lock."""
    state = await state_of(store, record)
    if (record.settings.get("plan_only") is True or state.plan_only) and plan_waits(state):
        await apply_event(project, store, record, Answered("plan", "", approved=True))
