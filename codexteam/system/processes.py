"""Ends a process that asyncio started."""

import asyncio
import os
import signal
from contextlib import suppress


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process that may just have ended, and leave its exit status to asyncio.

    `Process.kill` looks whether it has ended and takes the status away: asyncio then warns of an unknown child process,
    and reports 255.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
