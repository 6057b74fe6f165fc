"""Stops work at every step of the loop that it takes, one after the other, and sees that it stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def stop_at_each_step(
    begin: Callable[[], Awaitable[Any]], check: Callable[[str], Awaitable[None]], *, twice: bool = False
) -> object:
    """Begin the work again and again, stopped a step later each time, until it ends before it is; give its end.

    Args:
        begin: makes the world anew and gives the work.
        check: looks at what is left once the work has ended; gets words that say where it was stopped.
        twice: stop it again a little later, as a time limit and a signal do.

    Raises:
        AssertionError: work that was told to stop did not.
    """
    steps = 0
    while True:
        work = asyncio.ensure_future(begin())
        for _ in range(steps):
            await asyncio.sleep(0)
        if not work.cancel():
            return await work
        if twice:
            for _ in range(3):
                await asyncio.sleep(0)
            work.cancel()
        await asyncio.wait([work])
        where = f"stopped after {steps} steps"
        assert work.cancelled(), f"{where} it ended with {work.exception() or work.result()!r}"
        await check(where)
        steps += 1
