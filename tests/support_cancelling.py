"""Stops work at every step of the loop that it takes, one after the other, and sees that it stops."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
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


async def stop_at_each_wait(
    begin: Callable[[], Coroutine[Any, Any, Any]], check: Callable[[str], Awaitable[None]], *, twice: bool = False
) -> object:
    """Do the same for work that waits for other programs: stop it at its first wait, then at its second, and so on."""
    waits = 0
    while True:
        waits += 1
        work = await _stopped_at({waits, waits + 1} if twice else {waits}, begin())
        where = f"stopped at wait {waits}"
        if not work.cancelled() and not work.cancelling():
            return work.result()
        assert work.cancelled(), f"{where} it ended with {work.exception() or work.result()!r}"
        await check(where)


async def _stopped_at(waits: set[int], work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    def arrived(number: int) -> None:
        if number in waits:
            asyncio.get_running_loop().call_soon(task.cancel)

    task = asyncio.create_task(_counted(work, arrived))
    await asyncio.wait([task])
    return task


@types.coroutine
def _counted(work: Coroutine[Any, Any, Any], arrived: Callable[[int], None]) -> Generator[Any, None, Any]:
    """Do the work; say before each of its waits which it is."""
    number = 0
    error: BaseException | None = None
    while True:
        try:
            waited_for = work.send(None) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value
        number += 1
        arrived(number)
        error = None
        try:
            yield waited_for
        except BaseException as thrown:  # noqa: BLE001 - handed on to the work
            error = thrown
