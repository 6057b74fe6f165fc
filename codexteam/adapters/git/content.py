"""What new file content may not hold: credentials, and characters that a reader does not see."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from codexteam.adapters.git.runner import Deadline
from codexteam.core.paths import show
from codexteam.ports.repo import TreeChange, Violation

#: Bidirectional controls, zero-width characters inside text, and invisible tags: what hides code from its reader.
#: The joiners U+200C and U+200D and the marks U+200E and U+200F are ordinary in several scripts and in emoji, a byte
#: order mark at the start is an editor's; they are left alone.
_INVISIBLE = re.compile("[\u200b\u202a-\u202e\u2060-\u2069\U000e0000-\U000e007f]|(?<!^)\ufeff|\x1b")
_BINARY_LOOK_BYTES = 8000
#: A value shorter than this is in ordinary text by chance.
_MIN_SECRET_CHARACTERS = 8
_LINES_PER_CHECK = 2000
_PIECE_BYTES = 1 << 15
_OVERLAP_BYTES = 512


class Hit(Protocol):
    """A credential that was found."""

    @property
    def kind(self) -> str:
        """What it is, never the credential."""
        ...

    @property
    def line(self) -> int:
        """Where, counted from 1."""
        ...


class LineScanner(Protocol):
    """What finds credentials in numbered lines."""

    def scan(self, lines: Iterable[tuple[int, str]]) -> Iterable[Hit]:
        """Give what the lines hold."""
        ...


ReadBlob = Callable[[str], bytes | None]


class ContentPolicy:
    """Looks at what was added: lines that the old version has already are the user's, not the task's."""

    def __init__(self, scanner: LineScanner | None, secret_values: Sequence[str], deadline: Deadline) -> None:
        """Take what finds credentials (None: only exact values are looked for) and the exact values."""
        self._scanner = scanner
        self._values = [value.encode() for value in secret_values if len(value) >= _MIN_SECRET_CHARACTERS]
        self._deadline = deadline

    def problems(self, changes: Sequence[TreeChange], read: ReadBlob, known: set[str]) -> Iterator[Violation]:
        """Give what the changed files' new lines hold.

        Args:
            changes: what differs from the base.
            read: gives a blob's bytes, None when it is too large to look at.
            known: blobs that are in the base's history already; a moved file is not new.
        """
        for change in changes:
            if change.new_mode not in {"100644", "100755", "120000"} or change.new_blob in known:
                continue
            new = read(change.new_blob)
            if new is None:
                continue
            old = read(change.old_blob) if change.status == "M" else None
            yield from self._file(change.path, new, old or b"")

    def _file(self, path: bytes, new: bytes, old: bytes) -> Iterator[Violation]:
        for value in self._values:
            at = new.find(value)
            if at >= 0 and value not in old:
                line = new.count(b"\n", 0, at) + 1
                yield Violation("secret", f"{show(path)}:{line}: a secret of this run's surroundings", show(path), line)
        if self._scanner is not None:
            for hit in self._scanner.scan(self._added(new, old)):
                message = f"{show(path)}:{hit.line}: looks like a credential ({hit.kind})"
                yield Violation("secret", message, show(path), hit.line)
        if b"\0" in new[:_BINARY_LOOK_BYTES]:
            return
        for number, text in self._added(new, old):
            found = _INVISIBLE.search(text)
            if found:
                message = f"{show(path)}:{number}: an invisible or control character (U+{ord(found.group()):04X})"
                yield Violation("invisible", message, show(path), number)

    def _added(self, new: bytes, old: bytes) -> Iterator[tuple[int, str]]:
        """Give the lines that the old version has not, long ones in overlapping pieces; stops at the deadline."""
        had = set(old.split(b"\n"))
        for number, line in enumerate(new.split(b"\n"), 1):
            if number % _LINES_PER_CHECK == 0:
                self._deadline.check()
            if line in had:
                continue
            if len(line) <= _PIECE_BYTES:
                yield number, line.decode("utf-8", "replace")
                continue
            for start in range(0, len(line), _PIECE_BYTES):
                self._deadline.check()
                yield number, line[max(start - _OVERLAP_BYTES, 0) : start + _PIECE_BYTES].decode("utf-8", "replace")
