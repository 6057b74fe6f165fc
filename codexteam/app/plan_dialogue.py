"""A plan that its user talks about until it is as they want it: `codexteam plan -i`. Each step is stored, as by itself."""

import asyncio
from dataclasses import dataclass

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.run_files import PLAN_NAME
from codexteam.adapters.machine.terminal import open_editor
from codexteam.app import control
from codexteam.app.apply_offline import take_edited_plan
from codexteam.app.command_lines import lines_of, load_with_lines
from codexteam.app.project import Project, pick_run, reading_store, repository_lock, state_of
from codexteam.app.session import opened_store
from codexteam.config.request import LoadRequest
from codexteam.core.approvals import plan_waits
from codexteam.core.ids import RunId
from codexteam.core.plan_edit import changes_between
from codexteam.core.replies import Choice
from codexteam.core.state import RunState, TaskPhase

PLAN_ITEM = "plan"
QUESTIONS_ITEM = "plan-questions"


@dataclass(frozen=True, slots=True)
class PlanStanding:
    """What the run wants to hear of its user now."""

    questions: tuple[str, ...] = ()
    """The planner's, before there is a plan."""
    waits: bool = False
    """There is a plan, and it waits for approval."""


@dataclass(frozen=True, slots=True)
class EditedPlan:
    """A plan as its user edited it."""

    changes: tuple[str, ...]
    """A line each; empty where nothing that counts was changed."""
    notes: tuple[str, ...]
    """What of the edit is not taken, and why."""


def standing(project: Project, run_id: RunId) -> PlanStanding:
    """Return what a run waits for."""
    state = asyncio.run(_state(project, run_id))
    hold = state.holds.get(QUESTIONS_ITEM)
    return PlanStanding(tuple(hold.question.splitlines()) if hold else (), plan_waits(state))


async def _state(project: Project, run_id: RunId) -> RunState:
    async with reading_store(project) as store:
        return await state_of(store, await pick_run(store, run_id))


def approve(project: Project, run_id: RunId) -> None:
    """Approve the plan."""
    control.answer(project, PLAN_ITEM, run_id, text="", choice=Choice.APPROVE)


def correct(project: Project, run_id: RunId, words: str) -> None:
    """Say what to change; the planner reads it when the run continues."""
    control.answer(project, PLAN_ITEM, run_id, text=words, choice=Choice.DECLINE)


def answer_questions(project: Project, run_id: RunId, words: str) -> None:
    """Answer the planner's questions; without words it is to decide by itself."""
    choice = Choice.NONE if words else Choice.DECLINE
    text = words or "The user does not answer questions; decide, and say so."
    control.answer(project, QUESTIONS_ITEM, run_id, text=text, choice=choice)


def edit(project: Project, load: LoadRequest, run_id: RunId) -> EditedPlan:
    """Open plan.md in the user's editor, and take in what was changed.

    Raises:
        UsageError: there is no editor.
        PlanError: the edit cannot be read, or does not hold together; the file stays as it was saved.
    """
    open_editor(project.places.root / PLAN_NAME, project.environment)
    return take_edit(project, load, run_id)


def take_edit(project: Project, load: LoadRequest, run_id: RunId) -> EditedPlan:
    """Take in what was changed in plan.md, in whatever window.

    Raises:
        PlanError: the edit cannot be read, or does not hold together; the file stays as it was saved.
    """
    return asyncio.run(_take_edit(project, load, run_id))


async def _take_edit(project: Project, load: LoadRequest, run_id: RunId) -> EditedPlan:
    with repository_lock(project, SystemClock().wall_seconds()):
        async with opened_store(project) as store:
            record = await pick_run(store, run_id)
            settings = load_with_lines(load, await lines_of(store, record))
            before = await state_of(store, record)
            notes = await take_edited_plan(project, store, record, settings)
            after = await state_of(store, record)
            living = [
                [known.task for known in state.tasks.values() if known.phase is not TaskPhase.DROPPED]
                for state in (before, after)
            ]
    return EditedPlan(changes_between(*living), notes)
