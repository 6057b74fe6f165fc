"""The rules of `.gitignore`, as far as they can be told without git: whoever asks for more is sent to git itself."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    #: What it matches, whether only folders, whether it takes back, and whether it is about the name alone.
    Rule = tuple["re.Pattern[bytes]", bool, bool, bool]

#: A class of characters that means the same to git and to `re`.
_SIMPLE_CLASS = re.compile(rb"\[[A-Za-z0-9_.]+(?:-[A-Za-z0-9])?[A-Za-z0-9_.]*\]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class GitNeeded(Exception):
    """Only git can decide this."""


class IgnoreRules:
    """The rules of one file."""

    def __init__(self, text: bytes) -> None:
        self.rules: list[Rule] = []
        start = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
        if b"\0" in text:
            raise GitNeeded
        for line in text[start:].split(b"\n"):
            rule = _rule(line[:-1] if line.endswith(b"\r") else line)
            if rule is not None:
                self.rules.append(rule)
        self.rules.reverse()

    def says(self, path: bytes, name: bytes, *, folder: bool) -> bool | None:
        """Whether a path, as seen from the file's own folder, is ignored; None when no rule is about it."""
        for pattern, only_folders, takes_back, by_name in self.rules:
            if only_folders and not folder:
                continue
            if pattern.match(name if by_name else path):
                return not takes_back
        return None


def is_ignored(rules: Iterable[tuple[bytes, IgnoreRules]], path: bytes, *, folder: bool) -> bool:
    """Whether rules ignore a path none of whose folders they ignore.

    Args:
        rules: the folder of each file of rules (empty, or ending with a slash), the one that counts most first.
        path: relative to the workspace.
        folder: whether it is one.
    """
    name = path[path.rfind(b"/") + 1 :]
    for start, each in rules:
        said = each.says(path[len(start) :], name, folder=folder)
        if said is not None:
            return said
    return False


def _rule(line: bytes) -> Rule | None:
    if line.startswith(b"#"):
        return None
    line = _without_trailing_spaces(line)
    takes_back = line.startswith(b"!")
    if takes_back:
        line = line[1:]
    only_folders = line.endswith(b"/")
    if only_folders:
        line = line[:-1]
    if not line:
        return None
    by_name = b"/" not in line
    if line.startswith(b"/"):
        line = line[1:]
    if not line or line.endswith(b"/") or b"//" in line:
        raise GitNeeded
    return re.compile(_translated(line, by_name=by_name) + rb"\Z", re.DOTALL), only_folders, takes_back, by_name


def _without_trailing_spaces(line: bytes) -> bytes:
    if not line.endswith(b" "):
        return line
    if b"\\" in line:
        raise GitNeeded
    return line.rstrip(b" ")


def _translated(pattern: bytes, *, by_name: bool) -> bytes:
    """Return the pattern for `re` that matches what git's pattern does."""
    found = b""
    parts = pattern.split(b"/")
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == b"**" and not by_name:
            found += b".*" if last else b"(?:.*/)?"
            continue
        if b"**" in part:
            raise GitNeeded
        found += _translated_part(part) + (b"" if last else b"/")
    return found


def _translated_part(part: bytes) -> bytes:
    found = b""
    at = 0
    while at < len(part):
        one = part[at : at + 1]
        if one == b"*":
            found += b"[^/]*"
        elif one == b"?":
            found += b"[^/]"
        elif one == b"\\":
            at += 1
            if at == len(part):
                raise GitNeeded
            found += re.escape(part[at : at + 1])
        elif one == b"[":
            simple = _SIMPLE_CLASS.match(part, at)
            if simple is None:
                raise GitNeeded
            found += simple.group()
            at = simple.end() - 1
        else:
            found += re.escape(one)
        at += 1
    return found
