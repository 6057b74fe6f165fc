"""Lines and columns for a terminal of any width: words and paths are kept whole, and no column is squeezed to dots."""

import re
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

#: Words with the spaces before them.
_WORD = re.compile(" *[^ ]+")
#: Stands for a space at which no line is broken; it is printed as one that can be searched for.
GLUE = "\u00a0"
_GAP = 2


def wrapped(text: Text, width: int, indent: int) -> Text:
    """Break a line at spaces; what follows stays right of `indent` columns.

    A word that is longer than a line is not cut: it may be a path or a command, which is there to be copied.
    """
    plain = text.plain
    cuts: list[tuple[int, int]] = []
    start = end = used = 0
    for word in _WORD.finditer(plain):
        size, bare = cell_len(word.group()), word.group().lstrip(" ")
        # one that is too long for any line begins where it stands: below there would be no more room for it
        if used + size > width and plain[start:end].strip() and indent + cell_len(bare) <= width:
            cuts.append((start, end))
            start = word.end() - len(bare)
            used, size = indent, cell_len(bare)
        end = word.end()
        used += size
    cuts.append((start, end))
    return unglued(Text("\n" + " " * indent).join(text[first:last] for first, last in cuts))


def unglued(text: Text) -> Text:
    """Return the text with ordinary spaces."""
    text.plain = text.plain.replace(GLUE, " ")
    return text


def print_wrapped(console: Console, text: Text, indent: int = 8) -> None:
    """Print a line: wrapped on a terminal, in one piece in a pipe or a file."""
    shown = wrapped(text, console.width, indent) if console.is_terminal else unglued(text)
    console.print(shown, soft_wrap=True)


def columns(rows: Sequence[Sequence[Text]], right: Collection[int]) -> list[Text]:
    """Lay cells out below each other, those of the columns in `right` at the right; no line ends with spaces."""
    widths = [max(map(_size, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        line = Text()
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            fill = " " * (width - _size(cell))
            line.append(fill if number in right else "")
            line.append_text(cell)
            line.append("" if number in right else fill)
            line.append(" " * _GAP)
        line.rstrip()
        lines.append(line)
    return lines


def _size(cell: Text) -> int:
    return cell_len(cell.plain)


def width_of(lines: Sequence[Text]) -> int:
    """Return the width of the widest line."""
    return max(map(_size, lines), default=0)
