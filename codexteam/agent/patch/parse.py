"""Patch text to hunks.

    *** Begin Patch
    *** Environment ID: any            (optional, ignored)
    *** Add File: path                 then lines that start with +
    *** Delete File: path
    *** Update File: path              then optionally `*** Move to: path`, then chunks:
    @@                                 or `@@ a line that comes before`
     kept
    -removed
    +added
    *** End of File                    (optional: the chunk is the file's end)
    *** End Patch

How far the tolerance goes was measured: white space around the outer markers and around headers (inside an update only
behind them), carriage returns at the ends of lines, one heredoc wrapper, a first chunk without `@@`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.text import WHITE_SPACE

_BEGIN = "*** Begin Patch"
_END = "*** End Patch"
_ADD = "*** Add File: "
_DELETE = "*** Delete File: "
_UPDATE = "*** Update File: "
_MOVE = "*** Move to: "
_END_OF_FILE = "*** End of File"
_ENVIRONMENT = "*** Environment ID:"
_HEREDOC_STARTS = ("<<EOF", "<<'EOF'", '<<"EOF"')
_HEREDOC_END = "EOF"
_BAD_LAST_LINE = f"The last line of the patch must be '{_END}'"


class LineKind(StrEnum):
    """What a line of a chunk says; the value is its first character."""

    KEPT = " "
    REMOVED = "-"
    ADDED = "+"


_KINDS = {kind.value: kind for kind in LineKind}


@dataclass(frozen=True, slots=True)
class ChunkLine:
    """One line of a chunk, without its first character and its ending."""

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One place of a file and what becomes of it."""

    lines: tuple[ChunkLine, ...]
    anchor: str | None = None
    """A line that comes before this chunk (`@@ anchor`), itself left as it is."""
    at_end_of_file: bool = False


@dataclass(frozen=True, slots=True)
class AddFile:
    """A file to write whole; one that is there is replaced."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """A file to remove."""

    path: str


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """A file to change, and perhaps to move."""

    path: str
    move_to: str | None
    chunks: tuple[Chunk, ...]


Hunk: TypeAlias = AddFile | DeleteFile | UpdateFile


@dataclass(frozen=True, slots=True)
class NotAPatch:
    """Text that is not a patch, and why, in Codex's words."""

    message: str


def parse_patch(text: str) -> tuple[Hunk, ...] | NotAPatch:
    """Return the hunks of a patch in their order; there may be none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return NotAPatch("Invalid patch: the text has half a surrogate pair, which no UTF-8 file can hold")
    lines = [_without_returns(line) for line in text.strip(WHITE_SPACE).split("\n")]
    problem = _envelope_problem(lines)
    if problem and len(lines) >= 4 and lines[0] in _HEREDOC_STARTS and lines[-1].endswith(_HEREDOC_END):
        lines = lines[1:-1]
        problem = _envelope_problem(lines)
    if problem:
        return NotAPatch(f"Invalid patch: {problem}")
    reader = _PatchReader()
    for number, line in enumerate(lines[1:-1], start=2):
        problem = reader.take(line, number)
        if problem:
            return NotAPatch(problem)
    if not reader.ended:
        problem = reader.take(_END, len(lines))
    return NotAPatch(problem) if problem else tuple(reader.hunks)


def _without_returns(line: str) -> str:
    # Codex splits lines twice, and each time takes one carriage return
    return line.removesuffix("\r").removesuffix("\r")


def _envelope_problem(lines: list[str]) -> str:
    first, last = lines[0].strip(WHITE_SPACE), lines[-1].strip(WHITE_SPACE)
    if first != _BEGIN and lines != [""]:
        return f"The first line of the patch must be '{_BEGIN}'"
    if last != _END:
        return _BAD_LAST_LINE
    return ""


@dataclass(slots=True)
class _OpenChunk:
    anchor: str | None = None
    lines: list[ChunkLine] = field(default_factory=list)
    at_end_of_file: bool = False

    def closed(self) -> Chunk:
        return Chunk(tuple(self.lines), self.anchor, self.at_end_of_file)


@dataclass(slots=True)
class _OpenUpdate:
    path: str
    number: int
    move_to: str | None = None
    chunks: list[_OpenChunk] = field(default_factory=list)

    def closed(self) -> UpdateFile:
        return UpdateFile(self.path, self.move_to, tuple(chunk.closed() for chunk in self.chunks))


@dataclass(slots=True)
class _OpenAdd:
    path: str
    lines: list[str] = field(default_factory=list)

    def closed(self) -> AddFile:
        return AddFile(self.path, "".join(f"{line}\n" for line in self.lines))


@dataclass(slots=True)
class _PatchReader:
    """Reads line by line; `take` gives what is wrong with a line, or the empty string."""

    hunks: list[Hunk] = field(default_factory=list)
    open: _OpenAdd | _OpenUpdate | None = None
    environment_seen: bool = False
    ended: bool = False

    def take(self, line: str, number: int) -> str:
        if self.ended:
            return f"Invalid patch: {_BAD_LAST_LINE}" if line.strip(WHITE_SPACE) else ""
        if isinstance(self.open, _OpenUpdate):
            return self._take_in_update(self.open, line, number)
        trimmed = line.strip(WHITE_SPACE)
        if isinstance(self.open, _OpenAdd) and line.startswith("+"):
            self.open.lines.append(line[1:])
            return ""
        if self._take_header(trimmed, number):
            return ""
        if trimmed.startswith(_ENVIRONMENT) and not self.hunks and self.open is None:
            return self._take_environment(trimmed)
        return _at(
            number,
            f"'{trimmed}' is not a valid hunk header. Valid hunk headers: "
            f"'{_ADD}{{path}}', '{_DELETE}{{path}}', '{_UPDATE}{{path}}'",
        )

    def _take_environment(self, trimmed: str) -> str:
        if self.environment_seen:
            return "Invalid patch: apply_patch environment_id cannot be specified more than once"
        if not trimmed.removeprefix(_ENVIRONMENT).strip(WHITE_SPACE):
            return "Invalid patch: apply_patch environment_id cannot be empty"
        self.environment_seen = True
        return ""

    def _take_header(self, line: str, number: int) -> bool:
        """Close the open hunk and begin the one that the header names; False if it is not a header."""
        if line == _END:
            self._close()
            self.ended = True
        elif line.startswith(_ADD):
            self._close()
            self.open = _OpenAdd(line.removeprefix(_ADD))
        elif line.startswith(_DELETE):
            self._close()
            self.hunks.append(DeleteFile(line.removeprefix(_DELETE)))
        elif line.startswith(_UPDATE):
            self._close()
            self.open = _OpenUpdate(line.removeprefix(_UPDATE), number)
        else:
            return False
        return True

    def _close(self) -> None:
        if self.open is not None:
            self.hunks.append(self.open.closed())
        self.open = None

    def _take_in_update(self, update: _OpenUpdate, line: str, number: int) -> str:
        trimmed = line.rstrip(WHITE_SPACE)
        chunk = update.chunks[-1] if update.chunks else None
        if chunk is not None and not chunk.lines:
            return _take_first_line(chunk, line, trimmed, number)
        if _is_header(trimmed):
            if chunk is None:
                return _at(update.number, f"Update file hunk for path '{update.path}' is empty")
            self._take_header(trimmed, number)
            return ""
        if trimmed == "@@":
            update.chunks.append(_OpenChunk())
            return ""
        if trimmed.startswith("@@ "):
            update.chunks.append(_OpenChunk(anchor=trimmed.removeprefix("@@ ")))
            return ""
        if chunk is None:
            return _take_before_chunks(update, line, trimmed, number)
        return _take_later_line(chunk, line, trimmed, number)


def _take_before_chunks(update: _OpenUpdate, line: str, trimmed: str, number: int) -> str:
    if update.move_to is None and trimmed.startswith(_MOVE):
        update.move_to = trimmed.removeprefix(_MOVE)
        return ""
    if trimmed == _END_OF_FILE:
        return ""
    parsed = _chunk_line(line)
    if parsed is None:
        return _unexpected(line, number)
    update.chunks.append(_OpenChunk(lines=[parsed]))
    return ""


def _take_first_line(chunk: _OpenChunk, line: str, trimmed: str, number: int) -> str:
    if trimmed in (_END_OF_FILE, _END):
        return _at(number, "Update hunk does not contain any lines")
    parsed = _chunk_line(line)
    if parsed is None:
        return _unexpected(line, number)
    chunk.lines.append(parsed)
    return ""


def _take_later_line(chunk: _OpenChunk, line: str, trimmed: str, number: int) -> str:
    if chunk.at_end_of_file and not trimmed:
        return ""
    parsed = None if chunk.at_end_of_file else _chunk_line(line)
    if parsed is not None:
        chunk.lines.append(parsed)
    elif trimmed == _END_OF_FILE and not chunk.at_end_of_file:
        chunk.at_end_of_file = True
    else:
        return _at(number, f"Expected update hunk to start with a @@ context marker, got: '{line}'")
    return ""


def _is_header(line: str) -> bool:
    return line == _END or line.startswith((_ADD, _DELETE, _UPDATE))


def _chunk_line(line: str) -> ChunkLine | None:
    if not line:
        return ChunkLine(LineKind.KEPT, "")
    kind = _KINDS.get(line[0])
    return None if kind is None else ChunkLine(kind, line[1:])


def _unexpected(line: str, number: int) -> str:
    return _at(
        number,
        f"Unexpected line found in update hunk: '{line}'. Every line should start with ' ' (context line), "
        "'+' (added line), or '-' (removed line)",
    )


def _at(number: int, message: str) -> str:
    return f"Invalid patch hunk on line {number}: {message}"
