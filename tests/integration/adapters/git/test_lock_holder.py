"""Who works on a repository, seen from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.adapters.machine.lock import RepositoryLock, find_holder

_HOLD = """
import sys, signal
from pathlib import Path
from codexteam.adapters.machine.lock import RepositoryLock
lock = RepositoryLock(Path(sys.argv[1]), Path(sys.argv[2]), started="2026-01-02 03:04")
lock.acquire()
lock.name_run("20260102-0304-aaaa")
if sys.argv[3] == "listens":
    signal.signal(signal.SIGUSR1, lambda *_: (print("woken", flush=True), sys.exit(0)))
print("held", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def holder(state: Path, common: Path, how: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(state), str(common), how], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    common = tmp_path / "common"
    common.mkdir()
    return tmp_path / "state", common


def test_the_holder_s_process_and_run_are_seen_without_taking_the_lock(places: tuple[Path, Path]) -> None:
    assert find_holder(*places) is None
    with holder(*places, "listens") as process:
        found = find_holder(*places)
        assert found is not None
        assert (found.pid, found.run_id) == (process.pid, "20260102-0304-aaaa")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert find_holder(*places) is None, "the file is still there, the lock is not"


def test_a_holder_that_listens_is_woken(places: tuple[Path, Path]) -> None:
    with holder(*places, "listens") as process:
        found = find_holder(*places)
        assert found is not None
        assert found.wake()
        assert process.stdout is not None
        assert process.stdout.readline() == b"woken\n"


def test_a_holder_that_does_not_listen_yet_is_not_ended_by_the_signal(places: tuple[Path, Path]) -> None:
    with holder(*places, "deaf") as process:
        found = find_holder(*places)
        assert found is not None
        assert not found.wake()
        assert process.poll() is None


def test_a_lock_that_was_taken_again_names_no_run_of_the_holder_before(places: tuple[Path, Path]) -> None:
    lock = RepositoryLock(*places, started="then")
    with lock:
        lock.name_run("20260102-0304-aaaa")
    with RepositoryLock(*places, started="now"):
        found = find_holder(*places)
        assert found is not None
        assert (found.pid, found.run_id) == (os.getpid(), "")
