"""`salvage`: all work that runs ever produced, merged or not, and files to take it away in."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.app.project import Project, commits_of, pick_run, reading_store, state_of
from codexteam.app.receipts import receipts_of
from codexteam.core.codec import decode
from codexteam.core.effects import AttemptKind, Document, RunGate, Work
from codexteam.core.events import ExtraIntegrated
from codexteam.core.ids import AgentKey, GateName, JSONObject, Purpose, RunId
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.stored_state import decode_event
from codexteam.errors import CodexteamError, StoreError, SurroundingsError, UsageError
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import UnreadableRun
from codexteam.run.context import work_name
from codexteam.run.remembered import AcceptedWork

if TYPE_CHECKING:
    from codexteam.adapters.git.history_view import RunCommits
    from codexteam.adapters.git.saved_snapshots import Kept

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class WorkKind(StrEnum):
    """What a piece of work is."""

    SNAPSHOT = "snapshot"
    """An agent's workspace as it was, whether its work was taken or not."""
    COMMIT = "commit"
    """Work that was accepted."""
    BRANCH = "branch"
    """What was merged."""
    ARCHIVE = "archive"
    """What `clean` put away."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of work."""

    run_id: RunId
    kind: WorkKind
    name: str
    where: str
    """A file, or a commit."""
    merged: bool = False
    kept: "Kept | None" = None
    """For snapshots."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        snapshot: JSONObject = {"tip": self.kept.tip, "base": self.kept.base} if self.kept else {}
        return {
            "type": self.kind.value,
            "run": self.run_id,
            "name": self.name,
            "where": self.where,
            "merged": self.merged,
            **snapshot,
        }


@dataclass(frozen=True, slots=True)
class AllWork:
    """The work of all runs, or of one."""

    pieces: tuple[Piece, ...]
    unreadable: tuple[UnreadableRun, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """A piece of work and the file that it was written into, or why it could not be."""

    piece: Piece
    file: Path
    problem: str = ""


def all_work(project: Project, name: str | None) -> AllWork:
    """Return all work that runs ever produced.

    Raises:
        UsageError: there is no such run.
    """
    with closing(commits_of(project)) as commits:
        found, unreadable = asyncio.run(_all_pieces(project, commits, name))
    return AllWork(tuple(found), tuple(unreadable))


def export_work(project: Project, work: AllWork, folder: Path) -> Iterator[Exported]:
    """Write work into a new or empty folder, as patches and bundles, piece by piece.

    Raises:
        UsageError: the folder is not empty.
    """
    target = _empty_folder(project.cwd / folder)
    with closing(commits_of(project)) as commits:
        for piece in work.pieces:
            file = target / piece.run_id / file_name(piece)
            try:
                _write(piece, commits, file)
            except CodexteamError as error:
                yield Exported(piece, file, str(error))
            else:
                yield Exported(piece, file)


async def _all_pieces(
    project: Project, commits: "RunCommits", name: str | None
) -> tuple[list[Piece], list[UnreadableRun]]:
    found: list[Piece] = []
    unreadable: list[UnreadableRun] = []
    async with reading_store(project) as store:
        if name:
            return await pieces_of(project, store, commits, await pick_run(store, name)), []
        for record in await store.runs():
            try:
                found += await pieces_of(project, store, commits, record)
            except StoreError as error:
                unreadable.append(UnreadableRun(record, error))
    return found, unreadable


async def pieces_of(project: Project, store: Store, commits: "RunCommits", record: RunRecord) -> list[Piece]:
    """Return all work of one run."""
    run_id = record.run_id
    state = await state_of(store, record)
    kept = commits.kept(run_id)
    pieces = [Piece(run_id, WorkKind.SNAPSHOT, each.name, str(each.pack), kept=each) for each in kept]
    at_work = {work_name(agent) for agent in agents_in_flight(state)}
    for agent, each in (await unfinished(store, state, kept)).items():
        name = f"{each.name} (unfinished)" if work_name(agent) in at_work else each.name
        pieces.append(Piece(run_id, WorkKind.SNAPSHOT, name, str(each.pack), kept=each))
    for key, value in await store.list(f"{run_id}/accepted"):
        commit = decode(AcceptedWork, value, f"the accepted work {key}").commit
        if commits.has(commit):
            pieces.append(Piece(run_id, WorkKind.COMMIT, key, commit, _is_merged(state, key)))
    tip = commits.tip(run_id)
    if tip is not None and tip != record.base:
        pieces.append(Piece(run_id, WorkKind.BRANCH, f"codexteam/{run_id}", str(tip), merged=state.landed == tip))
    archives = sorted((project.state_dir / "archive").glob(f"{run_id}*.tar"))
    return [*pieces, *(Piece(run_id, WorkKind.ARCHIVE, path.name, str(path)) for path in archives)]


async def unfinished(store: Store, state: RunState, kept: "Iterable[Kept]") -> "dict[AgentKey, Kept]":
    """Return the newest stored snapshots of agents that were cut off, or whose work was not taken as a task's is.

    Those that were kept are left out, and the documentation that the branch has. Each gets a name that nothing else
    has: what was kept of an agent may be another state of its work, newer (its time ran out in a turn that never was
    stored) or older (it was kept, and continued in a later session), and neither may take the other's place.
    """
    from codexteam.adapters.git.saved_snapshots import Kept

    known = list(kept)
    tips, names = {each.tip for each in known}, {each.name for each in known}
    found: dict[AgentKey, Kept] = {}
    for agent in await _agents(store, state):
        if agent.purpose is Purpose.DOCUMENT and await _has_documentation(store, state):
            continue
        turns = await store.turns(agent)
        snapshot = turns[-1].workspace.snapshot if turns else None
        if snapshot is None or snapshot.tip in tips or not snapshot.pack.is_file():
            continue
        name = work_name(agent)
        if name in names:
            name = f"{name}-turn-{turns[-1].turn}-{snapshot.tip[:12]}"
        tips.add(snapshot.tip)
        names.add(name)
        found[agent] = Kept(state.run_id, name, snapshot.tip, snapshot.base, snapshot.pack, snapshot.pack_bytes)
    return found


def agents_in_flight(state: RunState) -> list[AgentKey]:
    """Return the agents that were at work when the run was last heard of, as far as they write."""
    found: list[AgentKey] = []
    for effect in (*state.in_flight.values(), *(known.effect for known in state.shelved.values())):
        match effect:
            case Work(task_id=task_id, attempt=attempt, kind=kind):
                purpose = Purpose.RESOLVE if kind is AttemptKind.RESOLVE else Purpose.IMPLEMENT
                found.append(AgentKey(state.run_id, state.tasks[task_id].task.role, purpose, task_id, attempt))
            case RunGate(round=number, gate=GateName.QA as gate):
                found.append(AgentKey(state.run_id, gate.value, Purpose.QA, "", number))
            case Document(number=number):
                tries = (number * 2 - 1, number * 2)
                found += [AgentKey(state.run_id, "documentation", Purpose.DOCUMENT, "", each) for each in tries]
            case _:
                continue
    return found


async def _has_documentation(store: Store, state: RunState) -> bool:
    """Return whether the documentation that an agent wrote was merged."""
    for stored in await store.events(state.run_id):
        if stored.kind == ExtraIntegrated.__name__:
            event = decode_event(stored.kind, stored.payload)
            if isinstance(event, ExtraIntegrated) and event.name == "documentation":
                return event.commit is not None
    return False


async def _agents(store: Store, state: RunState) -> list[AgentKey]:
    """Return the agents of a run that may have left something: those in flight, and all that have a receipt."""
    agents: dict[AgentKey, None] = dict.fromkeys(agents_in_flight(state))
    for key in await receipts_of(store, state.run_id):
        match key.split("/"):
            case [str(name), str(word), str(task_id), str(attempt)] if attempt.isdigit() and word in set(Purpose):
                agents[AgentKey(state.run_id, name, Purpose(word), task_id, int(attempt))] = None
            case _:
                continue
    return list(agents)


def _is_merged(state: RunState, key: str) -> bool:
    task_id, _, attempt = key.rpartition(".")
    known = next((known for i, known in state.tasks.items() if i == task_id), None)
    return known is not None and known.phase is TaskPhase.MERGED and str(known.attempt) == attempt


def _empty_folder(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--export {folder}: it is there and not empty", hint="give a folder that is not there yet")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SurroundingsError(f"--export {folder}: cannot be made: {error.strerror}") from error
    return folder


def file_name(piece: Piece) -> str:
    """Return the name of the file that a piece is exported as."""
    stem = _UNSAFE.sub("_", piece.name)
    match piece.kind:
        case WorkKind.SNAPSHOT:
            return f"{stem}.snapshot.patch"
        case WorkKind.COMMIT:
            return f"{stem}.patch"
        case WorkKind.BRANCH:
            return "branch.bundle"
        case WorkKind.ARCHIVE:
            return stem


def _write(piece: Piece, commits: "RunCommits", target: Path) -> None:
    match piece.kind:
        case WorkKind.SNAPSHOT:
            if piece.kept is not None:
                commits.write_snapshot(piece.kept, target)
        case WorkKind.COMMIT:
            commits.write_mail(piece.where, target)
        case WorkKind.BRANCH:
            if not commits.write_bundle(piece.run_id, target):
                raise SurroundingsError("it is in your repository alone, as a branch; nothing was written")
        case WorkKind.ARCHIVE:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(piece.where, target)
            except OSError as error:
                raise SurroundingsError(f"{os.fspath(target)}: {error.strerror}") from error
