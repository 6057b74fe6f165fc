"""CPU time that the live view of 64 agents takes, as a share of one core; the bar is 3 %.

python -m benchmarks.live_view [--agents 64] [--seconds 20] [--facts 32] [--watch run|all]

The same facts go to a view on a real pseudo-terminal and to no view at all; what the view takes beyond that is printed, with
what was written to the terminal. Agents change what they do all the time, as in a run. With `--watch` the facts and
heartbeats go to a state file, and what is measured is a process of its own once it has started: `codexteam watch RUN`, or
`codexteam watch`, which lists all runs.
"""

import argparse
import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.lock import this_process
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app.project import Project, find_project, repository_lock
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.ports.store import RunRecord, StoredSession
from codexteam.report.progress import Progress
from codexteam.run.heartbeat import HEARTBEAT_SECONDS, Heartbeat, leave_heartbeat
from codexteam.views.live.lines import Abilities
from codexteam.views.live.live_view import LiveView, own_run
from codexteam.views.plain import Quiet

#: Once so much was written, the first screen is there.
_DRAWN_BYTES = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--facts", type=float, default=32.0, help="facts a second")
    parser.add_argument("--watch", choices=("run", "all"), help="measure `codexteam watch` in a process of its own")
    given = parser.parse_args()
    if given.watch:
        share, written = asyncio.run(watched(given.agents, given.seconds, given.facts, is_list=given.watch == "all"))
        print(f"watch {given.watch}, {given.agents} agents, {given.facts:.0f} facts/s: {share:.1%} of a core (bar 3 %)")
        print(f"{given.seconds:.0f} s; {written / given.seconds / 1000:.1f} kB/s written")
        return
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
        progress.activities = activities(agents, number, now)
        reporter.report(turn(number % agents, number, now))
        if time.monotonic() >= end:
            return time.process_time() - began
        pause.wait(1 / facts)
    raise AssertionError


async def watched(agents: int, seconds: float, facts: float, *, is_list: bool) -> tuple[float, int]:
    """Return the share of a core that `codexteam watch` of a run takes, and the bytes that it wrote."""
    run_id = RunId("20260101-0000-abcd")
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(subprocess.run, ["git", "init", "-q", folder], check=True)
        project = find_project(Path(folder), os.environ)
        store = SqliteStore(project.store_path)
        now, (host, pid, process) = time.time(), this_process()
        with repository_lock(project, now) as lock:
            await store.create_run(RunRecord(run_id, "Measure the view", "0" * 40, "running", now, {}))
            number = await store.begin_session(StoredSession(run_id, 0, "0", host, pid, process, now, ending=""))
            store.record_facts(run_id, [*begin(agents)])
            await store.facts_recorded()
            lock.name_run(run_id)
            writing = asyncio.create_task(_write(store, run_id, number, agents, facts))
            try:
                return await asyncio.to_thread(_watch, Path(folder), () if is_list else (run_id,), seconds)
            finally:
                writing.cancel()
                await store.close()


async def _write(store: SqliteStore, run_id: RunId, session: int, agents: int, facts: float) -> None:
    """Write a run's facts and heartbeats as its process does."""
    beat_at = 0.0
    for number in count():
        now = time.time()
        if now - beat_at >= HEARTBEAT_SECONDS:
            beat_at, beats = now, tuple(activities(agents, number, now))
            leave_heartbeat(store, run_id, Heartbeat(session, now, HEARTBEAT_SECONDS, 600.0, beats))
        store.record_facts(run_id, [turn(number % agents, number, now)])
        await asyncio.sleep(1 / facts)


def _watch(folder: Path, arguments: Sequence[str], seconds: float) -> tuple[float, int]:
    """Let `codexteam watch` run on a terminal of its own; measure it once it has started."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    command = [sys.executable, "-m", "codexteam", "-C", str(folder), "watch", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color"}
    read = [0]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as watch:
        os.close(theirs)
        reader = threading.Thread(target=_drain, args=(ours, read), daemon=True)
        reader.start()
        while read[0] < _DRAWN_BYTES and watch.poll() is None:
            _pause(0.1)
        _pause(2.0)
        before, bytes_before = _cpu_seconds_of(watch.pid), read[0]
        _pause(seconds)
        took, written = _cpu_seconds_of(watch.pid) - before, read[0] - bytes_before
        watch.terminate()
        reader.join()
    return took / seconds, written


def _drain(terminal: int, read: list[int]) -> None:
    """Read what is drawn, until the terminal is closed."""
    try:
        while data := os.read(terminal, 65536):
            read[0] += len(data)
    except OSError:
        return  # nobody has its other end any more
    finally:
        os.close(terminal)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _cpu_seconds_of(pid: int) -> float:
    """Return the CPU time of a process and its threads; proc(5) counts the fields behind the name from 3."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def activities(agents: int, number: int, now: float) -> list[Activity]:
    return [
        Activity(name(one), (Doing.MODEL, Doing.COMMAND)[(one + number // 8) % 2], now - one % 9, now, "pytest -q")
        for one in range(agents)
    ]


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
