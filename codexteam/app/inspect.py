"""What `runs`, `status`, `show`, `inbox`, `logs` and `events` show: a run as it is, and as it was."""

import asyncio
import difflib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.store.journal_cursor import JournalCursor
from codexteam.app.project import (
    CLEANED,
    REWOUND,
    Project,
    killed_calls,
    live_process,
    live_run,
    overview_or_why,
    pick_run,
    picked,
    reading_store,
    state_of,
)
from codexteam.app.receipts import receipts_of
from codexteam.core.codec import decode
from codexteam.core.ids import RunId, TaskId
from codexteam.core.state import RunState, TaskState
from codexteam.core.text import clean_line
from codexteam.errors import UsageError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import RunOverview, UnreadableRun
from codexteam.report.task_story import AttemptStory, TaskStory, task_story
from codexteam.run.remembered import AcceptedWork


@dataclass(frozen=True, slots=True)
class RunList:
    """Runs, newest first, as they were when they were looked at."""

    runs: tuple[RunOverview | UnreadableRun, ...]
    older: int
    """How many more there are."""
    now_seconds: float


def runs(project: Project, *, limit: int) -> RunList:
    """Return the newest runs; `limit` 0 returns all."""
    found, older = asyncio.run(_runs(project, limit)) if project.store_path.exists() else ([], 0)
    return RunList(tuple(found), older, SystemClock().wall_seconds())


async def _runs(project: Project, limit: int) -> tuple[list[RunOverview | UnreadableRun], int]:
    async with reading_store(project) as store:
        records = await store.runs()
        process = live_process(project)
        chosen = records[:limit] if limit else records
        found = [await overview_or_why(store, record, process) for record in chosen]
        return found, len(records) - len(chosen)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run as it was when it was looked at."""

    run: RunOverview
    now_seconds: float


def status(project: Project, name: str | None) -> RunStatus:
    """Return how far one run is.

    Raises:
        UsageError: there is no such run.
    """
    return RunStatus(asyncio.run(_picked(project, name)), SystemClock().wall_seconds())


async def _picked(project: Project, name: str | None) -> RunOverview:
    async with reading_store(project) as store:
        return await picked(project, store, name)


def show(project: Project, task: str, run: str | None) -> TaskStory:
    """Return a task's story.

    Raises:
        UsageError: there is no such run or task.
    """
    return asyncio.run(_story(project, task, run))


def names_task(project: Project, name: str, run: str | None) -> bool:
    """Return whether a name means a task, or most likely was to: nothing is called so, and it looks like one.

    Raises:
        UsageError: there is no such run.
    """
    return asyncio.run(_names_task(project, name, run))


async def _names_task(project: Project, name: str, run: str | None) -> bool:
    async with reading_store(project) as store:
        known = (await state_of(store, await pick_run(store, run))).tasks
    return name.casefold() in {task_id.casefold() for task_id in known} or _LOOKS_LIKE_TASK.fullmatch(name) is not None


_LOOKS_LIKE_TASK = re.compile(r"[tT]\d+")


async def _story(project: Project, name: str, run: str | None) -> TaskStory:
    async with reading_store(project) as store:
        record = await pick_run(store, run)
        state = await state_of(store, record)
        known = task_of(state, name)
        facts = await store.facts(record.run_id)
        live = live_run(project) == record.run_id
        if not live:
            facts += await killed_calls(store, record, at_seconds=facts[-1].at_seconds if facts else 0.0)
        story = task_story(
            known,
            state,
            facts,
            accepted={
                name: decode(AcceptedWork, value, f"the accepted work {name}")
                for name, value in await store.list(f"{record.run_id}/accepted")
            },
            receipts=await receipts_of(store, record.run_id),
            merged_as=await merged_as(store, record, known.task.id),
            live=live,
        )
    folder = project.run_folder(record.run_id) / "tasks" / known.task.id
    return replace(story, attempts=tuple(_with_folder(attempt, folder) for attempt in story.attempts))


def _with_folder(attempt: AttemptStory, folder: Path) -> AttemptStory:
    path = folder / str(attempt.number)
    return replace(attempt, folder=str(path)) if path.is_dir() else attempt


async def merged_as(store: Store, record: RunRecord, task_id: TaskId) -> str:
    """Return the commit as which a task's work is on the integration branch; empty before."""
    found = ""
    for event in await store.events(record.run_id):
        match event.payload:
            case {"task_id": owner, "commit": str(commit)} if event.kind == "Integrated" and owner == task_id:
                found = commit
            case {"merges": [*merges]} if event.kind == "BranchMoved":
                ours = [merge["commit"] for merge in merges if isinstance(merge, dict) and merge["task_id"] == task_id]
                found = str(ours[-1]) if ours else found
            case _:
                continue
    return found


def task_of(state: RunState, name: str) -> TaskState:
    """Return the task that a name means; case does not matter.

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


def inbox(project: Project, name: str | None) -> list[RunOverview | UnreadableRun]:
    """Return the runs in which something waits for a person, and those that cannot be read.

    Raises:
        UsageError: there is no such run.
    """
    return asyncio.run(_waiting(project, name)) if project.store_path.exists() else []


async def _waiting(project: Project, name: str | None) -> list[RunOverview | UnreadableRun]:
    async with reading_store(project) as store:
        if name:
            named = await picked(project, store, name)
            return [named] if named.record.state not in OVER and named.state.holds else []
        process = live_process(project)
        found = [
            await overview_or_why(store, record, process) for record in await store.runs() if record.state not in OVER
        ]
    return [run for run in found if isinstance(run, UnreadableRun) or run.state.holds]


#: States of runs in which nothing waits for anybody.
OVER = frozenset({"green", CLEANED, REWOUND})


# SQLite cannot wait for another process to write, so following looks again: often while facts come, up to once a second
# while none do. A look is one step into an index.
_SOONEST_SECONDS = 0.05
_LATEST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class History:
    """What a run, or one of its tasks, has reported."""

    project: Project
    run_id: RunId
    task_id: TaskId | None

    def facts(self, *, follow: bool) -> Iterator[RunEvent]:
        """Yield the run's facts in order; with `follow` those to come too, until the run ends."""
        cursor = JournalCursor(self.project.store_path, self.run_id)
        try:
            wait_seconds = _SOONEST_SECONDS
            pause = threading.Event()
            while True:
                # asked before the journal is read: what a run wrote before it ended is then in what is read
                over = not follow or live_run(self.project) != self.run_id
                found = cursor.read()
                yield from found
                if over:
                    return
                wait_seconds = _SOONEST_SECONDS if found else min(wait_seconds * 1.5, _LATEST_SECONDS)
                pause.wait(wait_seconds)
        finally:
            cursor.close()


def history(project: Project, task: str | None, run: str | None) -> History:
    """Return the history of a run, or of one task.

    Raises:
        UsageError: there is no such run or task.
    """
    return asyncio.run(_named(project, task, run))


async def _named(project: Project, task: str | None, run: str | None) -> History:
    async with reading_store(project) as store:
        record = await pick_run(store, run)
        task_id = task_of(await state_of(store, record), task).task.id if task else None
        return History(project, record.run_id, task_id)
