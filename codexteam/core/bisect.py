"""Which of a row of merges turned a check red."""

from collections.abc import Awaitable, Callable


async def first_red(count: int, is_red: Callable[[int], Awaitable[bool]]) -> int | None:
    """Give the first place, 0 to count - 1, at which the check is red; None when the last is not.

    Assumes that what is red stays red, as after the merge that broke it. Asks about log2(count) + 1 places.
    """
    if count < 1 or not await is_red(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if await is_red(middle):
            high = middle
        else:
            low = middle + 1
    return low
