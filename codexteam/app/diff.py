"""`diff`: what a whole run changed, or one task's own work against its own base."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.app.inspect import merged_as, task_of
from codexteam.app.project import Project, commits_of, pick_run, reading_store, state_of
from codexteam.core.codec import decode
from codexteam.core.ids import RunId
from codexteam.errors import UsageError
from codexteam.ports.repo import TreeChange
from codexteam.ports.store import RunRecord, Store
from codexteam.run.remembered import AcceptedWork

if TYPE_CHECKING:
    from codexteam.adapters.git.history_view import RunCommits


@dataclass(frozen=True, slots=True)
class Span:
    """Two commits to compare."""

    run_id: RunId
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class WrittenPatch:
    """A patch that was written into a file."""

    span: Span
    file: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """The files that differ."""

    span: Span
    files: tuple[TreeChange, ...]


@dataclass(frozen=True, slots=True)
class DiffText:
    """A difference to read: what could move a terminal is escaped."""

    text: str
    cut: bool
    """Whether it was too long to be whole."""


def write_patch(project: Project, task: str | None, run: str | None, file: Path) -> WrittenPatch:
    """Write a difference into a file that `git apply` takes.

    Raises:
        UsageError: there is no such run or task, or no work of it.
        RepoError: its commits are gone.
    """
    with _compared(project, task, run) as (commits, span):
        return WrittenPatch(span, file, commits.write_patch(span.old, span.new, _in(project.cwd, file)))


def changed_files(project: Project, task: str | None, run: str | None) -> ChangedFiles:
    """Return the files that a run, or a task's own work, changed.

    Raises:
        UsageError: there is no such run or task, or no work of it.
        RepoError: its commits are gone.
    """
    with _compared(project, task, run) as (commits, span):
        return ChangedFiles(span, tuple(commits.changes(span.old, span.new)))


def diff_text(project: Project, task: str | None, run: str | None, *, stat: bool) -> DiffText:
    """Return what a run, or a task's own work, changed, as a patch or in numbers.

    Raises:
        UsageError: there is no such run or task, or no work of it.
        RepoError: its commits are gone.
    """
    from codexteam.adapters.git.history_view import Form

    with _compared(project, task, run) as (commits, span):
        shown = commits.diff(span.old, span.new, Form.STAT if stat else Form.PATCH)
        return DiffText(shown.text, shown.cut)


@contextmanager
def _compared(project: Project, task: str | None, run: str | None) -> "Iterator[tuple[RunCommits, Span]]":
    span = asyncio.run(_span(project, task, run))
    commits = commits_of(project)
    try:
        if span.new == "":
            tip = commits.tip(span.run_id)
            if tip is None:
                raise UsageError(f"run {span.run_id} has merged nothing yet", hint="codexteam status")
            span = Span(span.run_id, span.what, span.old, tip)
        yield commits, span
    finally:
        commits.close()


def _in(folder: Path, path: Path) -> Path:
    return path if path.is_absolute() else folder / path


async def _span(project: Project, task: str | None, run: str | None) -> Span:
    async with reading_store(project) as store:
        record = await pick_run(store, run)
        if task is None:
            state = await state_of(store, record)
            return Span(record.run_id, f"run {record.run_id}", record.base, state.tip or "")
        return await _task_span(store, record, task)


async def _task_span(store: Store, record: RunRecord, name: str) -> Span:
    """Return a task's newest accepted work against the base that its agent saw."""
    known = task_of(await state_of(store, record), name)
    task_id = known.task.id
    accepted = [
        (int(key.rpartition(".")[2]), value)
        for key, value in await store.list(f"{record.run_id}/accepted", prefix=f"{task_id}.")
        if key.rpartition(".")[2].isdigit()
    ]
    if accepted:
        number, value = max(accepted, key=lambda each: each[0])
        work = decode(AcceptedWork, value, f"the accepted work of {task_id}, attempt {number}")
        return Span(record.run_id, f"{task_id}, attempt {number}", work.base, work.commit)
    merged = await merged_as(store, record, task_id)
    if merged:
        return Span(record.run_id, f"{task_id}, as merged", f"{merged}^", merged)
    raise UsageError(
        f"{task_id} has handed in no work that was accepted; it is {known.phase.value}",
        hint=f"codexteam show {task_id} says why; codexteam salvage lists all work there is",
    )
