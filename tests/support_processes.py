"""What a test sees of the processes of its machine."""

import asyncio
import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process is there and not only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def worked_seconds() -> float:
    """Give the processor's time that this process and its ended children have had.

    What is said of how long something takes is measured so: on a busy machine the time on the wall is others' too.
    """
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def wait_for_end(*pids: int, seconds: float = 30) -> None:
    """Wait until processes are gone: a killed one dies when it is next given a processor, not with the call.

    Raises:
        TimeoutError: one of them lives on.
    """
    async with asyncio.timeout(seconds):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.01)
