"""The head of a Markdown file: a few keys between two lines of dashes, in the part of YAML that people write there.

Texts plain, quoted, folded (`>`) and literal (`|`), over several lines or one; tables by indentation; comments. A plain
text may hold a colon, which YAML refuses and people write all the same. No anchors, tags or lists: a value that is one
of these is None, so that who needs it can say so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "str | dict[str, Value] | None"

_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s"'#\[\]{},&*!|>%@`:-][^:]*?)\s*:(?:[ \t]+(?P<rest>.*))?$""")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_FLOW_PAIR = re.compile(r"""["']?([\w-]+)["']?\s*:\s*["']?([^,{}\[\]"']*)["']?""")
_NULLS = ("", "~", "null", "Null", "NULL")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "_": "\xa0", "N": "\x85"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")


@dataclass(frozen=True, slots=True)
class BadFrontMatter:
    """Why a head cannot be read."""

    message: str


def split_front_matter(text: str) -> str | None:
    """Return what stands between the first line `---` and the next one; None when there is no such head."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return None
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:number])
    return None


def parse_table(text: str) -> dict[str, Value] | BadFrontMatter:
    """Read keys and values."""
    return _table(text.replace("\r\n", "\n").split("\n"))


def _table(lines: Sequence[str]) -> dict[str, Value] | BadFrontMatter:
    table: dict[str, Value] = {}
    position = 0
    while position < len(lines):
        line = lines[position]
        if not line.strip() or line.lstrip().startswith("#"):
            position += 1
            continue
        match = _KEY.match(line)
        if match is None:
            return BadFrontMatter(f"line {position + 1} is no `key: value`")
        key = match["key"].strip("\"'")
        if key in table:
            return BadFrontMatter(f"`{key}` is given twice")
        end = position + 1
        while end < len(lines) and (not lines[end].strip() or lines[end][0] in " \t"):
            end += 1
        value = _value((match["rest"] or "").strip(), lines[position + 1 : end])
        if isinstance(value, BadFrontMatter):
            return value
        table[key] = value
        position = end
    return table


def _value(first: str, more: Sequence[str]) -> "Value | BadFrontMatter":
    if first[:1] in ("|", ">"):
        return _block(folded=first[0] == ">", lines=more)
    if first[:1] in ('"', "'"):
        return _quoted(" ".join([first, *(line.strip() for line in more)]))
    if first[:1] == "{":
        return {key: value.strip() for key, value in _FLOW_PAIR.findall(first)}
    if first[:1] in ("[", "&", "*", "!") or (not first and any(line.lstrip().startswith("- ") for line in more)):
        return None
    if not _COMMENT.sub("", first).strip():
        body = [line for line in more if line.strip() and not line.lstrip().startswith("#")]
        if body and _KEY.match(body[0].strip()):
            margin = min(len(line) - len(line.lstrip()) for line in body)
            return _table([line[margin:] for line in body])
    plain = " ".join(part for part in (_COMMENT.sub("", line).strip() for line in (first, *more)) if part)
    return None if plain in _NULLS else plain


def _block(lines: Sequence[str], *, folded: bool) -> str:
    filled = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    text = "\n".join(line[margin:].rstrip() for line in lines).strip("\n")
    if folded:
        text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    return text


def _quoted(text: str) -> str | BadFrontMatter:
    quote = text[0]
    pattern = r'"((?:[^"\\]|\\.)*)"' if quote == '"' else r"'((?:[^']|'')*)'"
    match = re.match(pattern, text)
    if match is None:
        return BadFrontMatter(f"a text that begins with {quote} does not end")
    if quote == "'":
        return match[1].replace("''", "'")
    return _ESCAPE.sub(_unescaped, match[1])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        # half a surrogate pair, or beyond Unicode, is not a character
        return chr(number) if number < 0xD800 or 0xE000 <= number < 0x110000 else "\ufffd"
    return _ESCAPES.get(code, code)
