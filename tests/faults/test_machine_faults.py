"""What is around a run fails: bubblewrap, the disk, git, the clock; each through a whole run.

The complete check tries the quickest rows. All of them, with a table printed:
`CODEXTEAM_FAULTS=all pytest -s --complete tests/faults/test_machine_faults.py`.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.demo.script import run
from tests.e2e.world import ROOT, Ended
from tests.faults import three_tasks
from tests.faults.strikes import (
    AT_WORK,
    FORKS,
    at_work,
    fill,
    in_background,
    no_large_request,
    running,
    small_disk,
    told,
    when_at_work,
)
from tests.faults.table import ALL, Fault, Stage, endure

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def _kill_server(_: Stage) -> None:
    """Kill the server that runs the long command."""
    pid = at_work()[0]
    while Path(f"/proc/{pid}/comm").read_text() in {"sleep\n", "bash\n"}:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    if "python" not in Path(f"/proc/{pid}/comm").read_text():
        raise RuntimeError("the server is not above its command")
    os.kill(pid, signal.SIGKILL)


def _hidden(path: str) -> list[str]:
    """Start a command where a program is not there, for it alone."""
    return ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {path} && exec "$@"', "sh"]


def _replaced(path: str, other: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {other} {path} && exec "$@"', "sh"]


#: No namespace can be made below this one.
_NO_NAMESPACES = [
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'for what in user mnt pid; do echo 0 > /proc/sys/user/max_${what}_namespaces; done && exec "$@"',
    "sh",
]


def _under(wrapper: list[str]) -> Callable[[Stage], AbstractContextManager[None]]:
    @contextmanager
    def around(stage: Stage) -> Iterator[None]:
        if os.geteuid() != 0:
            pytest.skip("only root can hide a program from one command")
        stage.wrapper = wrapper
        yield

    return around


def _bare(stage: Stage) -> None:
    stage.wrapper = []


def _state_on(options: str) -> Callable[[Stage], AbstractContextManager[Path]]:
    """Keep the state on a small file system."""
    return lambda stage: small_disk(stage.world.state, options)


def _remount(stage: Stage) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(stage.world.state)], check=True)


def _says_full(_: Stage, ended: Ended) -> list[str]:
    """It is a matter of moments who meets it first: SQLite says it in its own words, all others in the system's."""
    said = ended.err.lower()
    return [] if "disk is full" in said or "no space left" in said else [f"it does not say that it is full: {said}"]


def _use_up_inodes(stage: Stage) -> None:
    folder = stage.world.state / "ballast"
    folder.mkdir()
    with pytest.raises(OSError, match="No space"):
        for number in range(1_000_000):
            (folder / str(number)).touch()


@contextmanager
def _own_programs(stage: Stage) -> Iterator[None]:
    """Give the command a folder of programs that can be taken away."""
    folder = stage.world.folder / "programs"
    folder.mkdir()
    (folder / "git").symlink_to(str(shutil.which("git")))
    stage.environment["PATH"] = f"{folder}:/usr/sbin:/sbin"
    yield


def _take_git(stage: Stage) -> None:
    (stage.world.folder / "programs" / "git").unlink()


def _give_git(stage: Stage) -> None:
    (stage.world.folder / "programs" / "git").symlink_to("/usr/bin/git")


#: Python reads this before anything else: a clock that can be put forward and back.
_CLOCK = """\
import pathlib, time
_time, _folder = time.time, pathlib.Path(__file__).parent
def _jumping():
    try:
        return _time() + float((_folder / "jump").read_text())
    except (OSError, ValueError):
        return _time()
time.time = _jumping
"""


@contextmanager
def _own_clock(stage: Stage) -> Iterator[None]:
    folder = stage.world.folder / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CLOCK)
    stage.environment["PYTHONPATH"] = f"{folder}:{ROOT}"
    yield


def _jump(seconds: int) -> Callable[[Stage], object]:
    return lambda stage: (stage.world.folder / "clock" / "jump").write_text(str(seconds))


def _sleep_a_while(stage: Stage) -> None:
    def sleep() -> None:
        pid = min(running(three_tasks.GOAL))  # others may be forks of it
        os.kill(pid, signal.SIGSTOP)
        stage.mended.wait(3)
        os.kill(pid, signal.SIGCONT)

    in_background(stage, sleep)


_YEAR = 31_536_000
SURROUNDINGS = (
    Fault(name="bwrap is missing", around=_under(_hidden("/usr/bin/bwrap")), mend=_bare, code=6, free=True,
          says="bubblewrap is not installed"),
    Fault(name="bwrap does nothing but fail", around=_under(_replaced("/usr/bin/bwrap", "/bin/false")), mend=_bare,
          code=6, free=True, says="bubblewrap does not work"),
    Fault(name="namespaces are refused", around=_under(_NO_NAMESPACES), mend=_bare, code=6, free=True,
          says="bubblewrap does not work"),
    Fault(name="the sandbox's server is killed under its command", answer=[AT_WORK],
          strike=when_at_work(_kill_server), also=told("started again"), short=True),
    Fault(name="a command that takes all memory (bubblewrap)",
          answer=[run("head -c 3G /dev/zero | tail >/dev/null; echo ended $?")],
          always=("-c", "codexteam.sandbox.limits.memory_size=512MiB"), also=told("ended 137")),
    Fault(name="a command that forks without end (bubblewrap)", answer=[run(FORKS)],
          always=("-c", "codexteam.sandbox.limits.max_processes=64"), also=told("forked")),
    Fault(name="a command that prints without end (bubblewrap)", answer=[run("yes 'all work and no play'")],
          also=no_large_request),
    Fault(name="a command that leaves a process behind", answer=[run("setsid sleep 86393 & echo left")]),
    Fault(name="the state's disk fills up in the middle", around=_state_on("size=48m"),
          strike=lambda stage: fill(stage.world.state / "ballast"),
          mend=lambda stage: (stage.world.state / "ballast").unlink(), code=6, also=_says_full, short=True),
    Fault(name="the state's disk has no inodes left", around=_state_on("size=64m,nr_inodes=1500"),
          strike=_use_up_inodes, mend=lambda stage: shutil.rmtree(stage.world.state / "ballast"), code=6,
          also=_says_full),
    Fault(name="the state's disk is read-only", around=_state_on("ro"), mend=_remount, code=6, begun=False,
          says="read-only"),
    Fault(name="git is taken away", around=_own_programs, strike=_take_git, mend=_give_git, code=6, says="git cannot be run"),
    Fault(name="the clock jumps a year ahead", around=_own_clock, strike=_jump(_YEAR)),
    Fault(name="the clock jumps ten years back", around=_own_clock, strike=_jump(-10 * _YEAR)),
    Fault(name="the machine sleeps", strike=_sleep_a_while),
    Fault(name="48 files may be open", around=_under(["prlimit", "--nofile=48"])),
    Fault(name="20 files may be open", around=_under(["prlimit", "--nofile=20"]), mend=_bare, code=6, says="files"),
)  # fmt: skip


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in SURROUNDINGS if ALL or fault.short])
def test_a_fault_around_the_run_is_outlived_or_one_clear_error(tmp_path: Path, fault: Fault) -> None:
    assert endure(tmp_path, fault).found == []
