"""The files of a commit as detection reads them: listed once, and read when they are asked for."""

import asyncio
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from codexteam.core.ids import CommitId
from codexteam.core.paths import decode, encode
from codexteam.environment.repository_view import RepositoryView
from codexteam.ports.repo import Repo

T = TypeVar("T")

#: A larger manifest or lock file is nobody's: it counts as absent.
_FILE_BYTES = 64 << 20
_LINK = "120000"
_SUBMODULE = "160000"
#: Links that lead to links.
_MOST_LINKS = 8


@dataclass(slots=True)
class CommitFiles:
    """One commit's listing, and what was read of it."""

    repo: Repo
    commit: CommitId
    modes: dict[str, str]
    """Path to mode, of every file and link."""
    asked: set[str] = field(default_factory=set)
    """All paths that anybody asked for, there or not: what else may change is of no consequence."""
    _known: dict[str, bytes | None] = field(default_factory=dict)

    async def examine(self, look: Callable[[RepositoryView], T]) -> T:
        """Call what reads files as it goes, in a thread; nothing but what it asks for is read."""
        loop = asyncio.get_running_loop()

        def read(path: str) -> bytes | None:
            self.asked.add(path)
            if path not in self.modes:
                return None
            if path not in self._known:
                self._known[path] = asyncio.run_coroutine_threadsafe(self._read(path), loop).result()
            return self._known[path]

        return await asyncio.to_thread(look, RepositoryView(read, tuple(self.modes)))

    async def _read(self, path: str) -> bytes | None:
        for _ in range(_MOST_LINKS):
            mode = self.modes.get(path)
            if mode is None:
                return None
            try:
                data = await self.repo.read_blob(self.commit, encode(path), limit_bytes=_FILE_BYTES)
            except ValueError:
                return None
            if mode != _LINK or data is None:
                return data
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), decode(data)))
        return None


async def files_of(repo: Repo, commit: CommitId) -> CommitFiles:
    """Return a commit's files, none of them read yet."""
    listed = await repo.list_files(commit)
    return CommitFiles(repo, commit, {decode(path): mode for path, mode, _ in listed if mode != _SUBMODULE})
