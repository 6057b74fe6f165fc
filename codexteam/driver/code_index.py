"""What is known of each file: path, purpose, symbols, keyed by the file's content, so that it is never asked for twice."""

from collections.abc import Mapping, Sequence

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.ports.store import Store

#: Space of the store, kept between runs: key is the blob id.
_SPACE = "code-index"

#: Files that nobody needs described.
_PLAIN = (
    b".lock",
    b".svg",
    b".png",
    b".jpg",
    b".gif",
    b".ico",
    b".pdf",
    b".woff",
    b".woff2",
    b".min.js",
    b".map",
    b".snap",
)


class CodeIndex:
    """The index of a repository's files over all runs."""

    def __init__(self, store: Store) -> None:
        """Use the repository's store."""
        self._store = store

    async def unknown(self, files: Sequence[tuple[bytes, str, str]]) -> list[bytes]:
        """Give the paths whose present content nobody has described; `files` are (path, mode, blob id)."""
        known = dict(await self._store.list(_SPACE))
        return [path for path, _, blob in files if blob not in known and not path.endswith(_PLAIN)]

    async def learn(self, answer: JSONObject, blobs: Mapping[bytes, str]) -> None:
        """Keep what a scout said of files that are really there."""
        files = answer.get("files")
        for entry in files if isinstance(files, list) else []:
            match entry:
                case {"path": str(path), "purpose": str(purpose), "symbols": list(symbols)}:
                    blob = blobs.get(path.encode("utf-8", "surrogateescape"))
                    if blob is not None:
                        names: list[JSONValue] = [name for name in symbols if isinstance(name, str)]
                        await self._store.put(_SPACE, blob, {"purpose": purpose, "symbols": names})
                case _:
                    continue

    async def describe(self, files: Sequence[tuple[bytes, str, str]]) -> str:
        """List the files that are known, a line each, in path order."""
        known = dict(await self._store.list(_SPACE))
        lines = []
        for path, _, blob in files:
            entry = known.get(blob)
            if entry is not None:
                symbols = entry.get("symbols")
                names = ", ".join(str(name) for name in symbols) if isinstance(symbols, list) else ""
                shown = path.decode("utf-8", errors="backslashreplace")
                lines.append(f"{shown}: {entry.get('purpose')}" + (f" [{names}]" if names else ""))
        return "\n".join(lines)
