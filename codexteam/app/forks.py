"""`fork` and `rewind`: a new run that begins as another one was at a point of its history.

The new run gets copies of the events up to there, of what the run remembered of the attempts that had ended, and a branch
of its own at the commit where the other's was. What was in flight begins anew: no call is copied, so that every call is
counted once, by the run that made it. The other run stays as it is, with its branch, its work and its history; a rewound
one is only marked, since the new one takes its place.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.clean import open_repo
from codexteam.app.command_lines import copied_lines
from codexteam.app.fork_points import (
    ForkPoints,
    find_point,
    first_state,
    first_state_mark,
    forked_state,
    points_of,
    refuse_source,
)
from codexteam.app.journal import write_events_file
from codexteam.app.plan_file import given_mark
from codexteam.app.project import FORKED, REWOUND, Project, new_run_id, pick_run, refuse_cleaned, repository_lock
from codexteam.app.requests import StoredValue
from codexteam.app.session import opened_store
from codexteam.app.several import members_of
from codexteam.core.codec import decode, encode_object
from codexteam.core.effects import Result, Work
from codexteam.core.events import Forked
from codexteam.core.facts import story
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.redaction import Redactor
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.stored_state import encode_event, encode_state
from codexteam.errors import RepoError, UsageError
from codexteam.ports.repo import Repo
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import Snapshot
from codexteam.ports.store import ForkRecord, RunRecord, Store, StoredEvent
from codexteam.run.context import work_name
from codexteam.run.gates.diffs import WORK_SIZES
from codexteam.run.notes import NOTES, NoteBoard
from codexteam.run.planning import put_in_place

if TYPE_CHECKING:
    from codexteam.adapters.git.repo import GitRepo

#: What a run remembers of each attempt, by `T1.2`.
_OF_ATTEMPTS = ("accepted", "left_out", WORK_SIZES)
#: What it remembers of its base commit, by space; None: all that is there.
_OF_BASE = (("environment", None), ("scouts", ("ci", "reading", "report")))


@dataclass(frozen=True, slots=True)
class MadeFork:
    """A run that was made of another one."""

    run_id: RunId
    source: RunId
    event: int
    """The last one that both have."""
    rewound: bool
    merged: int
    tasks: int
    """Of its plan, but for dropped ones."""


def list_points(project: Project, name: str | None) -> ForkPoints:
    """Return the points of a run from which another one can begin.

    Raises:
        UsageError: there is no such run, or none can begin from it.
    """
    return asyncio.run(points_of(project, name))


def fork_run(project: Project, name: str | None, point: str, *, rewinds: bool = False) -> MadeFork:
    """Make a run that begins as another one was at a point; with `rewinds` it takes that one's place.

    Raises:
        UsageError: there is no such run or point, or no run can begin from it; nothing was changed.
        RepositoryBusyError: a run is at work.
    """
    return asyncio.run(_fork(project, name, point, rewinds=rewinds))


async def _fork(project: Project, name: str | None, point: str, *, rewinds: bool) -> MadeFork:
    if not project.store_path.exists():
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    now = SystemClock().wall_seconds()
    with repository_lock(project, now):
        async with opened_store(project) as store:
            source = await pick_run(store, name)
            refuse_source(source)
            if rewinds:
                refuse_cleaned(source)
            events = await store.events(source.run_id)
            start = await first_state(store, source, events)
            moment = find_point(start, events, point)
            if rewinds and moment.number == len(events):
                raise UsageError(
                    f"run {source.run_id}, event {moment.number}: that is its newest event, so there is nothing to go back",
                    hint=f"codexteam resume {source.run_id} continues from there",
                )
            repo = open_repo(project, members_of(source, project.environment))
            try:
                await _refuse_missing(repo, source, moment.after)
                run_id = new_run_id(source.goal, at_seconds=now, pid=os.getpid())
                event = Forked(source.run_id, moment.number, rewound=rewinds)
                state = forked_state(moment, run_id, event)
                first = replace(start, run_id=run_id)
                snapshots = await _snapshots(store, source.run_id, state)
                record = _record(source, state, moment.number, now)
                fork = ForkRecord(
                    record,
                    [*_rows(events[: moment.number]), (now, *encode_event(event))],
                    encode_state(state),
                    [RunEvent(kind, now, fields) for kind, fields in story(event, first, state, ())],
                    [value async for value in _values(store, source, state, first, snapshots)],
                    (source.run_id, REWOUND) if rewinds else None,
                )
                await store.create_fork(fork)
                await put_in_place(repo, state)
                await _keep(store, repo, run_id, snapshots)
            finally:
                await repo.close()
            await write_events_file(project, store, record)
    counted = [known for known in state.tasks.values() if known.phase is not TaskPhase.DROPPED]
    merged = sum(known.phase is TaskPhase.MERGED for known in counted)
    return MadeFork(run_id, source.run_id, moment.number, rewinds, merged, len(counted))


def _record(source: RunRecord, state: RunState, number: int, now_seconds: float) -> RunRecord:
    forked: JSONObject = {"from": source.run_id, "event": number}
    word = Result.WAITING.value if state.result is Result.WAITING else "interrupted"
    return RunRecord(state.run_id, source.goal, source.base, word, now_seconds, {**source.settings, FORKED: forked})


def _rows(events: Sequence[StoredEvent]) -> Iterator[tuple[float, str, JSONObject]]:
    for stored in events:
        yield stored.at_seconds, stored.kind, stored.payload


async def _refuse_missing(repo: Repo, source: RunRecord, state: RunState) -> None:
    """Refuse a point whose commits are gone.

    Raises:
        UsageError: one is.
    """
    for commit in _commits(state):
        try:
            await repo.tree_of(commit)
        except RepoError as error:
            raise UsageError(
                f"run {source.run_id}: commit {commit[:10]} of that point is gone; was the run cleaned?",
                hint="codexteam salvage lists what is left of its work",
            ) from error


def _commits(state: RunState) -> list[CommitId]:
    """Return the commits that a run continues from."""
    found = [state.base, state.tip, *(known.commit for known in state.tasks.values())]
    found += [commit for candidate in state.train for commit in (candidate.work, candidate.commit)]
    found += [commit for _, commit in state.extras]
    return [*dict.fromkeys(commit for commit in found if commit is not None)]


async def _values(
    store: Store, source: RunRecord, state: RunState, first: RunState, snapshots: Sequence[tuple[str, Snapshot]]
) -> AsyncIterator[StoredValue]:
    """Return what the new run remembers: what the other one did of what was over at that point."""
    old, new = source.run_id, state.run_id
    yield *first_state_mark(new), encode_state(first)
    given = await store.get(*given_mark(old))
    if given is not None:
        yield *given_mark(new), given
    for value in await copied_lines(store, old, new):
        yield value
    for space, keys in _OF_BASE:
        if space == "scouts" and not state.scout_rounds:
            continue
        for key, known in await store.list(f"{old}/{space}"):
            if keys is None or key in keys:
                yield f"{new}/{space}", key, known
    over = {work_name(agent) for agent in _ended_attempts(state)}
    async for value in known_of_attempts(store, old, new, over):
        yield value
    for key, known in await store.list(f"{old}/inbox"):
        if key in state.holds:
            yield f"{new}/inbox", key, known
    for name, snapshot in snapshots:
        yield f"{new}/snapshots", name, encode_object(snapshot)


async def known_of_attempts(store: Store, old: RunId, new: RunId, over: Collection[str]) -> AsyncIterator[StoredValue]:
    """Return what a new run knows of attempts that had ended (`T1.2`), and the notes that they left for the others."""
    for space in _OF_ATTEMPTS:
        for key, known in await store.list(f"{old}/{space}"):
            if key in over:
                yield f"{new}/{space}", key, known
    for key, known in await NoteBoard(store, old, Redactor()).kept_by(over):
        yield f"{new}/{NOTES}", key, known


def _ended_attempts(state: RunState) -> list[AgentKey]:
    """Return who tried a task, for the attempts that had ended; their work may be continued from."""
    begun = (*state.in_flight.values(), *(shelved.effect for shelved in state.shelved.values()))
    at_work = {(effect.task_id, effect.attempt) for effect in begun if isinstance(effect, Work)}
    return [
        AgentKey(state.run_id, known.task.role, purpose, task_id, attempt)
        for task_id, known in state.tasks.items()
        for attempt in range(1, known.attempts + 1)
        if (task_id, attempt) not in at_work
        for purpose in (Purpose.IMPLEMENT, Purpose.RESOLVE)
    ]


async def _snapshots(store: Store, source: RunId, state: RunState) -> list[tuple[str, Snapshot]]:
    """Return the work of the attempts that had ended, by their names, as far as it is still there."""
    found: dict[str, Snapshot] = {}
    for agent in _ended_attempts(state):
        name = work_name(agent)
        kept = await store.get(f"{source}/snapshots", name)
        turns = [] if kept is not None else await store.turns(replace(agent, run_id=source))
        snapshot = turns[-1].workspace.snapshot if turns else None
        if kept is not None:
            snapshot = decode(Snapshot, kept, f"snapshot {name} of run {source}")
        if snapshot is not None and snapshot.pack.is_file():
            found[name] = snapshot
    return [*found.items()]


async def _keep(store: Store, repo: "GitRepo", run_id: RunId, snapshots: Sequence[tuple[str, Snapshot]]) -> None:
    """Copy the work that the new run may continue from: the other run may be cleaned."""
    for name, snapshot in snapshots:
        await repo.keep(run_id, name, snapshot)
    kept = {each.name: each.snapshot() for each in await repo.kept_work(run_id)}
    for name, _ in snapshots:
        if name in kept:
            await store.put(f"{run_id}/snapshots", name, encode_object(kept[name]))
