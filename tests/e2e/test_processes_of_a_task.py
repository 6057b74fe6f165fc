"""How many processes a task of four turns takes: each costs CPU time that every task of every run would pay."""

import shutil
from pathlib import Path

import pytest

from benchmarks.team_costs import count_started

#: Measured: 11 or 12, of which bubblewrap and its server are two, the model's own commands three, the snapshots three.
MOST_PROCESSES = 14.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bubblewrap,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing"),
]


def test_a_task_of_four_turns_starts_few_processes(tmp_path: Path) -> None:
    one, three = (count_started(tasks, str(tmp_path)) for tasks in (1, 3))
    assert (three.processes - one.processes) / 2 <= MOST_PROCESSES
