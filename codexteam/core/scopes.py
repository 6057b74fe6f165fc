"""Write scopes: whether two tasks could write the same path, judged by their globs alone."""

from collections.abc import Sequence
from functools import lru_cache


def scopes_overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether some path matches a glob of each; when in doubt, yes.

    A glob that names a folder takes in what is below it. An empty scope holds no glob: nothing matches it.
    """
    return any(_meet(a, b) for a in one for b in other)


def may_clash(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two tasks could write the same path; one that names no paths could write any."""
    return not one or not other or scopes_overlap(one, other)


def _meet(one: str, other: str) -> bool:
    if _is_literal(one) and _is_literal(other):  # the common case, and many times cheaper
        a, b = _folded(one), _folded(other)
        return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")
    return _overlap(one, other) if one <= other else _overlap(other, one)


@lru_cache(maxsize=65_536)
def _is_literal(glob: str) -> bool:
    return not any(char in glob for char in "*?[")


@lru_cache(maxsize=65_536)
def _folded(path: str) -> str:
    return "/".join(part for part in path.casefold().split("/") if part not in {"", "."})


@lru_cache(maxsize=65_536)
def _overlap(one: str, other: str) -> bool:
    return _segments_meet(_segments(one), _segments(other))


def _segments(glob: str) -> tuple[str, ...]:
    # compared case-folded: on some file systems A.py and a.py are one file
    parts = tuple(part for part in glob.casefold().split("/") if part not in {"", "."})
    return parts if parts[-1:] == ("**",) else (*parts, "**")


def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return all(part == "**" for part in one + other)
    if one[0] == "**":
        return _segments_meet(one[1:], other) or _segments_meet(one, other[1:])
    if other[0] == "**":
        return _segments_meet(one, other[1:]) or _segments_meet(one[1:], other)
    return _parts_meet(one[0], other[0]) and _segments_meet(one[1:], other[1:])


@lru_cache(maxsize=65_536)
def _parts_meet(one: str, other: str) -> bool:
    """Return whether some name matches both; `[...]` counts as any character."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _parts_meet(one[1:], other) or _parts_meet(one, other[1:])
    if other[0] == "*":
        return _parts_meet(one, other[1:]) or _parts_meet(one[1:], other)
    first, one_rest = _take(one)
    second, other_rest = _take(other)
    return (first == second or "?" in {first, second}) and _parts_meet(one_rest, other_rest)


def _take(part: str) -> tuple[str, str]:
    """Take one character off a part; a class is any character."""
    if part[0] == "[" and "]" in part[2:]:
        return "?", part[part.index("]", 2) + 1 :]
    return part[0], part[1:]
