"""A shell on a terminal of its own, into which tests type."""

import os
import pty
import select
import time
from pathlib import Path


class Terminal:
    """An interactive shell, for only one stops and continues its jobs."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PS1": "$ ", "TERM": "xterm"}
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noediting", "-i"], environment)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def until(self, wanted: bytes, *, seconds: float = 20.0) -> bytes:
        """Read until something shows; return all that came since the last time, up to it."""
        end = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{wanted!r} did not show: {self.seen[-500:]!r}"
            self.seen += os.read(self.descriptor, 65_536)
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted

    def close(self) -> None:
        self.type("\x03kill %1; exit\n")
        os.close(self.descriptor)
        os.waitpid(self.pid, 0)
