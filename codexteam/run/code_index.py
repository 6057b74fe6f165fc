"""What is known of each file: path, purpose, symbols, keyed by the file's content, so that it is never asked for twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.answers import ScoutedFile
from codexteam.core.codec import StoredForm, decode, encode_object, stored
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


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class FileNote:
    """What is known of a file."""

    purpose: str
    symbols: tuple[str, ...]


class CodeIndex:
    """The index of a repository's files over all runs."""

    def __init__(self, store: Store) -> None:
        """Use the repository's store."""
        self._store = store

    async def unknown(self, files: Sequence[tuple[bytes, str, str]]) -> list[bytes]:
        """Return the paths whose present content nobody has described; `files` are (path, mode, blob id)."""
        known = dict(await self._store.list(_SPACE))
        return [path for path, _, blob in files if blob not in known and not path.endswith(_PLAIN)]

    async def learn(self, described: Sequence[ScoutedFile], blobs: Mapping[bytes, str]) -> None:
        """Keep what a scout said of files that are really there."""
        for file in described:
            blob = blobs.get(file.path.encode("utf-8", "surrogateescape"))
            if blob is not None:
                await self._store.put(_SPACE, blob, encode_object(FileNote(file.purpose, file.symbols)))

    async def describe(self, files: Sequence[tuple[bytes, str, str]]) -> str:
        """List the files that are known, a line each, in path order."""
        known = dict(await self._store.list(_SPACE))
        lines = []
        for path, _, blob in files:
            entry = known.get(blob)
            if entry is not None:
                note = decode(FileNote, entry, "what is known of a file")
                names = ", ".join(note.symbols)
                shown = path.decode("utf-8", errors="backslashreplace")
                lines.append(f"{shown}: {note.purpose}" + (f" [{names}]" if names else ""))
        return "\n".join(lines)
