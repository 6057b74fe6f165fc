"""Wall time of a whole run over its critical path, for 1, 8 and 64 tasks at once.

    python -m benchmarks.team [--tasks 1 8 64] [--turn-seconds 0.5] [--json]

Runs the real command on a fresh repository with a plan of independent tasks: each agent takes four turns of a fixed
latency (two commands, a patch, its answer) in a bubblewrap sandbox. Gates, scouts and acceptance commands are off, so the
critical path is four turns; what comes on top is start-up, sandboxes, taking work out, merging and the store.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from codexteam.app.history import read_events
from codexteam.core.ids import TaskId
from codexteam.core.json_types import JSONObject
from codexteam.core.plan import Plan, Task
from codexteam.core.plan_md import Header, new_document, render
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread

TURNS = 4


def _play(turn_seconds: float) -> "object":
    def play(call: Call) -> Played:
        name = call.task_id.lower()
        match call.turn:
            case 1:
                items = [function_call("exec_command", {"cmd": f"echo {name} > {name}.txt"})]
            case 2:
                items = [function_call("exec_command", {"cmd": f"cat {name}.txt"})]
            case 3:
                items = [function_call("exec_command", {"cmd": f"echo more >> {name}.txt"})]
            case _:
                report: JSONObject = {
                    "status": "done",
                    "summary": name,
                    "commands": [],
                    "question": None,
                    "later": [],
                    "risks": [],
                }
                items = [message(report)]
        return Reply(items, latency_seconds=turn_seconds)

    return play


def measure(tasks: int, turn_seconds: float, cache: str) -> dict[str, float | int]:
    """Run once, with byte code kept in the folder `cache`; give the figures."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(_play(turn_seconds)) as api:  # type: ignore[arg-type]
        root, home = Path(folder, "repository"), Path(folder, "home")
        root.mkdir()
        home.mkdir()
        Path(root, "README.md").write_text("# bench\n")
        for argv in (("init", "-q"), ("add", "."), ("-c", "user.name=b", "-c", "user.email=b@x", "commit", "-qm", "b")):
            subprocess.run(("git", *argv), cwd=root, check=True)
        made = tuple(Task(TaskId(f"T{n}"), f"task {n}", paths=(f"t{n}.txt",)) for n in range(1, tasks + 1))
        plan = Path(folder, "plan.md")
        plan.write_text(render(new_document(Plan("bench", tasks=made), Header("bench", "0" * 40, "none"))))
        Path(home, "config.toml").write_text(
            'model = "bench"\nmodel_provider = "bench"\n[model_providers.bench]\nname = "bench"\n'
            f'base_url = "{api.base_url}"\n'
        )
        Path(home, "codexteam.config.toml").write_text(
            f"[codexteam.limits]\nmax_threads = {tasks}\nmax_scouts = 0\nbatch_size = {tasks}\n"
            '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\nenabled = []\n'
        )
        command: Sequence[str] = (sys.executable, "-m", "codexteam", "run", "--quiet", "--plan", str(plan))
        checkout = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": checkout, "CODEX_HOME": str(home), "NO_COLOR": "1"}
        # as an installed program has it: without byte code the client's import alone takes seconds
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = cache
        started = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        wall = time.monotonic() - started
        files = list(root.glob(".git/codexteam/runs/*/events.jsonl"))
        at = [(event.kind, event.at_seconds) for file in files for event in read_events(file)]
        if done.returncode != 0:
            raise SystemExit(f"the run ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    path = TURNS * turn_seconds
    # the documentation writer and the release manager come after the tasks, and are not on their path
    tasks_seconds = max(t for kind, t in at if kind == "task.merged") - min(
        t for kind, t in at if kind == "task.started"
    )
    return {
        "tasks": tasks,
        "critical_path_seconds": path,
        "tasks_seconds": round(tasks_seconds, 2),
        "tasks_over_critical_path": round(tasks_seconds / path, 2),
        "over_it_seconds_a_task": round((tasks_seconds - path) / tasks, 3),
        "whole_command_seconds": round(wall, 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as cache:
        measure(1, 0.01, cache)
        for tasks in options.tasks:
            figures = measure(tasks, options.turn_seconds, cache)
            pairs = "  ".join(f"{name} {value}" for name, value in figures.items())
            sys.stdout.write((json.dumps(figures) if options.json else pairs) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
