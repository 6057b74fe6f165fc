"""Who builds an environment, and when one was last used: files in one folder, shared by all processes of this machine.

A claim is a lock of the system on an open file, so it ends with the process that holds it, however that ends.
"""

import asyncio
import contextlib
import fcntl
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Between two looks at a claim that somebody else holds.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.02, 0.5
_KEY = re.compile(r"[\w.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims and uses of environments, by key."""

    folder: Path
    """Made when it is first needed."""

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[None]:
        """Wait until nobody else holds the claim of a key, here or in another process."""
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            with self.claimed_at_once(key) as is_ours:
                if is_ours:
                    yield
                    return
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    @contextmanager
    def claimed_at_once(self, key: str) -> Iterator[bool]:
        """Hold the claim of a key if nobody else does; gives whether that is so."""
        path = self._path(key, "lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _lock(descriptor, path)
        finally:
            os.close(descriptor)

    def use(self, key: str) -> None:
        """Note that an environment is used now."""
        path = self._path(key, "used")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def last_used_at_seconds(self, key: str) -> int:
        """Return when it was, since the epoch; 0 when that is not known."""
        try:
            return int(self._path(key, "used").stat().st_mtime)
        except FileNotFoundError:
            return 0

    def forget(self, key: str) -> None:
        """Remove the files of a key whose claim is held."""
        for what in ("used", "lock"):
            self._path(key, what).unlink(missing_ok=True)

    def _path(self, key: str, what: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key[:100]!r} is not the key of an environment")
        return self.folder / f"{key}.{what}"


def _lock(descriptor: int, path: Path) -> bool:
    """Take the lock if it is free, of the file that is there now: one that was removed meanwhile keeps nobody out."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
