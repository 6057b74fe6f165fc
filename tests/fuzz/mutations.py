"""Texts and bytes that were right once, and then had things done to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: where, what, with what."""

    way: str
    at: int
    """Counted in lines, characters or bytes, round and round."""
    length: int
    token: str


_LINE_WAYS = ["drop", "double", "swap", "put", "replace", "indent", "dedent", "cut"]
_CHARACTER_WAYS = ["insert", "delete", "flip"]
_ODD = [
    "\0",
    "\ufeff",
    "\u2028",
    "\r",
    "\r\n",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "\x85",
    "é",
    "中",
    "`",
    "\t",
    "\\",
    '"',
    "'",
]


def mutated(texts: Sequence[str], tokens: Sequence[str], *, surrogates: bool = False) -> st.SearchStrategy[str]:
    """Give texts with up to eight edits each; a token is put in whole."""
    odd = [odd for odd in _ODD if surrogates or not odd.startswith("\ud800")]
    token = st.sampled_from([*tokens, *odd]) | st.text(
        st.characters(exclude_categories=[] if surrogates else ["Cs"]), max_size=12
    )
    edit = st.builds(
        Edit,
        way=st.sampled_from([*_LINE_WAYS, *_CHARACTER_WAYS]),
        at=st.integers(0, 4000),
        length=st.integers(0, 12),
        token=token,
    )
    return st.builds(_edited, st.sampled_from(list(texts)), st.lists(edit, max_size=8))


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for edit in edits:
        text = _by_line(text, edit) if edit.way in _LINE_WAYS else _by_character(text, edit)
    return text


def _by_line(text: str, edit: Edit) -> str:  # one arm a way
    lines = text.split("\n")
    at = edit.at % len(lines)
    line = lines[at]
    match edit.way:
        case "drop":
            del lines[at]
        case "double":
            lines.insert(at, line)
        case "swap":
            other = (at + 1 + edit.length) % len(lines)
            lines[at], lines[other] = lines[other], line
        case "put":
            lines.insert(at, edit.token)
        case "replace":
            lines[at] = edit.token
        case "indent":
            lines[at] = " " * edit.length + line
        case "dedent":
            lines[at] = line[edit.length :]
        case _:
            lines = lines[:at]
    return "\n".join(lines)


def _by_character(text: str, edit: Edit) -> str:
    at = edit.at % (len(text) + 1)
    match edit.way:
        case "insert":
            return text[:at] + edit.token + text[at:]
        case "delete":
            return text[:at] + text[at + edit.length :]
        case _:
            return text[:at] + edit.token + text[at + len(edit.token) :]


@dataclass(frozen=True, slots=True)
class ByteEdit:
    """One change of bytes."""

    way: str
    at: int
    value: int
    length: int


def byte_edits() -> st.SearchStrategy[list[ByteEdit]]:
    """Give edits for `edited_bytes`."""
    ways = st.sampled_from(["flip", "set", "cut", "drop", "insert", "repeat"])
    edit = st.builds(
        ByteEdit, way=ways, at=st.integers(0, 1 << 20), value=st.integers(0, 255), length=st.integers(1, 64)
    )
    return st.lists(edit, min_size=1, max_size=6)


def edited_bytes(data: bytes, edits: Sequence[ByteEdit]) -> bytes:
    """Give bytes with edits made."""
    out = bytearray(data)
    for edit in edits:
        if not out:
            break
        at = edit.at % len(out)
        match edit.way:
            case "flip":
                out[at] ^= 1 << (edit.value % 8)
            case "set":
                out[at] = edit.value
            case "cut":
                del out[at:]
            case "drop":
                del out[at : at + edit.length]
            case "insert":
                out[at:at] = bytes([edit.value]) * edit.length
            case _:
                out[at:at] = out[at : at + edit.length]
    return bytes(out)
