"""The hub as a folder: made whole, removed in one step, and found whole again after a removal that was killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.git.cleanup import remove_hub_if_unused
from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.runner import GitRunner, find_git
from codexteam.system.fault_points import POINT_VARIABLE
from tests.support_git import Desk, git, open_desk

_REMOVE = """
import os, sys
from pathlib import Path
from codexteam.adapters.git.cleanup import remove_hub_if_unused
from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.runner import GitRunner, find_git
path = Path(sys.argv[1])
assert remove_hub_if_unused(Hub(path, "sha1", GitRunner(find_git(os.environ["PATH"]), path.parent)))
"""


def open_hub(path: Path) -> Hub:
    return Hub(path, "sha1", GitRunner(find_git(os.environ["PATH"]), path.parent))


@pytest.mark.parametrize("place", ["hub.remove.before", "hub.remove.after"])
def test_a_removal_that_is_killed_leaves_a_hub_or_none(tmp_path: Path, place: str) -> None:
    path = tmp_path / "hub.git"
    open_hub(path).close()
    environment = {**os.environ, POINT_VARIABLE: f"{place}#1"}
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", _REMOVE, path], env=environment, cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    hub = open_hub(path)
    assert hub.refs("refs/") == {}
    assert [left.name for left in tmp_path.iterdir()] == ["hub.git"], "and the rest of it is swept"
    assert remove_hub_if_unused(hub)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["config", "info", "objects", "refs", "objects/pack", "refs/heads", "HEAD"])
def test_a_hub_that_was_half_removed_is_whole_again(tmp_path: Path, part: str) -> None:
    path = tmp_path / "hub.git"
    open_hub(path).close()
    lost = path / part
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    hub = open_hub(path)
    assert hub.refs("refs/") == {}
    blob = hub.output("hash-object", "-w", "--stdin", stdin=b"one").decode().strip()
    assert hub.has(blob)
    hub.close()


async def test_what_is_left_in_a_damaged_hub_is_kept(desk: Desk) -> None:
    work = await desk.taken({b"a.txt": b"work\n"})
    await desk.repo.close()
    (desk.hub / "config").unlink()
    shutil.rmtree(desk.hub / "info")
    again = await open_desk(desk.root, desk.folder)
    assert git(desk.hub, "--git-dir=.", "cat-file", "blob", f"{work}:a.txt") == b"work\n"
    await again.repo.close()
