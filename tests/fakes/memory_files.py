"""Files of a user or a commit, in memory."""

from collections.abc import Mapping, Sequence


class MemoryFiles:
    """A `FileSource`; counts what is read."""

    def __init__(self, files: Mapping[str, str | bytes], *, root: str = "/root") -> None:
        self._files = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self._root = root
        self.reads: list[str] = []

    @property
    def root(self) -> str:
        return self._root

    async def paths(self, folder: str) -> Sequence[str]:
        return sorted(path for path in self._files if not folder or path.startswith(f"{folder}/"))

    async def read(self, path: str) -> bytes | None:
        self.reads.append(path)
        return self._files.get(path)
