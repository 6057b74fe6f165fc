"""Instructions from a folder of the user's, such as `$CODEX_HOME`."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

_LIMIT_BYTES = 4 << 20

#: A folder with more files than this is not searched further: it is not a folder of instructions.
_MAX_FILES = 20_000


class FolderFiles:
    """The files below one folder; links are followed, since the folder is the user's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        """The folder's path."""
        return str(self._folder)

    async def paths(self, folder: str) -> Sequence[str]:
        """Return every regular file below `folder`, at any depth, sorted, relative to the root."""
        return await asyncio.to_thread(self._walk, folder)

    async def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None when there is no such regular file, or it is far too large for instructions."""
        return await asyncio.to_thread(self._read, path)

    def _walk(self, folder: str) -> list[str]:
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        for here, folders, names in os.walk(self._folder / folder, followlinks=True):
            status = Path(here).stat()
            if (status.st_dev, status.st_ino) in seen:
                # a link back to a folder above
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below = Path(here).relative_to(self._folder)
            found += [str(below / name) for name in names if (Path(here) / name).is_file()]
            if len(found) > _MAX_FILES:
                break
        return sorted(path for path in found if path.isprintable())

    def _read(self, path: str) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(_LIMIT_BYTES + 1)
        except (OSError, ValueError):
            return None
        return data if len(data) <= _LIMIT_BYTES else None
