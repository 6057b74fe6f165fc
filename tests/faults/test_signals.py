"""SIGTERM, SIGINT and SIGHUP at every stage of a command: nothing is left behind, and the run can be resumed."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.e2e.world import ROOT, World, fingerprint, processes_of
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, rows, violations
from tests.faults.killing import HeldBack, expected_tree, machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")


def _handles(pid: int) -> bool:
    """Say whether a process catches SIGTERM: before, there is nothing of ours that could be left."""
    return _in_signals(pid, "SigCgt", signal.SIGTERM)


def _in_signals(pid: int, mask: str, number: signal.Signals) -> bool:
    """Say whether a signal is in one of the sets that the kernel tells of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = next((line.split()[1] for line in status.splitlines() if line.startswith(f"{mask}:")), "0")
    return bool(int(found, 16) >> (number - 1) & 1)


def _has(pattern: str) -> Callable[[World], bool]:
    return lambda world: any(world.state.glob(pattern))


def _interrupt(world: World, reached: Callable[[World], bool], number: signal.Signals) -> tuple[int, str]:
    """Begin or continue, and send a signal as soon as a state is reached."""
    words = ("resume",) if _begun(world) else ("run", twelve_tasks.GOAL)
    process = world.start(*words)
    try:
        while process.poll() is None and not (_handles(process.pid) and reached(world)):
            time.sleep(0.001)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, err


def _begun(world: World) -> bool:
    try:
        return bool(rows(world, "SELECT run_id FROM run"))
    except Exception:  # noqa: BLE001 - no file, or one without tables: nothing was begun
        return False


#: What is there as a command gets on, from its first moment to the first sandbox at work.
_STAGES = {
    "handlers": lambda _: True,
    "lock": _has("lock-*"),
    "state file": _has("state.sqlite"),
    "history": _has("runs/*/events.jsonl"),
    "hub": _has("hub.git"),
    "checkout": _has("bubblewrap/*/*"),
    "transcript": _has("runs/*/tasks/*/*/*"),
}


@pytest.mark.complete
@pytest.mark.bubblewrap
def test_a_signal_at_any_stage_ends_the_command_and_leaves_nothing_behind(tmp_path: Path) -> None:
    held = HeldBack()
    with machine(tmp_path, held) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        numbers = itertools.cycle((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        for (name, reached), number in zip(_STAGES.items(), numbers, strict=False):
            code, err = _interrupt(world, reached, number)
            assert code == 128 + number, (name, number, code, err)
            assert "Traceback" not in err
            assert processes_of(world) == [], (name, number)
        held.may_end.set()
        ended = world.run("resume")
        assert ended.code == 0, ended.err
        evidence = Evidence(world, before, api.requests, kills=len(_STAGES), expected_tree=tree)
        assert violations(evidence) == []


@pytest.mark.complete
@pytest.mark.bubblewrap
def test_a_closed_terminal_ends_a_run_in_order_however_often_it_is_noticed(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, _):
        for hangups in (0, 3):  # beside the kernel's own
            ours, theirs = os.openpty()
            words = ("resume",) if _begun(world) else ("run", twelve_tasks.GOAL)
            with subprocess.Popen(
                ["setsid", "--ctty", sys.executable, "-m", "codexteam", *words],
                cwd=world.repository,
                env=world.environment(TERM="xterm-256color"),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            ) as process:
                os.close(theirs)
                shown = b""
                while b"implementer" not in shown:  # agents at work, on the live view
                    shown += os.read(ours, 1 << 16)
                os.close(ours)
                for _ in range(hangups):
                    process.send_signal(signal.SIGHUP)
                    time.sleep(0.01)
                assert process.wait(timeout=60) == 128 + signal.SIGHUP
            assert processes_of(world) == []
            [ending] = rows(world, "SELECT ending FROM sitting ORDER BY number DESC LIMIT 1")
            assert ending[0] == "interrupted by SIGHUP; agents were cut off, their work is saved"


@pytest.mark.complete
@pytest.mark.docker
def test_a_signal_at_any_moment_leaves_no_container(tmp_path: Path) -> None:
    client = docker.from_env()
    settings = twelve_tasks.SETTINGS.replace('kind = "bubblewrap"', f'kind = "docker"\nimage = "{IMAGE}"')
    # what comes late meets the run at work all the same
    with machine(tmp_path, HeldBack(), settings=settings) as (world, _):
        owned: dict[str, str | list[str] | bool] = {"label": f"codexteam.owner={world.state}"}
        try:
            for hundredths in range(0, 360, 60):
                moment = time.monotonic() + hundredths / 100
                code, err = _interrupt(world, lambda _, at=moment: time.monotonic() > at, signal.SIGTERM)  # type: ignore[misc]
                assert code == 128 + signal.SIGTERM, (hundredths, code, err)
                left = [container.name for container in client.containers.list(all=True, filters=owned)]
                assert left == [], hundredths
            assert world.run("clean", "--all").code == 0
            assert client.volumes.list(filters=owned) == []
        finally:
            for container in client.containers.list(all=True, filters=owned):
                container.remove(force=True)
            for volume in client.volumes.list(filters=owned):
                volume.remove(force=True)
            client.close()


@contextmanager
def _guarded(command: str, *, json_lines: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A process whose command is guarded from signals, once it has said that it is ready."""
    code = (
        "import asyncio, signal, sys, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from codexteam.app.signals import leave, run_guarded_by_signals\n"
        "from codexteam.cli.errors import run_guarded\n"
        f"{command}"
        f"code = run_guarded(lambda: run_guarded_by_signals(command), {{}}, json_lines={json_lines})\n"
        "sys.exit(leave(code))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert _line(process) == "ready\n"
            yield process
        finally:
            process.kill()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_third_signal_ends_a_command_that_does_not_end() -> None:
    command = (
        "async def command(signals):\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n"
        "            print('continues', flush=True)\n"
    )
    with _guarded(command) as process:
        process.send_signal(signal.SIGTERM)
        assert _line(process) == "continues\n"
        process.send_signal(signal.SIGTERM)
        while _in_signals(process.pid, "ShdPnd", signal.SIGTERM):
            time.sleep(0.001)  # of two that wait, one is lost
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_what_nohup_or_a_background_has_a_command_ignore_stays_ignored() -> None:
    command = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "async def command(signals):\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.to_thread(sys.stdin.readline)\n"
        "    print('done', flush=True)\n"
        "    await asyncio.sleep(60)\n"
    )
    with _guarded(command) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.stdin is not None
        process.stdin.write("on\n")
        process.stdin.flush()
        assert _line(process) == "done\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_programs_are_told_how_a_command_ended_that_had_not_begun() -> None:
    command = "async def command(signals):\n    print('ready', flush=True)\n    await asyncio.sleep(300)\n"
    with _guarded(command, json_lines=True) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (143, "interrupted\n")
        assert json.loads(out) == {"type": "error", "message": "interrupted", "hint": "", "exit_code": 143}


def test_a_thread_that_goes_on_does_not_hold_a_command_that_was_ended() -> None:
    command = (
        "threads = ThreadPoolExecutor()\n"
        "async def command(signals):\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.get_running_loop().run_in_executor(threads, time.sleep, 300)\n"
    )
    with _guarded(command) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (128 + signal.SIGINT, "interrupted\n")
