"""What an edit of plan.md almost says: a line that was meant as a task, or as a field of one, but reads as words.

Such a line is refused: as words it would leave out a task, a dependency or a check, and nobody would see it.
"""

import re

#: The fields of a task.
KEYS = ("after", "paths", "accept", "fixes")

# what people and editors begin a list's items with: the dashes and dots of word processors too
_BULLET = r"(?:[-*+\u2022\u2023\u00b7\u2010-\u2015\u2212]|[0-9]+[.)])"
_BOX = r"\[[^\]]{0,3}\]"
_KEY = r"[*_`]{0,3}(?P<key>after|paths|accept|fixes)[*_`]{0,3}"
_LISTED_FIELD = re.compile(
    rf"\s*{_BULLET}\s*(?:{_BOX}\s*)?{_KEY}(?:\s*[:=\uff1a]|(?:\s+[TF][0-9]+,?)+\s*$)", re.IGNORECASE
)
_BARE_FIELD = re.compile(rf"\s*{_KEY}\s*[:\uff1a](?P<value>.*)", re.IGNORECASE)
_IDS = {
    key: re.compile(rf"[\s*_`]*{letter}[0-9]+\b", re.IGNORECASE) for key, letter in (("after", "T"), ("fixes", "F"))
}
_TASK = re.compile(
    rf"\s*(?:(?:{_BULLET}\s*)?{_BOX}\s*[*_`]{{0,3}}T[0-9]+\b|{_BULLET}\s*(?:\*\*|__)T[0-9]+\b)", re.IGNORECASE
)
_LISTED_BOX = re.compile(rf"- \[|\* \[|{_BULLET}\s*\[.?\](?!\()")


def near_field(line: str) -> str:
    """Give the key of the field that a line was meant as; empty where it is words."""
    if listed := _LISTED_FIELD.match(line):
        return listed["key"].lower()
    # without a list's mark the word alone says little: "After: the import is faster"
    bare = _BARE_FIELD.match(line)
    if bare is None:
        return ""
    key = bare["key"].lower()
    meant = _IDS[key].match(bare["value"]) if key in _IDS else "`" in bare["value"]
    return key if meant else ""


def near_task(line: str) -> bool:
    """Say whether a line was meant as a task's first: it has the box or the mark of a list, and the id."""
    return _TASK.match(line) is not None


def near_box(line: str) -> bool:
    """Say whether a line is an item with a box, as tasks are; such items are no free text between tasks."""
    return _LISTED_BOX.match(line) is not None
