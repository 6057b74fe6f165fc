"""The read-only checkouts that workspaces are laid over: one per root commit (and extra files), made once."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.kept_folders import LOCK, KeptFolders
from codexteam.adapters.sandbox.bubblewrap.launch_plan import SANDBOX_UID
from codexteam.ports.sandbox import BaseSource

#: Bases that no process uses are kept up to this number, the last used ones.
_KEPT = 3


@dataclass(slots=True)
class BubblewrapBases:
    """The checkouts below one folder. Several processes may share it."""

    folder: Path
    _kept: KeptFolders = field(init=False)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)
    """Base to the descriptor that keeps others from removing it."""
    _hashes: dict[tuple[Path, int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kept = KeptFolders(self.folder)

    async def get(self, base: BaseSource, build: Callable[[Path], Awaitable[None]], *, more: str = "") -> Path:
        """Return the checkout for a base; `build` fills an empty folder when there is none yet.

        `more` names what the checkout holds beyond the root commit and the extra files.
        """
        key = await self._key(base) + more
        async with self._locks.setdefault(key, asyncio.Lock()):
            home = self.folder / key
            if self._hold(key):
                return home / "tree"
            await asyncio.to_thread(self._kept.clear, key)
            new = self.folder / f".new-{key}-{os.getpid()}"
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
            (new / "tree").mkdir(parents=True, mode=0o755)
            if os.getuid() == 0:
                os.chown(new / "tree", SANDBOX_UID, SANDBOX_UID)
            try:
                await build(new / "tree")
                self._kept.put(new, key)
            except OSError:
                if not (home / LOCK).exists():  # else another process was quicker
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
        descriptor = self._kept.hold(key)
        if descriptor is not None:
            self._held[key] = descriptor
        return descriptor is not None

    def prune(self, *, keep: int = _KEPT) -> list[str]:
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
                    idle.append((self._kept.used_at(path.name), path.name))
                except FileNotFoundError:
                    removed += [path.name] if self._kept.clear(path.name) else []
        idle.sort(reverse=True)
        removed += [key for _, key in idle[keep:] if self._kept.remove(key)]
        return removed

    def close(self) -> None:
        """Let go of every base."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
