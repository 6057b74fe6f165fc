"""What a test sees of the processes of its machine."""

import asyncio
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process is there and not only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_for_end(*pids: int, seconds: float = 10) -> None:
    """Wait until processes are gone: a killed one dies when it is next given a processor, not with the call.

    Raises:
        TimeoutError: one of them lives on.
    """
    async with asyncio.timeout(seconds):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.01)
