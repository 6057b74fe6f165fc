"""How large a task's change is, told apart by what it is: lines that say something new, and lines that are only laid out anew.

A plan says by `effort` how large a task is. A change far beyond that is harder to judge than it was meant to be, and often
holds what nobody asked for.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

from codexteam.core.codec import StoredForm, stored
from codexteam.core.file_kinds import Relevance, relevance
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.plan_graph import Task
from codexteam.core.text import clean_line, count_of

#: By effort, the changed lines and files that a task is taken to need, tests included.
EXPECTED: Final = {1: (100, 5), 2: (200, 8), 3: (400, 12), 4: (700, 20), 5: (1200, 30)}
#: How often that is far over.
FAR_OVER: Final = 3
#: Lines of noise from which on they are worth a word, and their share of the change.
_MOST_NOISE, _NOISE_SHARE = 30, 0.3
#: Beyond this, lines are compared as a set: finding which one became which takes too long.
_MOST_LINES: Final = 4_000
_LAYOUT = re.compile(r"\s+|[,;](?=\s*[)\]}]|\s*$)")
_COUNTED = frozenset({Relevance.CODE, Relevance.TEST})


@dataclass(frozen=True, slots=True)
class ChangedLines:
    """What a change did to one file."""

    added: tuple[int, ...] = ()
    """Numbers of the lines that say something new, from 1, in the file as it is now."""
    removed: int = 0
    noise: int = 0
    """Lines that differ from before in nothing but how they are laid out."""


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class WorkSize:
    """How large an attempt's change is; what is generated, data or prose is not counted."""

    lines: int = 0
    files: int = 0
    noise: int = 0
    noisy: tuple[str, ...] = field(default=())
    """Files of which most is noise."""


def changed_lines(before: str, after: str) -> ChangedLines:
    """Return which lines of a text say something that they did not before."""
    old, new = before.split("\n"), after.split("\n")
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    old, new = old[head : len(old) - tail], new[head : len(new) - tail]
    if _laid_out(old) == _laid_out(new):
        return ChangedLines(noise=max(len(old), len(new)))
    if len(old) + len(new) > _MOST_LINES:
        known, kept = {_laid_out([line]) for line in old}, {_laid_out([line]) for line in new}
        added = tuple(head + at for at, line in enumerate(new, 1) if _laid_out([line]) not in known)
        return ChangedLines(added, sum(_laid_out([line]) not in kept for line in old))
    fresh: list[int] = []
    removed = noise = 0
    for what, low, high, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        if _laid_out(old[low:high]) == _laid_out(new[start:end]):
            noise += max(high - low, end - start)
            continue
        gone, come = _told_apart(old[low:high], new[start:end])
        removed += gone
        fresh += (head + start + at for at in come)
        noise += end - start - len(come)
    return ChangedLines(tuple(fresh), removed, noise)


def _told_apart(old: Sequence[str], new: Sequence[str]) -> tuple[int, list[int]]:
    """Return how many lines of a changed block are gone, and which of it are new, from 1; empty ones are neither."""
    was, now = [_laid_out([line]) for line in old], [_laid_out([line]) for line in new]
    left = list(was)
    come = []
    for at, line in enumerate(now, 1):
        if line in left:
            left.remove(line)
        elif line:
            come.append(at)
    return sum(bool(line) for line in left), come


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _laid_out(lines: Iterable[str]) -> str:
    """Return what lines say, without blanks, trailing commas, and which quotes are used."""
    return _LAYOUT.sub("", "\n".join(lines)).replace("'", '"')


def size_of(changes: Iterable[tuple[str, str, str]]) -> WorkSize:
    """Return the size of a change: path, text before and text after of each file."""
    lines = files = noise = 0
    noisy = []
    for path, before, after in changes:
        if relevance(path, len(after), after[:2_000].encode()) not in _COUNTED:
            continue
        found = changed_lines(before, after)
        own = len(found.added) + found.removed
        lines += own
        noise += found.noise
        files += bool(own or found.noise)
        if found.noise > max(own, _MOST_NOISE // 3):
            noisy.append(path)
    return WorkSize(lines, files, noise, tuple(noisy[:20]))


def size_findings(task: Task, size: WorkSize) -> tuple[Finding, ...]:
    """Return what is to be said of a task's size, held against the plan's."""
    found = []
    lines, files = EXPECTED.get(task.effort, EXPECTED[5])
    if size.lines > FAR_OVER * lines or size.files > FAR_OVER * files:
        found.append(
            Finding(
                f"{task.id} changes far more than its effort of {task.effort} says",
                f"{count_of(size.lines, 'line')} in {count_of(size.files, 'file')} of code and tests, where about {lines} in "
                f"{files} were planned ({task.title}). Is all of it needed for the task?",
                Severity.SHOULD_FIX,
                Category.SCOPE,
                paths=task.paths,
            )
        )
    if size.noise >= _MOST_NOISE and size.noise > _NOISE_SHARE * (size.lines + size.noise):
        where = f": {', '.join(map(clean_line, size.noisy))}" if size.noisy else ""
        found.append(
            Finding(
                f"{task.id} lays out lines anew that it does not change",
                f"{count_of(size.noise, 'line')} differ in blanks, quotes or line ends alone, beside {size.lines} that say "
                f"something new{where}. They hide the change, and conflict with the work of others.",
                Severity.SHOULD_FIX,
                Category.STYLE,
                paths=size.noisy,
            )
        )
    return tuple(found)
