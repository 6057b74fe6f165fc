"""A run may open as many files as the system lets it, within reason."""

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import resource, sys
from codexteam.app.signals import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
allow_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [((256, 512), (512, 512)), ((256, 10_000), (8192, 10_000)), ((9000, 10_000), (9000, 10_000)), ((64, 64), (64, 64))],
)
def test_the_limit_is_raised_to_what_a_large_team_needs(before: tuple[int, int], after: tuple[int, int]) -> None:
    argv = [sys.executable, "-c", _CODE, *map(str, before)]
    done = subprocess.run(argv, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == after
