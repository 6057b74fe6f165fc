"""The read-only checkouts that workspaces are laid over: one per root commit (and extra files), made once."""

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.bubblewrap.launching import SANDBOX_UID
from codexteam.ports.fault_points import reach
from codexteam.ports.sandbox import BaseSource

#: Bases that no process uses are kept up to this number, the last used ones.
_KEPT = 3


@dataclass(slots=True)
class Bases:
    """The checkouts below one folder. Several processes may share it."""

    folder: Path
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)
    """Base to the descriptor that keeps others from removing it."""
    _hashes: dict[tuple[Path, int, int], str] = field(default_factory=dict)

    async def get(self, base: BaseSource, build: Callable[[Path], Awaitable[None]], *, more: str = "") -> Path:
        """Give the checkout for a base; `build` fills an empty folder when there is none yet.

        `more` names what the checkout holds beyond the root commit and the extra files.
        """
        key = await self._key(base) + more
        async with self._locks.setdefault(key, asyncio.Lock()):
            home = self.folder / key
            if self._hold(key):
                return home / "tree"
            await asyncio.to_thread(self._clear, key)
            new = self.folder / f".new-{key}-{os.getpid()}"
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
            (new / "tree").mkdir(parents=True, mode=0o755)
            if os.getuid() == 0:
                os.chown(new / "tree", SANDBOX_UID, SANDBOX_UID)
            try:
                await build(new / "tree")
                (new / "lock").touch()
                reach("checkout.rename.before")
                new.rename(home)
                reach("checkout.rename.after")
            except OSError:
                if not (home / "lock").exists():  # else another process was quicker
                    raise
            finally:
                await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
            if not self._hold(key):
                raise FileNotFoundError(home)
            return home / "tree"

    async def _key(self, base: BaseSource) -> str:
        if base.extra_files is None:
            return base.root_commit
        state = base.extra_files.stat()
        known = (base.extra_files, state.st_mtime_ns, state.st_size)
        if known not in self._hashes:
            self._hashes[known] = await asyncio.to_thread(_hash, base.extra_files)
        return f"{base.root_commit}-{self._hashes[known][:16]}"

    def _hold(self, key: str) -> bool:
        """Keep a base from being removed; False when there is none."""
        if key in self._held:
            return True
        try:
            descriptor = os.open(self.folder / key / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not self._is_lock(key, descriptor):  # removed while we waited
            os.close(descriptor)
            return False
        os.utime(descriptor)
        self._held[key] = descriptor
        return True

    def _is_lock(self, key: str, descriptor: int) -> bool:
        """Whether an open file is a base's lock; after a removal there may be none, or that of a base made anew."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.folder / key / "lock").stat())
        except FileNotFoundError:
            return False

    def prune(self) -> list[str]:
        """Remove bases that nobody uses but for the last few, and what broken starts left; give their names."""
        removed = []
        idle: list[tuple[float, str]] = []
        for path in self.folder.glob("*"):
            if path.name.startswith(".new-"):
                if not Path(f"/proc/{path.name.rsplit('-', 1)[1]}").exists():
                    shutil.rmtree(path, ignore_errors=True)
                    removed.append(path.name)
            elif path.name not in self._held and path.is_dir():
                try:
                    idle.append(((path / "lock").stat().st_mtime, path.name))
                except FileNotFoundError:
                    removed += [path.name] if self._clear(path.name) else []
        idle.sort(reverse=True)
        removed += [key for _, key in idle[_KEPT:] if self._remove(key)]
        return removed

    def _remove(self, key: str) -> bool:
        """Remove a base, unless somebody uses it or is quicker."""
        try:
            with (self.folder / key / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_lock(key, lock.fileno()):
                    return False
                gone = self._set_aside(key)
        except (BlockingIOError, FileNotFoundError):
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _clear(self, key: str) -> bool:
        """Remove a folder without a lock: a base gets its name whole, so this is one that was half removed."""
        home = self.folder / key
        try:
            if not home.exists() or (home / "lock").exists():
                return False
            gone = self._set_aside(key)
        except FileNotFoundError:  # there is nothing, or another process was quicker
            return False
        if (gone / "lock").exists():  # a whole one took its place between our look and our grip
            gone.rename(home)
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _set_aside(self, key: str) -> Path:
        """Take a base's name away in one step: killed while its files are removed, we leave what any `prune` takes."""
        gone = self.folder / f".new-gone-{key}-{os.getpid()}"
        shutil.rmtree(gone, ignore_errors=True)
        reach("checkout.remove.before")
        (self.folder / key).rename(gone)
        reach("checkout.remove.after")
        return gone

    def close(self) -> None:
        """Let go of every base."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
