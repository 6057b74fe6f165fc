"""Shared checkouts: made whole, removed in one step, and whatever is left half done is nobody's obstacle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.bases import BubblewrapBases
from codexteam.core.ids import CommitId
from codexteam.ports.sandbox import BaseSource
from codexteam.system.fault_points import POINT_VARIABLE

COMMITS = [CommitId(letter * 40) for letter in "abcde"]

_PRUNE = """
import sys, pathlib
from codexteam.adapters.sandbox.bubblewrap.bases import BubblewrapBases
BubblewrapBases(pathlib.Path(sys.argv[1])).prune()
"""


def source(commit: CommitId) -> BaseSource:
    return BaseSource(commit, Path("/nonexistent"), commit, None, None)


class Builder:
    """Fills checkouts, and counts."""

    def __init__(self) -> None:
        self.built = 0

    async def __call__(self, folder: Path) -> None:
        self.built += 1
        (folder / "a.txt").write_text("one")


async def made(folder: Path, *commits: CommitId) -> None:
    """Make checkouts, the first one used longest ago, and let go of them."""
    bases = BubblewrapBases(folder)
    for number, commit in enumerate(commits):
        await bases.get(source(commit), Builder())
        os.utime(folder / commit / "lock", (number, number))
    bases.close()


async def test_a_checkout_that_was_half_removed_is_made_anew(tmp_path: Path) -> None:
    await made(tmp_path, COMMITS[0])
    (tmp_path / COMMITS[0] / "lock").unlink()
    (tmp_path / COMMITS[0] / "tree" / "a.txt").unlink()
    bases, build = BubblewrapBases(tmp_path), Builder()
    for _ in range(2):
        tree = await bases.get(source(COMMITS[0]), build)
        assert (tree / "a.txt").read_text() == "one"
    bases.close()
    assert build.built == 1
    assert [path.name for path in tmp_path.iterdir()] == [COMMITS[0]]


async def test_what_was_half_removed_is_swept_and_what_is_whole_stays(tmp_path: Path) -> None:
    await made(tmp_path, *COMMITS[:2])
    (tmp_path / COMMITS[0] / "lock").unlink()
    (tmp_path / "notes.txt").write_text("not ours")
    assert BubblewrapBases(tmp_path).prune() == [COMMITS[0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [COMMITS[1], "notes.txt"]


@pytest.mark.parametrize("place", ["checkout.remove.before", "checkout.remove.after"])
async def test_a_removal_that_is_killed_leaves_nothing_in_the_way(tmp_path: Path, place: str) -> None:
    await made(tmp_path, *COMMITS[:4])
    environment = {**os.environ, POINT_VARIABLE: f"{place}#1"}
    root = Path(__file__).parents[5]
    done = subprocess.run([sys.executable, "-c", _PRUNE, tmp_path], env=environment, cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    bases, build = BubblewrapBases(tmp_path), Builder()
    assert (await bases.get(source(COMMITS[0]), build) / "a.txt").exists()
    assert build.built == (place == "checkout.remove.after")
    bases.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == COMMITS[:4], "and the rest of it is swept"
    bases.close()


async def test_a_checkout_in_use_is_never_removed(tmp_path: Path) -> None:
    await made(tmp_path, *COMMITS)
    user, sweeper = BubblewrapBases(tmp_path), BubblewrapBases(tmp_path)
    await user.get(source(COMMITS[1]), Builder())
    os.utime(tmp_path / COMMITS[1] / "lock", (1, 1))
    assert sweeper.prune() == [COMMITS[0]]
    user.close()
    assert sweeper.prune() == [COMMITS[1]]
