"""kill -9 of a part: the whole process group, a sandbox, what serves in it, a container. The run continues, or `resume` does.

The short form kills one of each kind; with `CODEXTEAM_KILLS` every part is killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.world import KEY, World, fingerprint
from tests.faults import three_tasks, twelve_tasks
from tests.faults.invariants import Evidence, violations
from tests.faults.killing import expected_tree, machine
from tests.scripted_api import ScriptedApi
from tests.scripted_api.script import Call, Played, function_call

pytestmark = [pytest.mark.complete, pytest.mark.timeout(600)]

#: How long the agent of T4 sleeps at first: until it is killed, or its sandbox is. Nobody else sleeps for just as long.
_LONG_NAP = f"60.0625{os.getpid()}"
#: The same where the run continues with the same command, which sleeps again.
_SHORT_NAP = f"10.0625{os.getpid()}"
_CANARY = {twelve_tasks.CANARY_NAME: twelve_tasks.CANARY}
_IMAGE_SCRIPT = Path(__file__).parents[2] / ".ci" / "sandbox_image.py"
_BUBBLEWRAP = three_tasks.SETTINGS.format(kind="bubblewrap")
_DOCKER = three_tasks.SETTINGS.format(kind="docker")
_ALL = bool(os.environ.get("CODEXTEAM_KILLS"))


def _napping(nap: str) -> Callable[[Call], Played]:
    def play(call: Call) -> Played:
        played = three_tasks.play(call)
        if (call.purpose, call.task_id, call.attempt, call.turn) == ("implement", "T4", 1, 1):
            command = f"sleep {nap}; mkdir -p out && printf 'task 4\\n' > out/t4.txt"
            return [function_call("exec_command", {"cmd": command, "yield_time_ms": 20_000})]
        return played

    return play


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def _nappers() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if _words(int(entry.name)) in (["sleep", _LONG_NAP], ["sleep", _SHORT_NAP]):
                    yield int(entry.name)
            except OSError:
                continue  # it ended meanwhile


def _line_of(pid: int, upto: int) -> list[int]:
    """Give a process and its forefathers below `upto`; empty when it is not one of its descendants."""
    line = [pid]
    while (above := _parent(line[-1])) != upto:
        if above <= 1:
            return []
        line.append(above)
    return line


def _wait_for(run: "subprocess.Popen[str]", found: Callable[[], list[int]]) -> list[int]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.poll() is None:
        try:
            if line := found():
                return line
        except OSError:
            pass  # a process of the line ended meanwhile: look again
        time.sleep(0.02)
    raise AssertionError(f"T4 never slept; the run ended with {run.poll()}")


def _start(world: World) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "codexteam", "run", three_tasks.GOAL]
    return subprocess.Popen(
        argv,
        cwd=world.repository,
        env=world.environment(**_CANARY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _check(world: World, api: ScriptedApi, before: dict[str, str], tree: str, *, kills: int) -> None:
    canaries = (KEY, twelve_tasks.CANARY)
    evidence = Evidence(world, before, api.requests, kills=kills, canaries=canaries, expected_tree=tree)
    assert violations(evidence) == []


def _is_bwrap(pid: int) -> bool:
    return Path(_words(pid)[0]).name == "bwrap"


def _serves(pid: int) -> bool:
    return "/run/codexteam/server.pyz" in _words(pid)[:5]


_PARTS: dict[str, Callable[[list[int]], int]] = {
    "the command": lambda line: line[0],
    "what serves in the sandbox": lambda line: next(pid for pid in line if _serves(pid)),
    "bwrap": lambda line: next(pid for pid in line if _is_bwrap(pid)),
    "the outermost process": lambda line: line[-1],
}


@pytest.mark.bubblewrap
@pytest.mark.parametrize("part", _PARTS if _ALL else ["bwrap"])
def test_a_sandbox_that_loses_a_process_is_remade_and_the_run_is_green(tmp_path: Path, part: str) -> None:
    with machine(tmp_path, _napping(_LONG_NAP), settings=_BUBBLEWRAP) as (world, api):
        before, tree = fingerprint(world), expected_tree(world, three_tasks.EXPECTED)
        run = _start(world)
        line = _wait_for(run, lambda: [pid for napper in _nappers() for pid in _line_of(napper, run.pid)])
        os.kill(_PARTS[part](line), signal.SIGKILL)
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, out + err
        _check(world, api, before, tree, kills=1)


@pytest.mark.bubblewrap
def test_a_whole_process_group_that_is_killed_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    with machine(tmp_path, _napping(_SHORT_NAP), settings=_BUBBLEWRAP) as (world, api):
        before, tree = fingerprint(world), expected_tree(world, three_tasks.EXPECTED)
        run = _start(world)
        _wait_for(run, lambda: [pid for napper in _nappers() for pid in _line_of(napper, run.pid)])
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate(timeout=120)
        again = world.run("resume", **_CANARY)
        assert again.code == 0, again.out + again.err
        _check(world, api, before, tree, kills=1)


def _containers(world: World, what: str) -> list[str]:
    labels = ("codexteam=1", f"codexteam.what={what}", f"codexteam.run={world.run_folder.name}")
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    listed = subprocess.run(["docker", "ps", "-q", *filters], capture_output=True, text=True, check=True)
    return listed.stdout.split()


@pytest.mark.docker
@pytest.mark.parametrize("what", ["sandbox", "slots"] if _ALL else ["sandbox"])
def test_containers_that_are_killed_are_made_anew_and_the_run_ends_green(tmp_path: Path, what: str) -> None:
    subprocess.run([sys.executable, str(_IMAGE_SCRIPT)], check=True, capture_output=True)
    with machine(tmp_path, _napping(_LONG_NAP), settings=_DOCKER) as (world, api):
        before, tree = fingerprint(world), expected_tree(world, three_tasks.EXPECTED)
        run = _start(world)
        _wait_for(run, lambda: list(_nappers()))
        killed = _containers(world, what)
        subprocess.run(["docker", "kill", *killed], capture_output=True, check=False)
        out, err = run.communicate(timeout=300)
        if run.returncode:
            again = world.run("resume", **_CANARY)
            assert again.code == 0, out + err + again.out + again.err
        assert killed
        canaries = (KEY, twelve_tasks.CANARY)
        evidence = Evidence(world, before, api.requests, kills=1, canaries=canaries, expected_tree=tree, docker=True)
        assert violations(evidence) == []
