"""Keeps an eye on a sandbox's memory where no control group can: it looks once a second and kills the largest."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PERIOD_SECONDS = 1.0


async def watch_memory(pid: int, limit_bytes: int) -> None:
    """Kill the largest process below `pid` whenever all together hold more than the limit; until cancelled."""
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        held = resident_bytes(pid)
        if sum(held.values()) > limit_bytes:
            # the first two are bubblewrap and the server: without them nothing could be told
            commands = {process: size for process, size in held.items() if process not in list(held)[:2]}
            if commands:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(max(commands, key=lambda process: commands[process]), signal.SIGKILL)


def resident_bytes(pid: int) -> dict[int, int]:
    """Give the resident memory of a process and of each that descends from it, parents first."""
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        process = waiting.pop(0)
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
            tasks = list(Path(f"/proc/{process}/task").iterdir())
            children = [int(word) for task in tasks for word in (task / "children").read_text("ascii").split()]
        except (OSError, IndexError):
            continue  # it ended meanwhile
        found[process] = pages * _PAGE_BYTES
        waiting += children
    return found
