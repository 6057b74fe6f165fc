"""What one more task of a run costs: CPU time of all processes, and how many processes and programs are started.

    python -m benchmarks.team_costs [--tasks 1 9] [--json]

Runs the team of `benchmarks.team` with the one and the other number of tasks, and divides what the second run takes more.
A busy machine hardly changes these figures. Processes and programs are counted by strace.
"""

import argparse
import ctypes
import json
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.team import Setup, run_team

#: The option of prctl(2) that makes this process the parent of orphans.
PR_SET_CHILD_SUBREAPER = 36
_CALLS = "trace=execve,fork,vfork,clone,clone3"


@dataclass(frozen=True, slots=True)
class Started:
    """What a run started."""

    processes: int
    programs: int


def count_started(tasks: int, cache: str) -> Started:
    """Count what a run of so many tasks starts, all from one commit; strace must be there."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        trace = Path(folder, "trace")
        prefix = ("strace", "-f", "-qq", "-e", _CALLS, "-o", str(trace))
        run_team(Setup(tasks, 0.05), cache, prefix=prefix)
        text = trace.read_text(errors="replace")
    programs = len(re.findall(r"execve\b.* = 0$", text, re.MULTILINE))
    forks = re.findall(r"^.*\b(?:v?fork|clone3?)\b.* = \d+$", text, re.MULTILINE)
    return Started(sum("CLONE_THREAD" not in line for line in _whole(text, forks)), programs)


def _whole(text: str, ends: Sequence[str]) -> list[str]:
    """Put before each call that strace shows in two parts the part that has its arguments."""
    begun: dict[str, str] = {}
    whole = []
    wanted = set(ends)
    for line in text.splitlines():
        process = line.partition(" ")[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line
        elif line in wanted:
            whole.append(begun.pop(process, "") + line if "resumed>" in line else line)
    return whole


def measure_costs(few: int, many: int, cache: str) -> dict[str, float | int]:
    """Return what a task costs: what a run of many takes more than one of few, by task."""
    used = [_cpu_seconds(Setup(tasks, 0.1, width=min(tasks, 16)), cache) for tasks in (few, many)]
    costs: dict[str, float | int] = {
        "run_of_few_cpu_seconds": round(used[0], 2),
        "cpu_seconds_a_task": round((used[1] - used[0]) / (many - few), 3),
    }
    if shutil.which("strace"):
        started = [count_started(tasks, cache) for tasks in (few, many)]
        costs["processes_a_task"] = round((started[1].processes - started[0].processes) / (many - few), 1)
        costs["programs_a_task"] = round((started[1].programs - started[0].programs) / (many - few), 1)
    return costs


def _cpu_seconds(setup: Setup, cache: str) -> float:
    before = cpu_of_children()
    run_team(setup, cache)
    while True:  # processes whose parents have gone end with their sandboxes
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return cpu_of_children() - before


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that this one, or who died before, was the parent of."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs=2, metavar=("FEW", "MANY"), default=[1, 9])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # what a run's killed sandboxes leave counts too
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as cache:
        run_team(Setup(1, 0.01), cache)
        few, many = options.tasks
        figures = measure_costs(few, many, cache)
    pairs = "  ".join(f"{name} {value}" for name, value in figures.items())
    sys.stdout.write((json.dumps(figures) if options.json else pairs) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
