"""One codexteam process per repository, proven by a lock that dies with the process; and those that are locked now."""

import fcntl
import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from codexteam.adapters.machine.person import name_of
from codexteam.core.codec import StoredForm, decode, encode, stored
from codexteam.core.text import clean_line
from codexteam.errors import RepositoryBusyError, StoreError, SurroundingsError

#: How the file of a lock begins.
LOCK_PREFIX = "lock-"
#: Where in /proc/PID/stat, behind the name in brackets, the start time stands; proc(5) counts it as field 22.
_START_TIME = 19


def process_mark(pid: int) -> str:
    """Return the machine's boot and the process's start in it; empty when there is no such process, or no /proc."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # the name may hold blanks and brackets
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return f"{boot}:{after_name.split()[_START_TIME]}"
    return ""


def this_process() -> tuple[str, int, str]:
    """Return the host's name, the pid and the mark of this process."""
    return socket.gethostname(), os.getpid(), process_mark(os.getpid())


def lock_path(state_dir: Path, common_dir: Path) -> Path:
    """Return where the lock of a repository lies."""
    found = common_dir.stat()
    return state_dir / f"{LOCK_PREFIX}{found.st_dev:x}-{found.st_ino:x}"


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class LockOwner:
    """What the file of a lock says of the process that holds it, for messages and for who looks for it."""

    pid: int = 0
    host: str = ""
    started: str = ""
    run: str = ""
    root: str = ""


class RepositoryLock:
    """An exclusive lock on a repository, as a context manager.

    The file is named by device and inode of the common git directory, so that linked worktrees, symbolic links and
    bind mounts meet in one lock. The kernel lets go of it when the process ends in any way; what is written into it
    is for the message only. The descriptor is not inherited by children.
    """

    def __init__(self, state_dir: Path, common_dir: Path, *, started: str, root: Path | None = None) -> None:
        """Name the lock; nothing is taken yet.

        Args:
            state_dir: where the lock file lies; made when it is missing.
            common_dir: the common git directory.
            started: when this process started, for another one's message.
            root: the repository's root, for who looks for all repositories.
        """
        self._path = lock_path(state_dir, common_dir)
        self._started = started
        self._root = "" if root is None else str(root)
        self._run = ""
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RepositoryBusyError: another process has it; says which, and since when.
            SurroundingsError: the state folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if isinstance(error, PermissionError) and (owner := _foreign_owner(self._path.parent)):
                raise SurroundingsError(
                    f"{self._path.parent}: the runs here belong to {owner}, who alone starts and continues them",
                    hint="have them do it, or work on a clone of the repository",
                ) from error
            raise SurroundingsError(
                f"{self._path}: the lock cannot be made: {error.strerror}",
                hint="Make the folder writable, or give another one with --state-dir.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _owner(descriptor)
            os.close(descriptor)
            raise RepositoryBusyError(
                f"another codexteam process works on this repository{who}",
                hint="Wait for it, or end it with `codexteam stop`.",
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise SurroundingsError(
                f"{self._path}: the file system cannot lock: {error.strerror}",
                hint="Give a state folder on a local file system with --state-dir.",
            ) from error
        self._descriptor = descriptor
        self._write_owner(descriptor)

    def name_run(self, run_id: str) -> None:
        """Say which run is worked on, for `find_holder` in other processes."""
        self._run = run_id
        if self._descriptor is not None:
            self._write_owner(self._descriptor)

    def _write_owner(self, descriptor: int) -> None:
        facts = LockOwner(os.getpid(), socket.gethostname(), self._started, self._run, self._root)
        owner = json.dumps(encode(facts)).encode()
        # a reader sees the old text or the new one, perhaps with blanks after it
        os.pwrite(descriptor, owner.ljust(os.fstat(descriptor).st_size), 0)

    def release(self) -> None:
        """Let go; may be repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "RepositoryLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _foreign_owner(folder: Path) -> str:
    """Return who owns a folder, where that is another account."""
    with suppress(OSError):
        user = folder.stat().st_uid
        return "" if user == os.getuid() else name_of(user)
    return ""


def _owner(descriptor: int) -> str:
    """Say who has the lock, as far as the file shows."""
    read = _read_owner(os.pread(descriptor, 4096, 0))
    known = (("process", read.pid), ("on", read.host), ("since", read.started))
    said = ", ".join(f"{word} {found}" for word, found in known if found)
    return clean_line(f" ({said})") if said else ""


def owner_of(lock: Path) -> LockOwner:
    """Return what a lock's file says of who holds it; nothing where it cannot be read."""
    with suppress(OSError):
        return _read_owner(lock.read_bytes())
    return LockOwner()


def _read_owner(data: bytes) -> LockOwner:
    try:
        return decode(LockOwner, json.loads(data), "the file of a lock")
    except (ValueError, StoreError):
        return LockOwner()


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that works on a repository now."""

    pid: int
    """As this process would name it; 0 when it cannot be seen from here."""
    run_id: str
    """The run it works on; empty before it has said so."""

    def is_listening(self) -> bool:
        """Return whether SIGUSR1 makes it look for requests; a process that does not catch it would be ended by it."""
        return self._has("SigCgt", signal.SIGUSR1)

    def _has(self, mask: str, number: int) -> bool:
        """Return whether a signal is in one of the masks that the kernel shows of a process."""
        with suppress(OSError, ValueError):
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
            for line in status.splitlines():
                if line.startswith(f"{mask}:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
        return False

    def is_suspended(self) -> bool:
        """Return whether it was stopped where it stood, as Ctrl-Z does; false where it cannot be seen."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
            # 4711 (name, with anything in it) T 1 ...
            return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])
        return False

    def wake(self) -> bool:
        """Make it look for requests; False when it does not listen, or not to us."""
        if not self.is_listening():
            return False
        with suppress(OSError):
            os.kill(self.pid, signal.SIGUSR1)
            return True
        return False

    def interrupt(self) -> bool:
        """End it as Ctrl-C in its terminal would; False when it is not ours to end."""
        if not self.pid:
            return False
        with suppress(OSError):
            # one that was started in the background may ignore Ctrl-C
            os.kill(self.pid, signal.SIGTERM if self._has("SigIgn", signal.SIGINT) else signal.SIGINT)
            return True
        return False


def find_holder(state_dir: Path, common_dir: Path) -> LockHolder | None:
    """Say who holds a repository's lock, without taking it even for a moment; None when nobody does."""
    path = lock_path(state_dir, common_dir)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        pid = _locker(descriptor)
        if pid is None:
            return None
        facts = _read_owner(os.pread(descriptor, 4096, 0))
        return LockHolder(pid, facts.run)
    finally:
        os.close(descriptor)


def _locker(descriptor: int) -> int | None:
    """Return the process that holds an exclusive lock on an open file, as the kernel reports it; 0 for one out of sight."""
    found = os.fstat(descriptor)
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return _probe(descriptor)
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF
        match line.split():
            case [_, "FLOCK", _, "WRITE", pid, place, *_] if place.rpartition(":")[2] == str(found.st_ino):
                if _same_device(place, found.st_dev) or _has_open(int(pid), found):
                    return int(pid)
            case _:
                continue
    return None


def _same_device(place: str, device: int) -> bool:
    major, minor, _ = place.split(":")
    return (int(major, 16), int(minor, 16)) == (os.major(device), os.minor(device))


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    """Return whether a process has this very file open: some file systems show another device number than the kernel."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found = entry.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False


def _probe(descriptor: int) -> int | None:
    """Where the kernel's list cannot be read: try a shared lock, for as long as it takes to let go of it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    except OSError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return None


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
