"""The list of `codexteam watch`: a run at work is followed, others are read where they changed."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.adapters.machine.lock import RepositoryLock
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app.project import Project, find_project, repository_lock
from codexteam.app.run_list import AllRuns, RunThere
from codexteam.core.ids import RunId
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, StoredSession
from codexteam.run.heartbeat import Heartbeat, leave_heartbeat
from tests.fakes.fake_clock import FakeClock

OLD, NEW = RunId("20260101-0000-aaaa"), RunId("20260101-0001-bbbb")
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return find_project(tmp_path, ENVIRONMENT)


@pytest.fixture
def lock(project: Project) -> Iterator[RepositoryLock]:
    with repository_lock(project, 0.0) as held:
        yield held


async def test_a_run_at_work_is_read_on_and_one_that_ended_is_kept(project: Project, lock: RepositoryLock) -> None:
    store, clock, now = SqliteStore(project.store_path), FakeClock(), time.time()
    for number, (run_id, state) in enumerate(((OLD, "green"), (NEW, "running"))):
        await store.create_run(RunRecord(run_id, "a goal", "0" * 40, state, now + number, {}))
        store.record_facts(run_id, [*_begun(now)])
    session = await store.begin_session(StoredSession(NEW, 0, "1", "host", 1, "", now, ending=""))
    leave_heartbeat(store, NEW, Heartbeat(session, now, 600.0, 600.0))
    await store.facts_recorded()
    lock.name_run(NEW)
    runs = AllRuns(project, ENVIRONMENT, clock)

    assert await _looked(runs)
    at_work, ended = _here(runs, project)
    assert [at_work.record.run_id, ended.record.run_id] == [NEW, OLD]
    assert (at_work.word, at_work.is_live, at_work.merged, at_work.tasks, at_work.waiting) == ("running", True, 0, 2, 0)
    assert (ended.word, ended.is_live) == ("green", False)
    assert not await _looked(runs)

    waits = RunEvent("person.asked", now, {"item": "question.T2.1", "question": "Which?"})
    store.record_facts(NEW, [RunEvent("task.merged", now, {"task": "T1"}), waits, RunEvent("run.paused", now, {})])
    await store.facts_recorded()
    clock.advance(5)

    assert await _looked(runs)
    at_work, still = _here(runs, project)
    assert (at_work.word, at_work.merged, at_work.waiting) == ("paused", 1, 1)
    assert still is ended

    lock.name_run("")
    clock.advance(5)
    assert await _looked(runs)
    assert [(run.record.run_id, run.word) for run in _here(runs, project)] == [(NEW, "interrupted"), (OLD, "green")]
    runs.close()
    await store.close()


def _here(runs: AllRuns, project: Project) -> list[RunThere]:
    """Leave out what is at work elsewhere on this machine."""
    return [run for run in runs.found if run.project.state_dir == project.state_dir]


async def _looked(runs: AllRuns) -> bool:
    """Look as the view does, from a thread without a loop."""
    return await asyncio.to_thread(runs.refresh)


def _begun(now: float) -> Iterator[RunEvent]:
    yield RunEvent("run.opened", now, {"run": "run", "goal": "a goal", "budget": ""})
    for task in ("T1", "T2"):
        yield RunEvent("task.added", now, {"task": task, "title": task, "role": "implementer"})
