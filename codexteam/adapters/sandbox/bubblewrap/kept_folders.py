"""Folders that are made once, never changed and shared by several processes: checkouts and environments.

One gets its name when it is whole; a file `lock` in it is locked by whoever uses it. It is removed by taking its name
away in one step, so that killed while files are removed we leave only what a sweep takes.
"""

import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from codexteam.system.fault_points import reach

_LOG = logging.getLogger(__name__)
LOCK = "lock"
#: Begins the names of folders that are being removed, or wait for that until nobody uses them.
GONE = ".new-gone-"


class KeptFolders:
    """What lies below one folder, by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, key: str) -> int | None:
        """Keep one from being removed, and mark it as used; give a descriptor to close. None when there is none."""
        try:
            descriptor = os.open(self.folder / key / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not self._is_lock(key, descriptor):  # removed while we waited
            os.close(descriptor)
            return None
        os.utime(descriptor)
        return descriptor

    def used_at(self, key: str) -> float:
        """Return when it was last used.

        Raises:
            OSError: there is none.
        """
        return (self.folder / key / LOCK).stat().st_mtime

    def put(self, new: Path, key: str) -> None:
        """Give a folder that is whole its name.

        Raises:
            OSError: another process was quicker, or something else is in the way.
        """
        (new / LOCK).touch()
        reach("checkout.rename.before")
        new.rename(self.folder / key)
        reach("checkout.rename.after")

    def remove(self, key: str) -> bool:
        """Remove one, unless somebody uses it or is quicker."""
        try:
            with (self.folder / key / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_lock(key, lock.fileno()):
                    return False
                gone = self._set_aside(key)
        except (BlockingIOError, FileNotFoundError):
            return False
        remove_tree(gone)
        return True

    def replace(self, key: str) -> None:
        """Take the name of one away, in use or not; one in use is removed by a later sweep."""
        if not self.remove(key) and (self.folder / key).exists():
            self._set_aside(key)

    def clear(self, key: str) -> bool:
        """Remove a folder without a lock: one gets its name whole, so this is one that was half removed."""
        home = self.folder / key
        try:
            if not home.exists() or (home / LOCK).exists():
                return False
            gone = self._set_aside(key)
        except FileNotFoundError:  # there is nothing, or another process was quicker
            return False
        if (gone / LOCK).exists():  # a whole one took its place between our look and our grip
            gone.rename(home)
            return False
        remove_tree(gone)
        return True

    def remove_gone(self) -> list[str]:
        """Remove what killed processes were removing and what was replaced while it was used; give the names."""
        removed = []
        for path in self.folder.glob(f"{GONE}*"):
            try:
                with (path / LOCK).open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it is used
            except FileNotFoundError:
                _LOG.debug("%s is half removed", path)
            remove_tree(path)
            removed.append(path.name)
        return removed

    def found(self) -> Iterator[str]:
        """Give the keys of all that have a name, whole or not."""
        for path in self.folder.glob("*"):
            if not path.name.startswith(".") and path.is_dir():
                yield path.name

    def _is_lock(self, key: str, descriptor: int) -> bool:
        """Whether an open file is the lock of a key; after a removal there may be none, or that of one made anew."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.folder / key / LOCK).stat())
        except FileNotFoundError:
            return False

    def _set_aside(self, key: str) -> Path:
        gone = self.folder / f"{GONE}{key}-{time.monotonic_ns():x}-{os.getpid()}"
        reach("checkout.remove.before")
        (self.folder / key).rename(gone)
        reach("checkout.remove.after")
        return gone


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, also where a program took the rights to that away; links stay unfollowed."""
    if os.getuid() != 0:
        _allow(path)
    shutil.rmtree(path, ignore_errors=True)


def _allow(path: Path) -> None:
    waiting = [str(path)]
    while waiting:
        folder = waiting.pop()
        try:
            state = os.lstat(folder)
            if stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - many
            waiting += [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            _LOG.info("%s: %s", folder, error)
