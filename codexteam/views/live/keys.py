"""Keys as a terminal sends them: bytes become names, such as `up`, `enter`, or a letter."""

import re
from dataclasses import dataclass

_ESCAPE = "\x1b"
#: What terminals send for keys that are no letters, after the escape.
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "[5~": "page up",
    "[6~": "page down",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
    "[7~": "home",
    "[8~": "end",
    "[3~": "delete",
}
_CONTROLS = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x15": "clear"}
#: Longer than any sequence of a key: what is not known by then is dropped.
_LONGEST = 12


@dataclass(slots=True)
class KeyParser:
    """Reads keys from bytes as they come: a key may come in two pieces over a slow line."""

    _left: bytes = b""

    @property
    def is_waiting(self) -> bool:
        """Return whether what came may be the beginning of a key."""
        return bool(self._left)

    def feed(self, data: bytes, *, complete: bool = False) -> list[str]:
        """Return the keys that have come whole; with `complete` nothing follows, and an escape is the key itself."""
        data = self._left + data
        self._left = b"" if complete else _unfinished(data)
        text = data[: len(data) - len(self._left)].decode("utf-8", "ignore")
        keys, place = [], 0
        while place < len(text):
            key, size = _key(text[place:])
            place += size
            if key:
                keys.append(key)
        return keys


_BEGUN = re.compile(rb"\x1b([\[O][0-9;]*)?\Z")


def _unfinished(data: bytes) -> bytes:
    """Return the bytes at the end of a letter, or of a key, that has not come whole."""
    begun = _BEGUN.search(data)
    if begun is not None and len(begun.group()) < _LONGEST:
        return begun.group()
    for size in (1, 2, 3):
        if len(data) >= size and data[-size] >= 0xC0:
            wanted = 2 if data[-size] < 0xE0 else 3 if data[-size] < 0xF0 else 4
            return data[-size:] if size < wanted else b""
    return b""


def _key(text: str) -> tuple[str, int]:
    """Return the first key of a text and its length; an empty name for any other key."""
    first = text[0]
    if first == _ESCAPE:
        for size in range(2, min(len(text), _LONGEST) + 1):
            sequence = text[1:size]
            if sequence in _SEQUENCES:
                return _SEQUENCES[sequence], size
            if sequence[0] in "[O" and len(sequence) > 1 and (sequence[-1].isalpha() or sequence[-1] == "~"):
                return "", size
        # a paste, or Alt and a letter, is no sequence: the escape alone is the key
        return "escape", 1
    if first in _CONTROLS:
        return _CONTROLS[first], 1
    return (first, 1) if first.isprintable() else ("", 1)
