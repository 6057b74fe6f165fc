"""Where a command works: the repository, its state folder, its store; and the names of runs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.core.ids import RunId
from codexteam.errors import UsageError
from codexteam.ports.store import RunRecord, Store

if TYPE_CHECKING:
    from codexteam.adapters.git.places import Places
    from codexteam.adapters.lock import RepositoryLock

#: The folder of our state in the common git directory.
STATE_FOLDER = "codexteam"
#: The state of a run that was cleaned before it was green.
CLEANED = "cleaned"


@dataclass(frozen=True, slots=True)
class Ground:
    """A repository and where its state is."""

    places: "Places"
    state_dir: Path

    @property
    def store_path(self) -> Path:
        """Give the state file."""
        return self.state_dir / "state.sqlite"

    def run_folder(self, run_id: RunId) -> Path:
        """Give the folder of a run."""
        return self.state_dir / "runs" / run_id


def find_ground(cwd: Path, environment: Mapping[str, str], state_dir: Path | None = None) -> Ground:
    """Find the repository around a folder, and its state folder; nothing is made.

    Raises:
        RepoError: there is no repository.
    """
    from codexteam.adapters.git.places import locate

    places = locate(cwd, environment)
    return Ground(places, (state_dir or places.common_dir / STATE_FOLDER).absolute())


def repository_lock(ground: Ground, now: float) -> "RepositoryLock":
    """Give the repository's lock, not yet taken; `now` is what it tells others, wall seconds."""
    from codexteam.adapters.lock import RepositoryLock

    started = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return RepositoryLock(ground.state_dir, ground.places.common_dir, started=started)


def new_run_id(goal: str, *, at_seconds: float, pid: int) -> RunId:
    """Name a run: UTC time to the minute, and four digits that tell runs of one minute apart."""
    digest = hashlib.sha256(f"{goal}\0{at_seconds}\0{pid}".encode("utf-8", "surrogatepass")).hexdigest()
    return RunId(f"{datetime.fromtimestamp(at_seconds, UTC):%Y%m%d-%H%M}-{digest[:4]}")


async def pick_run(store: Store, name: str | None) -> RunRecord:
    """Give the run that a name or the start of one means; the newest without a name.

    Raises:
        UsageError: there is none, or several begin so.
    """
    runs = await store.runs()
    if not runs:
        raise UsageError("there are no runs here yet", hint='begin one: codexteam run "goal"')
    if name is None:
        return runs[0]
    found = [run for run in runs if run.run_id.startswith(name)]
    exact = [run for run in found if run.run_id == name]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    known = ", ".join(run.run_id for run in (found or runs)[:5])
    what = f"{len(found)} runs begin with it: {known}" if found else f"no run begins with it; there are {known}"
    raise UsageError(f"run {name!r}: {what}", hint="codexteam runs lists them")


def cleaned_mark(run_id: RunId) -> tuple[str, str]:
    """Give the space and key in the store that say of a green run that it was cleaned; its state stays green."""
    return f"{run_id}/life", "cleaned"


def refuse_cleaned(record: RunRecord) -> None:
    """Refuse to go on with a run whose work was cleaned away.

    Raises:
        UsageError: it was.
    """
    if record.state == CLEANED:
        raise UsageError(
            f"run {record.run_id} was cleaned: its branch and workspaces are gone",
            hint="codexteam salvage lists its work; begin a new run for what is left of the goal",
        )
