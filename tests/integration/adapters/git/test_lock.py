"""One process per repository."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.machine.lock import RepositoryLock
from codexteam.errors import RepositoryBusyError, SurroundingsError

_HOLD = """
import sys, signal
from pathlib import Path
from codexteam.adapters.machine.lock import RepositoryLock
RepositoryLock(Path(sys.argv[1]), Path(sys.argv[2]), started="2026-01-02 03:04").acquire()
print("held", flush=True)
signal.pause()
"""


def test_the_second_process_is_told_which_one_has_the_repository(tmp_path: Path) -> None:
    common = tmp_path / "common"
    common.mkdir()
    (tmp_path / "link").symlink_to(common)
    state = tmp_path / "state"
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(state), str(common)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        for way in (common, tmp_path / "link"):
            with pytest.raises(RepositoryBusyError, match=rf"process {holder.pid}.*since 2026-01-02 03:04") as caught:
                RepositoryLock(state, way, started="now").acquire()
            assert caught.value.exit_code == 6
            assert caught.value.hint
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with RepositoryLock(state, common, started="now"):
        pass


def test_the_same_process_gets_it_again_after_release(tmp_path: Path) -> None:
    for _ in range(2):
        with RepositoryLock(tmp_path / "state", tmp_path, started="now"), pytest.raises(RepositoryBusyError):
            RepositoryLock(tmp_path / "state", tmp_path, started="later").acquire()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = RepositoryLock(tmp_path / "state", tmp_path, started="now")
    with lock:
        child = subprocess.Popen(["sleep", "30"])
    try:
        with RepositoryLock(tmp_path / "state", tmp_path, started="now"):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="lock cannot be made"):
        RepositoryLock(tmp_path / "file" / "state", tmp_path, started="now").acquire()
