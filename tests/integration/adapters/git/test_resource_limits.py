"""Limits of git's processes under a user who has limits of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support_git import make_user

_INTAKE = """
import asyncio, resource, sys
from pathlib import Path
for kind, most in ((resource.RLIMIT_AS, 3 << 30), (resource.RLIMIT_FSIZE, 64 << 20), (resource.RLIMIT_CPU, 50)):
    resource.setrlimit(kind, (most, most))
from codexteam.ports.repo import Accepted
from tests.support_git import FREE, open_desk

async def main():
    desk = await open_desk(Path(sys.argv[1]), Path(sys.argv[2]))
    intake = await desk.take({b"a.txt": b"changed"})
    await desk.repo.close()
    return isinstance(intake, Accepted)

sys.exit(0 if asyncio.run(main()) else 3)
"""


def test_a_users_own_lower_limits_stop_nothing(tmp_path: Path) -> None:
    make_user(tmp_path / "user", {"a.txt": b"one"})
    argv = [sys.executable, "-c", _INTAKE, str(tmp_path / "user"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
