"""Comments in plan.md, and the one that shows how a task of one's own is written, with the next free id."""

import re
from collections.abc import Iterable, Sequence

from codexteam.errors import PlanError

_COMMENT = "<!--"
_HEAD = "<!-- A task of your own: "
_TITLE = "Title of the task"
_TASK = re.compile(r"\s*- \[.?\]\s*\*\*(?P<id>T[0-9]+)\*\*\s*(?P<title>.*)")
_ID = re.compile(r"\*\*T([0-9]{1,9})\*\*")


def opens_comment(line: str) -> bool:
    """Return whether a comment begins with this line; one that is indented belongs to a task's words."""
    return line.startswith(_COMMENT)


def comment_end(lines: Sequence[str], at: int) -> int:
    """Return the index after the last line of the comment that begins at `lines[at]`; nothing in it is read.

    Raises:
        PlanError: it has no end, or a task was written into the template instead of below it.
    """
    end = at
    while end < len(lines) and "-->" not in lines[end]:
        end += 1
    if end == len(lines):
        hint = "all that follows would be a part of it: close it with `-->`"
        raise PlanError(f"plan.md:{at + 1}: this comment is never closed", hint=hint)
    if lines[at].startswith(_HEAD):
        _refuse_task(lines, at, end)
    return end + 1


def _refuse_task(lines: Sequence[str], at: int, end: int) -> None:
    for number in range(at + 1, end + 1):
        found = _TASK.match(lines[number])
        if found and not found["title"].startswith(_TITLE):
            raise PlanError(
                f"plan.md:{number + 1}: {found['id']} is inside the comment that shows how a task is written",
                hint="move it out of the comment: above the line that begins with `<!--`, or below the one with `-->`",
            )


def template(next_number: int) -> tuple[str, ...]:
    """Return the comment: a task with every key, ready to be copied, and what each key means."""
    return (
        f"{_HEAD}copy these lines out of this comment and change them; T{next_number} is the next free id.",
        f"- [ ] **T{next_number}** {_TITLE} `implementer` (effort 1)",
        "  What is to be done and why, in any number of lines. All but the first line may be left out.",
        f"  - after: T{max(1, next_number - 1)}",
        "  - paths: `src/one.py`, `tests/`",
        "  - accept: what must hold in the end: `a command that exits with 0`",
        "  - tests: required",
        "  - fixes: F1",
        "  - budget: 25%",
        "  - priority: 1",
        "  - model: gpt-5.4",
        "  - reasoning: high",
        "  - risk: high",
        "after: what must be merged before; paths: globs of what it may write; accept: one line each, the command last;",
        "tests: required (one that fails without its code), existing, none; fixes: findings; budget: 25% of the limits, 2usd,",
        "400k, 300credits; priority: higher ones start first; model, reasoning: in place of its role's; risk: high begins with",
        "what escalation is for. The role stands in backticks, the effort is 1 to 5. [ ] is to do, [-] is dropped.",
        "-->",
    )


def next_number(ids: Iterable[str], lines: Iterable[str] = ()) -> int:
    """Return the next free number; ids that stand in a user's own lines, as of a task behind a comment, are not free."""
    taken = [int(name[1:]) for name in ids if name[1:].isdecimal() and len(name) < 10]
    own = without_template(lines)
    return 1 + max([*taken, *(int(found[1]) for line in own for found in _ID.finditer(line))], default=0)


def without_template(lines: Iterable[str]) -> list[str]:
    """Return lines without the template's."""
    kept: list[str] = []
    inside = False
    for line in lines:
        inside = inside or line.startswith(_HEAD)
        if not inside:
            kept.append(line)
        elif "-->" in line:
            inside = False
    return kept


def has_template(lines: Sequence[str]) -> bool:
    """Return whether the template stands among these lines."""
    return any(line.startswith(_HEAD) for line in lines)


def with_next_number(lines: Sequence[str], number: int) -> tuple[str, ...]:
    """Return lines with the template for this number in the place of the one among them."""
    start = next((at for at, line in enumerate(lines) if line.startswith(_HEAD)), None)
    if start is None:
        return tuple(lines)
    end = next((at for at in range(start, len(lines)) if "-->" in lines[at]), len(lines) - 1)
    return (*lines[:start], *template(number), *lines[end + 1 :])
