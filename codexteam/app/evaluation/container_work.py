"""A task whose files are in somebody else's container, such as Harbor's: they are fetched, worked on here, and put back.

The run is one of `codexteam run` on this machine, in sandboxes of its own: no model key and no program of ours is ever in
the container, and nothing of the container runs on this machine. Its `.git` is not read. What the run changed is written
into the container's folder, and nothing else.
"""

import asyncio
import json
import os
import shlex
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.evaluation.evaluate import Runs
from codexteam.app.evaluation.trial_runs import TrialRuns, WantedRun
from codexteam.app.project import find_project
from codexteam.app.trajectories import read_trajectory
from codexteam.config.request import read_environment
from codexteam.core.budget_text import AMOUNT_FORMS, read_amount
from codexteam.core.eval_task import Arm, ArmKind, EvalTask, HiddenTests, StartFiles
from codexteam.core.eval_trials import RanCandidate, TrialKey
from codexteam.core.ids import CommitId, JSONObject
from codexteam.errors import UsageError

#: What is neither fetched nor written: other programs' state, and what set-ups leave.
LEFT_ALONE = (".git", "node_modules", "__pycache__", ".venv")


class ContainerFiles(Protocol):
    """The container, as far as it is used."""

    async def fetch(self, folder: str, target: Path, left_alone: tuple[str, ...]) -> None:
        """Copy a folder to this machine, without what has one of these names."""
        ...

    async def write(self, source: Path, folder: str) -> None:
        """Copy a folder of this machine over one of the container."""
        ...

    async def run(self, command: str, folder: str) -> str:
        """Run a shell line, and return what it printed."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """What is to be done, and how."""

    instruction: str
    logs: Path
    """The folder on this machine for the run and its trajectory."""
    arm: Arm
    folder: str = ""
    """In the container; empty is the one that its commands begin in."""
    budget: Mapping[str, float] | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ContainerResult:
    """What came of it."""

    ran: RanCandidate
    changed: int
    """Files that were written into the container, or removed there."""
    trajectory: JSONObject
    """In Harbor's format; empty where the run did not begin."""


def arm_of(kind: str, model: str | None, options: str) -> Arm:
    """Return how to work, from what Harbor was told.

    Raises:
        UsageError: there is no such way.
    """
    if kind not in {ArmKind.TEAM, ArmKind.SOLO}:
        raise UsageError(f"arm={kind}: allowed are team and solo", hint="--ak arm=team")
    words = ("-m", model.rpartition("/")[2]) if model else ()
    return Arm(kind, ArmKind(kind), 1, (*shlex.split(options), *words))


def budget_of(text: str) -> Mapping[str, float]:
    """Return an amount as a run's limit.

    Raises:
        UsageError: it is none.
    """
    found = read_amount(text)
    if found is None or found.unit is None:
        raise UsageError(f"budget={text}: {AMOUNT_FORMS}", hint="--ak budget=5usd")
    return {found.unit.value.lower(): found.number}


async def work_in_container(files: ContainerFiles, order: ContainerOrder, runs: Runs | None = None) -> ContainerResult:
    """Have the task done, and the container's files changed accordingly.

    Raises:
        CodexteamError: the files cannot be taken, or the run's state cannot be read.
    """
    environment = read_environment()
    home = order.logs / "codexteam"
    folder = order.folder or (await files.run("pwd", "")).strip() or "/"
    fetched = home / "fetched"
    await asyncio.to_thread(shutil.rmtree, fetched, ignore_errors=True)
    await files.fetch(folder, fetched, LEFT_ALONE)
    repository = EvalRepository(home / "start.git", environment.get("PATH"))
    base = await asyncio.to_thread(_take, repository, fetched)
    key = TrialKey("task", order.arm.name, 1)
    made = runs or TrialRuns(home, environment, (), SystemClock().sleep, lambda _text: None)
    task = EvalTask("task", order.instruction, StartFiles({}), HiddenTests(()))
    start = repository.folder, base
    ran = await made.run(WantedRun(task, order.arm, key, 1, start, order.budget or {}, order.seconds))
    changed = 0
    if ran.commit:
        work = EvalRepository(made.place(key, 1), environment.get("PATH"))
        changed = await _put_back(files, work, (base, CommitId(ran.commit)), folder, home / "changed")
    trajectory: JSONObject = {}
    if ran.run_id:
        trajectory = await read_trajectory(find_project(made.place(key, 1), environment), ran.run_id)
        text = json.dumps(trajectory, indent=1)
        await asyncio.to_thread((order.logs / "trajectory.json").write_text, text, encoding="utf-8")
    return ContainerResult(ran, changed, trajectory)


def _take(repository: EvalRepository, folder: Path) -> CommitId:
    """Commit what was fetched; links stay where they are, and are not followed."""
    files: dict[str, bytes] = {}
    executable: set[str] = set()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_ALONE]
        for name in names:
            path = Path(place) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                inner = path.relative_to(folder).as_posix()
                files[inner] = path.read_bytes()
                if mode & stat.S_IXUSR:
                    executable.add(inner)
    repository.make()
    base = repository.commit(None, files, executable=executable, message="The container's files")
    repository.point_head(base)
    return base


async def _put_back(
    files: ContainerFiles, work: EvalRepository, span: tuple[CommitId, CommitId], folder: str, place: Path
) -> int:
    """Write what changed between two commits into the container; return how many files that are."""
    written, removed = await asyncio.to_thread(work.changed, *span)
    await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    for path, data in written.items():
        await asyncio.to_thread(_write, place / path, data)
    if written:
        await files.write(place, folder)
    if removed:
        await files.run(f"rm -f -- {shlex.join(sorted(removed))}", folder)
    runs = [path for path in written if await asyncio.to_thread(work.is_executable, span[1], path)]
    if runs:
        await files.run(f"chmod +x -- {shlex.join(sorted(runs))}", folder)
    return len(written) + len(removed)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
