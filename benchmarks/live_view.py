"""CPU time that the live view of 64 agents takes, as a share of one core; the bar is 3 %.

python -m benchmarks.live_view [--agents 64] [--seconds 20] [--facts 32]

The same facts go to a view on a real pseudo-terminal and to no view at all; what the view takes beyond that is printed, with
what was written to the terminal. Agents change what they do all the time, as in a run.
"""

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.project import Project
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.report.progress import Progress
from codexteam.views.live.lines import Abilities
from codexteam.views.live.live_view import LiveView, own_run
from codexteam.views.plain import Quiet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--facts", type=float, default=32.0, help="facts a second")
    given = parser.parse_args()
    progress = Progress()
    without = cpu_seconds(Quiet(progress), progress, given.agents, given.seconds, given.facts)
    with terminal() as (out, read_bytes):
        progress = Progress()
        able, clock = Abilities(), SystemClock()
        board = own_run(_nowhere(), "run", progress, able, clock.wall_seconds)
        view = LiveView(board, out, able, clock=clock, lines=lambda: Quiet(progress))
        took = cpu_seconds(view, progress, given.agents, given.seconds, given.facts)
        view.close()
        written = read_bytes()
    share = (took - without) / given.seconds
    print(f"{given.agents} agents, {given.facts:.0f} facts/s, {given.seconds:.0f} s: {share:.1%} of a core (bar 3 %)")
    print(f"CPU {took:.2f} s with the view, {without:.2f} s without; {written / given.seconds / 1000:.1f} kB/s written")


def cpu_seconds(reporter: Reporter, progress: Progress, agents: int, seconds: float, facts: float) -> float:
    """Return the CPU time of this process while `reporter` gets a run's facts."""
    for fact in begin(agents):
        reporter.report(fact)
    began, end = time.process_time(), time.monotonic() + seconds
    pause = threading.Event()
    for number in count():
        now = time.time()
        progress.activities = [
            Activity(name(one), (Doing.MODEL, Doing.COMMAND)[(one + number // 8) % 2], now - one % 9, now, "pytest -q")
            for one in range(agents)
        ]
        reporter.report(turn(number % agents, number, now))
        if time.monotonic() >= end:
            return time.process_time() - began
        pause.wait(1 / facts)
    raise AssertionError


@contextmanager
def terminal() -> Iterator[tuple[TextIO, Callable[[], int]]]:
    """Give a terminal of 160 x 50 whose output another process reads, and how much that was."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    with subprocess.Popen(["wc", "-c"], stdin=ours, stdout=subprocess.PIPE, text=True) as reader:
        os.close(ours)
        out = os.fdopen(theirs, "w")

        def read_bytes() -> int:
            out.close()
            assert reader.stdout is not None
            return int(reader.stdout.read() or 0)

        yield out, read_bytes


def begin(agents: int) -> Iterator[RunEvent]:
    now = time.time()
    yield RunEvent("run.opened", now, {"run": "run", "goal": "Measure the view", "budget": "$50.00"})
    for number in range(agents):
        yield RunEvent("task.added", now, {"task": f"T{number}", "title": f"Task {number}", "role": "implementer"})
        yield RunEvent("task.started", now, {"task": f"T{number}", "attempt": 1})
        yield RunEvent("agent.started", now, fields(number))


def turn(agent: int, number: int, now: float) -> RunEvent:
    if number % 2:
        return RunEvent("agent.acted", now, {**fields(agent), "action": f"pytest -q tests/test_{number}.py"})
    usage: JSONObject = {
        "input_tokens": 9_000,
        "cached_input_tokens": 8_000,
        "output_tokens": 300,
        "reasoning_tokens": 0,
    }
    return RunEvent("agent.turn", now, {**fields(agent), "turn": number, "usage": usage, "usd": 0.01, "credits": 0.5})


def fields(agent: int) -> JSONObject:
    task = f"T{agent}"
    known: JSONObject = {"role": "implementer", "purpose": "implement", "task": task, "attempt": 1, "model": "gpt-5.4"}
    return {"agent": name(agent), **known}


def name(agent: int) -> str:
    return f"implementer T{agent}.1"


def _nowhere() -> Project:
    return Project(None, Path(), Path(), {})  # type: ignore[arg-type]  # nothing is asked of it


if __name__ == "__main__":
    main()
