"""Foreign text made harmless: what models, tools and repositories say is data, and a terminal must not obey it."""

import re

#: What Unicode calls white space. `str.strip()` would also take U+001C to U+001F, which Codex keeps.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" + (
    "\u2028\u2029\u202f\u205f\u3000"
)


# What a terminal, or a reader's eye, could be led astray by:
#   C0 without tab and newline, DEL, C1; soft hyphen and Arabic letter mark; zero-width and bidirectional controls;
#   line and paragraph separators; invisible operators and bidirectional isolates; byte order mark; interlinear
#   annotation; lone surrogates (what a non-UTF-8 byte becomes); invisible tag characters.
_HARMFUL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_TEXT = re.compile(f"[{_HARMFUL}]")
_IN_LINE = re.compile(f"[{_HARMFUL}\t\n]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def clean(text: str) -> str:
    r"""Return the text with every control that a terminal or reader could obey as a visible escape, such as `\x1b`.

    Newlines and tabs stay. What is escaped cannot be distinguished from the same escape in the original: this is for
    reading, not for getting the text back.
    """
    return _IN_TEXT.sub(_escape, text)


def clean_line(text: str) -> str:
    r"""Return the text on one line: as `clean`, and newlines and tabs become `\n` and `\t`."""
    return _IN_LINE.sub(_escape, text)


def count_of(count: int, thing: str) -> str:
    """Return a number of things, whose plural ends in s: `1 task`, `2 tasks`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as the file system's surrogateescape carries it
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
