"""The repositories on which a process of this machine works now, found by the locks that the kernel lists."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.machine.lock import LOCK_PREFIX, owner_of


@dataclass(frozen=True, slots=True)
class RepositoryAtWork:
    """A repository, and where its state is."""

    root: Path
    state_dir: Path


def repositories_at_work() -> list[RepositoryAtWork]:
    """Return the repositories that this user's processes work on; none where the kernel does not say."""
    found = set()
    for pid in _lockers():
        for lock in _locks_of(pid):
            if root := owner_of(lock).root:
                found.add((root, str(lock.parent)))
    return [RepositoryAtWork(Path(root), Path(state)) for root, state in sorted(found)]


def _lockers() -> set[int]:
    """Return the processes that hold an exclusive lock on any file."""
    pids = set()
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            match line.split():
                case [_, "FLOCK", _, "WRITE", pid, *_] if pid.isdigit() and pid != "0":
                    pids.add(int(pid))
                case _:
                    continue
    return pids


def _locks_of(pid: int) -> list[Path]:
    """Return the lock files of repositories that a process has open; another user's process shows none."""
    found = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                file = entry.readlink()
                if file.name.startswith(LOCK_PREFIX) and file.is_file():
                    found.append(file)
    return found
