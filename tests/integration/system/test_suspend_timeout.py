"""A time limit counts the time in which the process ran, not the time in which it was stopped."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codexteam.system.cancellation import awake_timeout

_WAITER = """
import asyncio, sys
from codexteam.system.cancellation import awake_timeout

async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    try:
        async with awake_timeout(float(sys.argv[1])):
            print((await reader.readline()).decode().strip(), flush=True)
    except TimeoutError:
        print("timed out", flush=True)

asyncio.run(main())
"""


async def test_what_ends_in_time_gives_its_result_and_what_does_not_is_ended() -> None:
    async with awake_timeout(30.0):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with awake_timeout(0.01):
            await asyncio.Event().wait()
    async with awake_timeout(float("inf")):
        await asyncio.sleep(0)


async def test_a_cancelled_wait_is_cancelled_and_no_time_limit() -> None:
    async def wait() -> None:
        async with awake_timeout(30.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.slow
@pytest.mark.parametrize("answered", [True, False])
def test_a_suspended_process_takes_the_answer_that_came_meanwhile(*, answered: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WAITER, "3"],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(6.0)
        if answered:
            process.stdin.write("the answer\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == ("the answer\n" if answered else "timed out\n")
