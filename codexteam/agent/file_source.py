"""Where instructions are read from: a commit of the repository, or a folder of the user's."""

from collections.abc import Sequence
from typing import Protocol

from codexteam.core.ids import CommitId
from codexteam.ports.repo import Repo

#: Instructions longer than this are no instructions.
_LIMIT_BYTES = 4 << 20


class FileSource(Protocol):
    """Files below one folder; paths are relative to it, with `/`."""

    @property
    def root(self) -> str:
        """Where people find that folder."""
        ...

    async def paths(self, folder: str) -> Sequence[str]:
        """Give every regular file below a folder, at any depth, sorted; nothing when there is no such folder."""
        ...

    async def read(self, path: str) -> bytes | None:
        """Give a file's bytes; None when there is no such regular file, or it is far too large for instructions."""
        ...


class CommitFiles:
    """The files of one commit, which no agent can change."""

    def __init__(self, repo: Repo, commit: CommitId, *, root: str) -> None:
        self._repo = repo
        self._commit = commit
        self._root = root
        self._paths: tuple[str, ...] | None = None

    @property
    def root(self) -> str:
        """The repository's path."""
        return self._root

    async def paths(self, folder: str) -> Sequence[str]:
        """As the protocol says; names that are not UTF-8 and links are left out."""
        if self._paths is None:
            files = await self._repo.list_files(self._commit)
            self._paths = tuple(sorted(_text_paths(files)))
        prefix = f"{folder}/" if folder else ""
        return [path for path in self._paths if path.startswith(prefix)]

    async def read(self, path: str) -> bytes | None:
        """As the protocol says."""
        if path not in await self.paths(""):
            return None
        return await self._repo.read_blob(self._commit, path.encode(), limit_bytes=_LIMIT_BYTES)


def _text_paths(files: Sequence[tuple[bytes, str, str]]) -> list[str]:
    paths = []
    for raw, mode, _ in files:
        try:
            path = raw.decode()
        except UnicodeDecodeError:
            continue
        if mode in ("100644", "100755"):
            paths.append(path)
    return paths
