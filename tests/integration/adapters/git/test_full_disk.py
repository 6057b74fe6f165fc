"""Work that finds no room on our own disk: nobody's fault but the disk's, and taken as it is once there is room."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.errors import RepoError
from codexteam.ports.repo import Accepted, IntakeRefused
from tests.support_git import FREE, Desk


@contextmanager
def _small(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_pack_that_finds_no_room_is_no_fault_of_the_work(desk: Desk) -> None:
    snapshot = desk.snapshot({b"new.bin": random.Random(1).randbytes(900_000)})
    with _small(desk.state / "quarantine", "512k"):
        with pytest.raises(RepoError, match="No space left") as error:
            await desk.repo.intake(snapshot, FREE)
        assert "free some disk space" in error.value.hint
    intake = await desk.repo.intake(snapshot, FREE)
    assert isinstance(intake, Accepted), intake


async def test_a_broken_pack_is_refused_though_the_disk_is_small(desk: Desk) -> None:
    snapshot = desk.snapshot({b"new.bin": random.Random(1).randbytes(900_000)})
    snapshot.pack.write_bytes(snapshot.pack.read_bytes()[:-30_000])
    with _small(desk.state / "quarantine", "8m"):
        intake = await desk.repo.intake(snapshot, FREE)
    assert isinstance(intake, IntakeRefused), intake
    assert "git refuses the pack" in intake.violations[0].message
