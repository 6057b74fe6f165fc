"""A run whose process is stopped and continues, and whose clocks jump: nothing is lost, and the run ends green."""

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.world import ROOT, World, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, answered, violations
from tests.faults.killing import expected_tree, machine
from tests.faults.table import LONG
from tests.scripted_api.script import Call, Played, Reply

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

#: Shorter than a stop: every stream that was open is overdue when the process continues.
_IDLE_SECONDS = 3
_STOP_SECONDS = 5.0
_SHORT_PATIENCE = ("-c", f"model_providers.loopback.stream_idle_timeout_ms={_IDLE_SECONDS * 1000}")


def _slowly(call: Call) -> Played:
    """Answer in pieces, so that a stop meets streams in their middle."""
    played = twelve_tasks.play(call)
    return Reply(items=played, gap_seconds=0.04) if isinstance(played, list) else played


def test_a_stopped_run_continues_without_loss_or_repeated_calls(tmp_path: Path) -> None:
    with machine(tmp_path, _slowly) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        seen = []
        with world.start_near(*_SHORT_PATIENCE, "run", twelve_tasks.GOAL, "--json") as process:
            try:
                assert process.stdout is not None
                for number, _ in enumerate(process.stdout, start=1):
                    if number in {15, 50}:
                        os.kill(process.pid, signal.SIGSTOP)
                        seen.append((len(api.requests), answered(world)))
                        if number == 50:
                            other = world.run("run", "another goal")
                            assert other.code == 6, "who is stopped still has the lock"
                            looked = world.run("status")
                            assert looked.out.split()[1] == "suspended"
                            assert "its process is suspended" in looked.out
                            assert world.run("runs").out.splitlines()[1].split()[1] == "suspended"
                        time.sleep(_STOP_SECONDS)
                        os.kill(process.pid, signal.SIGCONT)
                _, err = process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode == 0, err
        evidence = Evidence(world, before, api.requests, len(seen), answered_at_kill=seen, expected_tree=tree)
        assert violations(evidence) == []
        tries = Counter(request.call.headers["idempotency-key"] for request in api.requests)
        assert sum(tries.values()) - len(tries) <= len(seen) * 4, "only what was on its way may be asked again"


#: The machine's clock, as Python programs read it: set forward and back by a file.
_CLOCK = """
import os, time

_real = time.time
_file = os.environ["CLOCK_FILE"]

def _jumped():
    try:
        with open(_file, encoding="ascii") as file:
            return _real() + float(file.read() or 0)
    except OSError:
        return _real()

time.time = _jumped
"""


def _start_with_clock(world: World, clock: Path, *words: str) -> subprocess.Popen[str]:
    code = clock.parent / "sitecustomize.py"
    code.write_text(_CLOCK)
    return world.start(*words, PYTHONPATH=f"{clock.parent}{os.pathsep}{ROOT}", CLOCK_FILE=str(clock))


def test_a_clock_that_jumps_forward_and_back_by_hours_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "clock"
    folder.mkdir()
    clock = folder / "offset"
    jumps = {20: 7 * 3600.0, 40: -9 * 3600.0, 60: 86_400.0, 80: 0.0}
    with machine(tmp_path, _slowly) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        with _start_with_clock(world, clock, "run", twelve_tasks.GOAL, "--json") as process:
            try:
                assert process.stdout is not None
                for number, _ in enumerate(process.stdout, start=1):
                    if number in jumps:
                        new = folder / "new"
                        new.write_text(str(jumps[number]))
                        new.replace(clock)
                _, err = process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode == 0, err
        evidence = Evidence(world, before, api.requests, expected_tree=tree)
        assert violations(evidence) == []
        days = {str(event["at"])[:10] for event in world.events()}
        assert len(days) >= 2, "the clock did jump"


@LONG
def test_a_stop_is_taken_by_a_run_whose_clock_went_back_after_it_began(tmp_path: Path) -> None:
    folder = tmp_path / "clock"
    folder.mkdir()
    clock = folder / "offset"
    with machine(tmp_path, _slowly) as (world, _):
        clock.write_text(str(5 * 3600.0))  # the run begins in what will be the future
        with _start_with_clock(world, clock, "run", twelve_tasks.GOAL, "--json") as process:
            try:
                assert process.stdout is not None
                for number, _ in enumerate(process.stdout, start=1):
                    if number == 30:
                        stopped = world.run("stop", "--now")
                        assert stopped.code == 0, stopped.err
                _, err = process.communicate(timeout=120)
            finally:
                process.kill()
        assert process.returncode == 143, err
        assert "codexteam stop --now" in world.run("status").out
        resumed = world.run("resume")
        assert resumed.code == 0, resumed.err
