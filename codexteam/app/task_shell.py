"""`shell`: a shell in a copy of an attempt's workspace, while the agent at work on it begins no further turn."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from codexteam.adapters.machine.lock import process_mark
from codexteam.agent.hold import HELD
from codexteam.app.command_lines import lines_of, with_lines
from codexteam.app.environments import EnvironmentOptions, StartingPoint, open_shell
from codexteam.app.inspect import task_of
from codexteam.app.live_requests import Fate, Heard, ask_live
from codexteam.app.project import Project, live_run, pick_run, reading_store, state_of
from codexteam.app.requests import HoldAgent, LetAgentGo
from codexteam.app.several import members_of
from codexteam.core.codec import decode
from codexteam.core.effects import Work
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.state import RunState, TaskState
from codexteam.errors import UsageError
from codexteam.ports.sandbox import Snapshot
from codexteam.ports.store import Store
from codexteam.run.context import work_name
from codexteam.run.remembered import AcceptedWork

#: How often files are looked for that an agent at work replaces.
_TRIES = 20
#: How long the end of a turn is waited for, so that the copy is what the agent has; it waits with its next turn in any case.
_LOOKS, _LOOK_SECONDS = 50, 0.2
_NO_TERMINAL = "a shell needs a terminal, and standard input or output is none"


@dataclass(frozen=True, slots=True)
class AttemptTree:
    """The files of an attempt, as far as they are known."""

    run_id: RunId
    name: str
    """`T1.2`."""
    start: StartingPoint
    turn: int
    """The turn after which it was like this; 0 for the work that it ended with."""
    at_work: bool
    """An agent is at work on it."""
    lines: tuple[JSONObject, ...]
    """What the run's command lines said."""


def find_tree(project: Project, task: str, run: str | None, *, attempt: int | None) -> AttemptTree:
    """Return the newest files of a task's newest attempt, or of another one.

    Raises:
        UsageError: there is no such task or attempt, or it has written nothing so far.
    """
    return asyncio.run(_find(project, task, run, attempt))


async def _find(project: Project, task: str, run: str | None, attempt: int | None) -> AttemptTree:
    async with reading_store(project) as store:
        live = live_run(project)
        record = await pick_run(store, run or live)
        state = await state_of(store, record)
        known = task_of(state, task)
        number = attempt_number(known, attempt)
        name = f"{known.task.id}.{number}"
        found = await _newest(store, state, known, number)
        if found is None:
            raise UsageError(
                f"run {record.run_id}: {name} has written nothing so far",
                hint=f"codexteam show {known.task.id} says how far it is; codexteam env shell opens a shell without its work",
            )
        (commit, work), turn = found
        begun = state.in_flight.get(f"work.{known.task.id}.{number}")
        return AttemptTree(
            record.run_id,
            name,
            StartingPoint(
                CommitId(record.base),
                commit,
                work,
                known.task.role,
                members_of(record, project.environment),
                known.task.paths,
            ),
            turn,
            live == record.run_id and isinstance(begun, Work),
            await lines_of(store, record),
        )


def attempt_number(known: TaskState, attempt: int | None) -> int:
    """Return the attempt that is meant: the named one, else the newest.

    Raises:
        UsageError: there is none.
    """
    task_id, newest = known.task.id, known.attempts
    if not newest:
        raise UsageError(
            f"{task_id} was not tried yet, so that it has no workspace",
            hint="codexteam env shell opens a shell on HEAD",
        )
    if attempt is not None and not 1 <= attempt <= newest:
        raise UsageError(
            f"--attempt {attempt}: {task_id} has {'one' if newest == 1 else f'1 to {newest}'}",
            hint=f"codexteam show {task_id} lists them",
        )
    return attempt or newest


async def _newest(
    store: Store, state: RunState, known: TaskState, number: int
) -> tuple[tuple[CommitId, Snapshot | None], int] | None:
    """Return the commit and what stands on it, of the work that an attempt ended with or else of its last turn."""
    keys = [
        AgentKey(state.run_id, known.task.role, purpose, known.task.id, number)
        for purpose in (Purpose.IMPLEMENT, Purpose.RESOLVE)
    ]
    name = work_name(keys[0])
    kept = await store.get(f"{state.run_id}/snapshots", name)
    snapshot = None if kept is None else decode(Snapshot, kept, f"snapshot {name}")
    if snapshot is not None and snapshot.pack.is_file():
        return (snapshot.base, snapshot), 0
    for key in keys:
        for turn in reversed(await store.turns(key)):
            of_turn = turn.workspace.snapshot
            if of_turn is not None and of_turn.pack.is_file():
                return (of_turn.base, of_turn), turn.turn
    accepted = await store.get(f"{state.run_id}/accepted", name)
    if accepted is not None:
        return (decode(AcceptedWork, accepted, f"the accepted work {name}").commit, None), 0
    return None


def open_task_shell(
    project: Project,
    options: EnvironmentOptions,
    tree: AttemptTree,
    terminal: tuple[int, int] | None,
    *,
    on_ready: Callable[[AttemptTree], None],
) -> int:
    """Open a shell in a copy of an attempt's workspace, and return its exit code; its agent waits meanwhile.

    `on_ready` is given the workspace as it is shown, which may be some turns newer.

    Raises:
        UsageError: there is no terminal.
        CodexteamError: no sandbox can be started.
    """
    if terminal is None:
        raise UsageError(_NO_TERMINAL, hint=f"codexteam diff {tree.name.partition('.')[0]} shows what it changed")
    options = replace(options, load=with_lines(options.load, tree.lines))
    project.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _held(project, tree), TemporaryDirectory(prefix="shell-", dir=project.state_dir) as folder:
        tree = _copied(project, tree, Path(folder) / "work.pack")
        return open_shell(options, terminal, on_ready=lambda: on_ready(tree), start=tree.start)


def _copied(project: Project, tree: AttemptTree, pack: Path) -> AttemptTree:
    """Return the newest files, with their pack copied: an agent that is in a turn replaces its own at the end of it."""
    task, _, attempt = tree.name.rpartition(".")
    for _ in range(_TRIES):
        tree = find_tree(project, task, tree.run_id, attempt=int(attempt))
        work = tree.start.work
        if work is None:
            return tree
        with suppress(FileNotFoundError):
            shutil.copyfile(work.pack, pack)
            return replace(tree, start=replace(tree.start, work=replace(work, pack=pack)))
    raise UsageError(
        f"{tree.name}: its agent writes faster than its workspace can be copied", hint="codexteam pause, then once more"
    )


@contextmanager
def _held(project: Project, tree: AttemptTree) -> Iterator[None]:
    """Keep the agent at work from its next turn; should this process be killed, the run lets it continue by itself."""
    if not tree.at_work:
        yield
        return
    pid = os.getpid()
    heard = asyncio.run(_hold(project, tree, HoldAgent(tree.name, pid, process_mark(pid))))
    held = heard in {Fate.TAKEN, Fate.LEFT}
    try:
        yield
    finally:
        if held and live_run(project) == tree.run_id:
            asyncio.run(ask_live(project, tree.run_id, LetAgentGo(tree.name, pid)))


async def _hold(project: Project, tree: AttemptTree, hold: HoldAgent) -> Heard:
    """Ask for the agent to be held, and wait a while until its turn has ended."""
    async with reading_store(project) as store:
        facts = await store.facts(tree.run_id)
    seen = facts[-1].sequence if facts else 0
    heard = await ask_live(project, tree.run_id, hold)
    for _ in range(_LOOKS if heard is Fate.TAKEN else 0):
        async with reading_store(project) as store:
            new = await store.facts(tree.run_id, after=seen)
        if any(fact.kind == "agent.waiting" and fact.fields.get("reason") == HELD for fact in new):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return heard
