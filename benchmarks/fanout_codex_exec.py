"""The fan-out script through as many `codex exec` as there are agents, started at once, each a process of its own.

What is measured begins when the first is started, since that each starts anew is part of this way of working, and ends
with the last answer to the last of them, as the model server sees it. Processor time is that of the `codex` processes
until they end (commands are processes of their own and not counted), memory the peak of each.
"""

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fanout_codex import exec_call, settings_of, taken
from benchmarks.fanout_load import Load, Measured
from codexteam.core.budget_amounts import Usage
from tests.scripted_api import Call, Played, Reply, message
from tests.scripted_api.server import serve_in_thread


def measure(binary: str, load: Load) -> Measured:
    """Run the script through so many processes of this native `codex` binary.

    Raises:
        SystemExit: not all of them did it.
    """
    script = _Script(load)
    # it refuses to make its home below the temporary folder
    with (
        serve_in_thread(script.play) as api,
        tempfile.TemporaryDirectory(dir=Path.home(), prefix=".codexteam-bench-") as name,
    ):
        argv = [binary, "exec", "--skip-git-repo-check", "-m", "bench-model", *settings_of(api.base_url)]
        environment = {"PATH": os.environ["PATH"], "HOME": name, "CODEX_HOME": name}
        began_at = time.monotonic()
        started = [_started([*argv, f"Do task {number}."], name, environment) for number in range(load.agents)]
        cpu_seconds, memory_bytes = 0.0, 0
        for pid in started:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            cpu_seconds += taken(pid)[0]  # it has ended, and is still known
            _, _, used = os.wait4(pid, 0)
            memory_bytes += used.ru_maxrss * 1024
    if script.done < load.agents:
        raise SystemExit(f"{script.done} of {load.agents} processes came to their answer")
    return Measured(script.ended_at - began_at, cpu_seconds, memory_bytes, Usage())


def _started(argv: list[str], folder: str, environment: dict[str, str]) -> int:
    """Start a process that is waited for by its id."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(argv, cwd=folder, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    process.returncode = 0  # it is not this object that waits
    return process.pid


@dataclass
class _Script:
    """What the model says, and when the last answer is there."""

    load: Load
    done: int = 0
    ended_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, call: Call) -> Played:
        turn = len(call.outputs)
        if turn < self.load.turns:
            asked = exec_call(call, f"{self.load.line} # step {turn}")
            return Reply([asked], latency_seconds=self.load.turn_seconds)
        with self.lock:
            self.done += 1
            self.ended_at = time.monotonic() + self.load.turn_seconds
        return Reply([message({"status": "done"})], latency_seconds=self.load.turn_seconds)
