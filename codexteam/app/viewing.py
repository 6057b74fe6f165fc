"""`runs`, `status`, `show` and `inbox`: what is, on one screen or as JSON Lines."""

import asyncio
import difflib
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.clock import SystemClock
from codexteam.app.history import read_events
from codexteam.app.looking import (
    Where,
    events_path,
    live_run,
    open_calls_told,
    overview_or_why,
    picked,
    reading_store,
    state_of,
)
from codexteam.app.output import Output
from codexteam.app.start import CLEANED, Ground, pick_run
from codexteam.core.ids import TaskId
from codexteam.core.json_types import JSONObject
from codexteam.core.state import RunState, TaskState
from codexteam.core.text import clean_line
from codexteam.errors import UsageError
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import RunOverview, UnreadableRun
from codexteam.report.task_story import AttemptStory, TaskStory, task_story

#: Lines of `status` that are not tasks.
_STATUS_LINES = 14


def runs(where: Where, output: Output, *, limit: int) -> int:
    """List runs, newest first; `limit` 0 lists all."""
    ground = where.ground()
    found, older = asyncio.run(_runs(ground, limit)) if ground.store_path.exists() else ([], 0)
    if output.json_lines:
        output.records((run.row_json() for run in found), "runs.completed", older=older)
        return 0
    if not found:
        output.note('there are no runs here yet; begin one: codexteam run "goal"')
        return 0
    from codexteam.adapters.terminal.screens import print_runs

    print_runs(output.console(), found, now_seconds=SystemClock().wall_seconds())
    for run in found:
        if isinstance(run, UnreadableRun):
            output.note(run.why)
    if older:
        output.note(f"{older} older: codexteam runs -n 0")
    return 0


async def _runs(ground: Ground, limit: int) -> tuple[list[RunOverview | UnreadableRun], int]:
    async with reading_store(ground) as store:
        records = await store.runs()
        live = live_run(ground)
        chosen = records[:limit] if limit else records
        found = [await overview_or_why(ground, store, record, live=record.run_id == live) for record in chosen]
        return found, len(records) - len(chosen)


def status(where: Where, output: Output, name: str | None) -> int:
    """Show one run on one screen.

    Raises:
        UsageError: there is no such run.
    """
    run = asyncio.run(_picked(where, name))
    if output.json_lines:
        output.records([run.status_json()], "status.completed")
        return 0
    from codexteam.adapters.terminal.screens import print_status

    console = output.console()
    extra = len(run.state.holds) + len(run.open_findings) + len(run.at_work)
    room = console.height - _STATUS_LINES - extra if console.is_terminal else None
    print_status(console, run, now_seconds=SystemClock().wall_seconds(), room=room)
    return 0


async def _picked(where: Where, name: str | None) -> RunOverview:
    ground = where.ground()
    async with reading_store(ground) as store:
        return await picked(ground, store, name)


def show(where: Where, output: Output, task: str, run: str | None) -> int:
    """Show a task's story.

    Raises:
        UsageError: there is no such run or task.
    """
    story = asyncio.run(_story(where, task, run))
    if output.json_lines:
        output.records([story.as_json()], "show.completed")
        return 0
    from codexteam.adapters.terminal.screens import print_task

    with output.paged() as target:
        print_task(output.console(target), story)
    return 0


async def _story(where: Where, name: str, run: str | None) -> TaskStory:
    ground = where.ground()
    async with reading_store(ground) as store:
        record = await pick_run(store, run)
        state = await state_of(store, record)
        known = task_of(state, name)
        events = list(read_events(events_path(ground, record.run_id)))
        live = live_run(ground) == record.run_id
        if not live:
            events += await open_calls_told(store, record, at_seconds=events[-1].at_seconds if events else 0.0)
        story = task_story(
            known,
            state,
            events,
            accepted=dict(await store.list(f"{record.run_id}/accepted")),
            receipts=dict(await store.list(f"{record.run_id}/receipts")),
            merged_as=await merged_as(store, record, known.task.id),
            live=live,
        )
    folder = ground.run_folder(record.run_id) / "tasks" / known.task.id
    return replace(story, attempts=tuple(_with_folder(attempt, folder) for attempt in story.attempts))


def _with_folder(attempt: AttemptStory, folder: Path) -> AttemptStory:
    path = folder / str(attempt.number)
    return replace(attempt, folder=str(path)) if path.is_dir() else attempt


async def merged_as(store: Store, record: RunRecord, task_id: TaskId) -> str:
    """Give the commit as which a task's work is on the integration branch; empty before."""
    found = ""
    for event in await store.events(record.run_id):
        match event.payload:
            case {"task_id": owner, "commit": str(commit)} if event.kind == "Integrated" and owner == task_id:
                found = commit
            case _:
                continue
    return found


def task_of(state: RunState, name: str) -> TaskState:
    """Give the task that a name means; case does not matter.

    Raises:
        UsageError: there is none.
    """
    by_name = {task_id.casefold(): known for task_id, known in state.tasks.items()}
    known = by_name.get(name.casefold())
    if known is not None:
        return known
    if not by_name:
        raise UsageError(f"run {state.run_id} has no tasks yet", hint="codexteam status says how far it is")
    near = difflib.get_close_matches(name.upper(), list(state.tasks), n=1)
    hint = f"did you mean {near[0]}?" if near else "codexteam status lists them"
    shown = ", ".join(list(state.tasks)[:20]) + (", ..." if len(state.tasks) > 20 else "")
    raise UsageError(f"run {state.run_id} has no task {clean_line(name)!r}; there are {shown}", hint=hint)


def inbox(where: Where, output: Output, name: str | None) -> int:
    """Show what waits for a person, in the runs that are not over.

    Raises:
        UsageError: there is no such run.
    """
    ground = where.ground()
    seen = asyncio.run(_waiting(ground, name)) if ground.store_path.exists() else []
    found = [run for run in seen if isinstance(run, RunOverview)]
    for run in seen:
        if isinstance(run, UnreadableRun):
            output.note(run.why)
    if output.json_lines:
        output.records((line for run in found for line in _items(run)), "inbox.completed")
        return 0
    if not found:
        output.note("nothing waits for you")
        return 0
    from codexteam.adapters.terminal.screens import print_inbox

    print_inbox(output.console(), found)
    return 0


def _items(run: RunOverview) -> list[JSONObject]:
    return [
        {"type": "item", "run": run.record.run_id, "item": item, "question": hold.question, "task": hold.task_id}
        for item, hold in run.state.holds.items()
    ]


async def _waiting(ground: Ground, name: str | None) -> list[RunOverview | UnreadableRun]:
    async with reading_store(ground) as store:
        if name:
            named = await picked(ground, store, name)
            return [named] if named.record.state not in OVER and named.state.holds else []
        live = live_run(ground)
        found = [
            await overview_or_why(ground, store, record, live=record.run_id == live)
            for record in await store.runs()
            if record.state not in OVER
        ]
    return [run for run in found if isinstance(run, UnreadableRun) or run.state.holds]


#: States of runs in which nothing waits for anybody.
OVER = frozenset({"green", CLEANED})
