"""One codexteam process per repository, proven by a lock that dies with the process."""

import fcntl
import json
import os
import socket
from pathlib import Path
from types import TracebackType

from codexteam.core.text import clean_line
from codexteam.errors import RepositoryBusyError, SurroundingsError


class RepositoryLock:
    """An exclusive lock on a repository, as a context manager.

    The file is named by device and inode of the common git directory, so that linked worktrees, symbolic links and
    bind mounts meet in one lock. The kernel lets go of it when the process ends in any way; what is written into it
    is for the message only. The descriptor is not inherited by children.
    """

    def __init__(self, state_dir: Path, common_dir: Path, *, started: str) -> None:
        """Name the lock; nothing is taken yet.

        Args:
            state_dir: where the lock file lies; made when it is missing.
            common_dir: the common git directory.
            started: when this process started, for another one's message.
        """
        found = common_dir.stat()
        self._path = state_dir / f"lock-{found.st_dev:x}-{found.st_ino:x}"
        self._started = started
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
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": self._started})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
        self._descriptor = descriptor

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


def _owner(descriptor: int) -> str:
    """Say who has the lock, as far as the file tells."""
    try:
        read: object = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return ""
    if not isinstance(read, dict):
        return ""
    known = [
        f"{word} {read[key]}" for key, word in (("pid", "process"), ("host", "on"), ("started", "since")) if key in read
    ]
    return clean_line(f" ({', '.join(known)})") if known else ""
