"""Lines of a screen: styled pieces of text, cut to columns, as a terminal takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

#: A piece of a line: its text, escaped and on one line, and its style, words of `_CODES` with blanks between.
Span = tuple[str, str]
Line = tuple[Span, ...]

_CODES = {
    "bold": "1",
    "dim": "2",
    "reverse": "7",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
_COLOURS = frozenset({"red", "green", "yellow", "cyan"})
EMPTY: Line = ()


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a terminal shows."""

    colours: bool = True
    attributes: bool = True
    """Bold, dim and reverse."""
    unicode: bool = True

    @property
    def more(self) -> str:
        """Stands for what is cut off."""
        return "…" if self.unicode else "~"


def line(*spans: Span | str) -> Line:
    """Return a line of pieces; a text alone has no style."""
    return tuple((span, "") if isinstance(span, str) else span for span in spans if span)


def styled(found: Line, style: str) -> Line:
    """Return a line with a style on top of that of its pieces."""
    return tuple((text, f"{own} {style}".strip()) for text, own in found)


def plain(found: Line) -> str:
    """Return a line's text."""
    return "".join(text for text, _ in found)


def width_of_line(found: Line) -> int:
    """Return how many columns a line takes."""
    return sum(cell_len(text) for text, _ in found)


def cut(found: Line, columns: int, more: str) -> Line:
    """Return a line that fits; where something is cut off, `more` says so."""
    if width_of_line(found) <= columns:
        return found
    left, kept = columns - cell_len(more), []
    for text, style in found:
        size = cell_len(text)
        if size > left:
            kept.append((set_cell_size(text, max(0, left)) + more, style))
            break
        kept.append((text, style))
        left -= size
    return tuple(kept)


def padded(text: str, columns: int, *, right: bool = False, more: str = "…") -> str:
    """Return a text that takes exactly so many columns."""
    size = cell_len(text)
    if size > columns:
        return set_cell_size(text, max(0, columns - 1)) + more if columns else ""
    fill = " " * (columns - size)
    return fill + text if right else text + fill


def sides(left: Line, right: Line, columns: int, more: str) -> Line:
    """Return a line whose right part ends at the edge; the left part is cut for it."""
    room = columns - width_of_line(right)
    shown = cut(left, max(0, room - 1), more)
    return (*shown, (" " * max(1, room - width_of_line(shown)), ""), *right)


def as_ansi(found: Line, able: Abilities) -> str:
    """Return a line as a terminal takes it."""
    parts = []
    for text, style in found:
        shown = text if able.unicode else text.encode("ascii", "replace").decode("ascii")
        words = style.split()
        codes = [_CODES[word] for word in words if able.colours or (able.attributes and word not in _COLOURS)]
        parts.append(f"\x1b[{';'.join(codes)}m{shown}\x1b[m" if codes else shown)
    return "".join(parts)


def broken(text: str, columns: int) -> list[str]:
    """Break a text into pieces of so many columns; what was indented stays readable, nothing is lost."""
    if len(text) <= columns and text.isascii():
        return [text]
    pieces, start, used = [], 0, 0
    for place, letter in enumerate(text):
        size = 1 if letter.isascii() else cell_len(letter)
        if used + size > columns and place > start:
            pieces.append(text[start:place])
            start, used = place, 0
        used += size
    return [*pieces, text[start:]]


def window(lines: Sequence[Line], first: int, height: int) -> list[Line]:
    """Return exactly `height` lines from a place on, empty ones after the last."""
    shown = list(lines[first : first + height])
    return shown + [EMPTY] * (height - len(shown))
