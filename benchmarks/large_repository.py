"""What a large repository costs a run: CPU time of all processes, against a small one.

    python -m benchmarks.large_repository [--files 50000] [--history-megabytes 200] [--tasks 1 5] [--json]

Makes a repository of so many files with so much history, and runs the team of `benchmarks.team` in it: twice with few
tasks from one commit, where only the first run has to check the base out; once with many; and once after one more commit.
The same in a repository of one file. A busy machine hardly changes these figures.
"""

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.team import Setup, run_team_in
from benchmarks.team_costs import PR_SET_CHILD_SUBREAPER, cpu_of_children

_FILES_IN_A_FOLDER = 50


def make_repository(root: Path, files: int, history_megabytes: int) -> None:
    """Make it with one process: each commit of the history replaces one megabyte that does not compress."""
    root.mkdir()
    subprocess.run(("git", "init", "-q", "-b", "main"), cwd=root, check=True)
    done = subprocess.run(
        ("git", "fast-import", "--quiet"), cwd=root, input=b"".join(_stream(files, history_megabytes)), check=False
    )
    if done.returncode:
        raise SystemExit(f"git fast-import ended with {done.returncode}")
    subprocess.run(("git", "reset", "-q", "--hard"), cwd=root, check=True)


def _stream(files: int, history_megabytes: int) -> Iterator[bytes]:
    chance = random.Random(1)
    for number in range(max(history_megabytes, 1)):
        yield b"commit refs/heads/main\ncommitter b <b@x> %d +0000\ndata 1\nc\n" % (1_700_000_000 + number)
        if number == 0:
            for each in range(files):
                text = b"".join(b"line %d of file %d\n" % (line, each) for line in range(chance.randrange(10, 100)))
                path = b"part%d/folder%d/file%d.txt" % (each % 20, each // _FILES_IN_A_FOLDER, each)
                yield b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(text), text)
        if history_megabytes:
            yield b"M 100644 inline large.bin\ndata %d\n" % (1 << 20) + chance.randbytes(1 << 20) + b"\n"


def measure(root: Path, cache: str, few: int, many: int) -> dict[str, float]:
    """Run four times in a repository; give the CPU seconds of each, and of a task."""
    figures = {}
    for name, tasks in (("first_run", few), ("second_run", few), ("run_of_many", many)):
        figures[f"{name}_cpu_seconds"] = _run(root, cache, tasks)
    (root / "README.md").write_text("one more commit\n")
    for argv in (("add", "README.md"), ("-c", "user.name=b", "-c", "user.email=b@x", "commit", "-qm", "one more")):
        subprocess.run(("git", *argv), cwd=root, check=True)
    figures["run_after_a_commit_cpu_seconds"] = _run(root, cache, few)
    more = figures["run_of_many_cpu_seconds"] - figures["second_run_cpu_seconds"]
    figures["cpu_seconds_a_task"] = round(more / (many - few), 3)
    return figures


def _run(root: Path, cache: str, tasks: int) -> float:
    before = cpu_of_children()
    run_team_in(root, Setup(tasks, 0.1, width=min(tasks, 16)), cache)
    (root / "plan.md").unlink(missing_ok=True)
    while True:  # processes whose parents have gone end with their sandboxes
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return round(cpu_of_children() - before, 2)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--history-megabytes", type=int, default=200)
    parser.add_argument("--tasks", type=int, nargs=2, metavar=("FEW", "MANY"), default=[1, 5])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        few, many = options.tasks
        for name, files, megabytes in (("small", 1, 0), ("large", options.files, options.history_megabytes)):
            root = Path(folder, name)
            make_repository(root, files, megabytes)
            if name == "small":
                _run(root, folder, few)  # byte code
            figures = {"repository": name, "files": files, **measure(root, folder, few, many)}
            pairs = "  ".join(f"{key} {value}" for key, value in figures.items())
            sys.stdout.write((json.dumps(figures) if options.json else pairs) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
