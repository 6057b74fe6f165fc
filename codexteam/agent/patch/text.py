"""A file's text as lines with their endings, and the search for a chunk's place in it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.core.text import WHITE_SPACE

_ENDING = re.compile(r"\r\n|\n|\r")

#: Typographic dashes, quotes and spaces, and what people type for them.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys("\xa0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    }
)


Replacement: TypeAlias = tuple[int, int, tuple[str, ...]]
"""From this line, this many lines, become these."""


def _as_it_is(line: str) -> str:
    return line


def _without_trailing(line: str) -> str:
    return line.rstrip(WHITE_SPACE)


def _trimmed(line: str) -> str:
    return line.strip(WHITE_SPACE)


def _plain(line: str) -> str:
    return line.strip(WHITE_SPACE).translate(_PLAIN)


#: How lines are compared, the strictest first.
_VIEWS: tuple[Callable[[str], str], ...] = (_as_it_is, _without_trailing, _trimmed, _plain)


@dataclass(slots=True)
class SourceText:
    """The lines of one file. A line ends with LF, CRLF or CR; the first ending found is that of new lines."""

    lines: list[str]
    endings: list[str]
    """One for each line; empty where the file ends without."""
    _views: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "SourceText":
        """Split a text."""
        lines, endings, start = [], [], 0
        for match in _ENDING.finditer(text):
            lines.append(text[start : match.start()])
            endings.append(match.group())
            start = match.end()
        if start < len(text):
            lines.append(text[start:])
            endings.append("")
        return cls(lines, endings)

    def find(self, pattern: Sequence[str], start: int, *, at_end: bool) -> int | None:
        """Return the index of the first place at or after `start` where `pattern` stands.

        Whole passes are made with ever more tolerance: exact, without trailing white space, without any around the
        line, with typographic punctuation made plain. With `at_end` only the file's last lines count.
        """
        if not pattern:
            return start
        last = len(self.lines) - len(pattern)
        if at_end:
            start = max(start, last)
        if last < 0 or start > last:
            return None
        for number, view in enumerate(_VIEWS):
            found = _find(self._view(number), [view(line) for line in pattern], start, last)
            if found is not None:
                return found
        return None

    def _view(self, number: int) -> list[str]:
        if number not in self._views:
            self._views[number] = [_VIEWS[number](line) for line in self.lines]
        return self._views[number]

    def replaced(self, replacements: Sequence[Replacement]) -> str:
        """Return the text with `replacements` made, which do not overlap and are sorted by their first line.

        Lines that stay keep their bytes; the last line always gets an ending.
        """
        ending = next((ending for ending in self.endings if ending), "\n")
        parts: list[str] = []
        position = 0

        def keep(index: int) -> None:
            parts.append(self.lines[index] + (self.endings[index] or ending))

        for first, count, new in replacements:
            for index in range(position, first):
                keep(index)
            parts.extend(line + ending for line in new)
            position = first + count
        for index in range(position, len(self.lines)):
            keep(index)
        return "".join(parts)


def _find(lines: list[str], pattern: list[str], start: int, last: int) -> int | None:
    head, size = pattern[0], len(pattern)
    while start <= last:
        try:
            start = lines.index(head, start, last + 1)
        except ValueError:
            return None
        if lines[start : start + size] == pattern:
            return start
        start += 1
    return None
