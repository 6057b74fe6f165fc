"""Finds the first of a line of commits that made something red."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

CommitT = TypeVar("CommitT")


async def first_red(commits: Sequence[CommitT], is_red: Callable[[CommitT], Awaitable[bool]]) -> CommitT | None:
    """Give the first red commit of a line whose last one is known to be red; None when there is none.

    Asks about log2(n) of them, never about the last. Where red and green alternate, it gives a red commit that
    follows a green one or the line's beginning.

    Args:
        commits: oldest first; what stands before the first is known to be green.
        is_red: judges one commit; asked one at a time, and about no commit twice.
    """
    if not commits:
        return None
    low, high = 0, len(commits) - 1  # commits[high] is red, what stands before commits[low] is green
    while low < high:
        middle = (low + high) // 2
        if await is_red(commits[middle]):
            high = middle
        else:
            low = middle + 1
    return commits[high]
