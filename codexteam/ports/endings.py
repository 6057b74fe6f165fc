"""How work that has begun comes to its end, and a cancellation that comes meanwhile is neither lost nor cuts it short."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_LOG = logging.getLogger(__name__)


async def to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do what must not be left half done, such as removing a sandbox; a cancellation counts once it is done.

    What goes wrong in work whose owner was cancelled is a note in the log.
    """
    task = asyncio.ensure_future(work)
    await wait_out(task)
    return task.result()


async def stopped(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait until it has ended; what went wrong in it is a note in the log."""
    task.cancel()
    await wait_out(task)
    _note_failure(task)


async def wait_out(task: "asyncio.Future[Any]") -> None:
    """Wait until a task is done, and leave it alone. Cancelled meanwhile, go on waiting and be cancelled then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        _note_failure(task)
        raise cancelled


async def together(*works: Coroutine[Any, Any, _Result]) -> list[_Result]:
    """Do several things at once. The first error stops the others, and is raised when they have ended."""
    if not works:
        return []
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        # not `gather`, which forgets that it was cancelled where an error comes in the same moment
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await wait_out(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if task in done:  # what the others ended with is of no interest where one of these failed
            task.result()
    return [task.result() for task in tasks]


def _note_failure(task: "asyncio.Future[Any]") -> None:
    # also so that asyncio does not tell of it on the terminal
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.info("ended with %s: %s", type(error).__name__, error)
