"""Which process this is: what tells it from every other that ever had its pid on this machine."""

import os
import socket
from contextlib import suppress
from pathlib import Path

#: Where in /proc/PID/stat, behind the name in brackets, the start time stands; proc(5) counts it as field 22.
_START_TIME = 19


def process_mark(pid: int) -> str:
    """Give the machine's boot and the process's start in it; empty when there is no such process, or no /proc."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # the name may hold blanks and brackets
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return f"{boot}:{after_name.split()[_START_TIME]}"
    return ""


def this_process() -> tuple[str, int, str]:
    """Give the host's name, the pid and the mark of this process."""
    return socket.gethostname(), os.getpid(), process_mark(os.getpid())
