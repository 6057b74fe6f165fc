"""Wall time of a whole run over its critical path, for 1, 8 and 64 tasks at once.

    python -m benchmarks.team [--tasks 1 8 64] [--turn-seconds 0.5] [--width N] [--json]
    python -m benchmarks.team --tasks 16 --width 8 --acceptance-seconds 2 [--failing 3]

Runs the real command on a fresh repository with a plan of independent tasks: each agent takes four turns of a fixed
latency (two commands, a patch, its answer) in a bubblewrap sandbox. Gates, scouts and acceptance commands are off, so the
critical path is four turns; what comes on top is start-up, sandboxes, taking work out, merging and the store. How long the
first request takes, and the end after the last answer, is given as well.

With `--acceptance-seconds` each task has a command of its own that sleeps so long on the merged tree, and what counts is
when the last merge comes after the last task was handed in. `--failing` tasks of them, spread evenly, never pass.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.homes import commit_all, write_provider
from codexteam.adapters.store.journal import read_events
from codexteam.core.ids import JSONObject, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.plan_md import Header, new_document, render
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread

TURNS = 4


def _play(turn_seconds: float, asked: list[float]) -> Callable[[Call], Played]:
    def play(call: Call) -> Played:
        asked.append(time.monotonic())
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


@dataclass(frozen=True)
class Setup:
    """What is run."""

    tasks: int
    turn_seconds: float = 0.5
    width: int = 0
    """Agents at once; 0: as many as there are tasks."""
    acceptance_seconds: float = 0.0
    """0: no acceptance commands."""
    failing: int = 0

    def plan(self) -> tuple[Task, ...]:
        """Give the tasks; each writes a file of its own."""
        made = []
        red = {round((place + 0.5) * self.tasks / self.failing) for place in range(self.failing)}
        for n in range(1, self.tasks + 1):
            command = f"sleep {self.acceptance_seconds}; test -f {'no-' if n in red else ''}t{n}.txt"
            acceptance = (Acceptance("it is there", command),) if self.acceptance_seconds else ()
            made.append(Task(TaskId(f"T{n}"), f"task {n}", paths=(f"t{n}.txt",), acceptance=acceptance))
        return tuple(made)


@dataclass(frozen=True)
class TeamRun:
    """What one run of the command took."""

    wall_seconds: float
    first_request_seconds: float
    """From the command to the first request to the model."""
    end_seconds: float
    """From the model's last answer to the end of the process."""
    events: list[tuple[str, float]]
    """Kind and time of each."""


def run_team(setup: Setup, cache: str, *, prefix: Sequence[str] = ()) -> TeamRun:
    """Run once in a repository of one file, behind the command `prefix`, with byte code kept in the folder `cache`."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        root = Path(folder, "repository")
        root.mkdir()
        Path(root, "README.md").write_text("# bench\n")
        commit_all(root)
        return run_team_in(root, setup, cache, prefix=prefix)


def run_team_in(root: Path, setup: Setup, cache: str, *, prefix: Sequence[str] = ()) -> TeamRun:
    """Run once in the repository `root`."""
    tasks, turn_seconds = setup.tasks, setup.turn_seconds
    asked: list[float] = []
    play = _play(turn_seconds, asked)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(play) as api:
        home = Path(folder, "home")
        home.mkdir()
        plan = Path(folder, "plan.md")
        plan.write_text(render(new_document(Plan("bench", tasks=setup.plan()), Header("bench", "0" * 40, "none"))))
        write_provider(home, api.base_url)
        Path(home, "codexteam.config.toml").write_text(
            f"[codexteam.limits]\nmax_threads = {setup.width or tasks}\nmax_scouts = 0\nbatch_size = {tasks}\n"
            "max_attempts = 1\n"
            '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\nenabled = []\nallow_unchecked = true\n'
        )
        command = (*prefix, sys.executable, "-m", "codexteam", "run", "--quiet", "--plan", str(plan))
        checkout = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": checkout, "CODEX_HOME": str(home), "NO_COLOR": "1"}
        # as an installed program has it: without byte code the client's import alone takes seconds
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = cache
        started = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        ended = time.monotonic()
        file = max(root.glob(".git/codexteam/runs/*/events.jsonl"), key=lambda path: path.stat().st_mtime, default=None)
        at = [(event.kind, event.at_seconds) for event in read_events(file)] if file else []
        if done.returncode != (3 if setup.failing else 0):
            raise SystemExit(f"the run ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return TeamRun(ended - started, asked[0] - started, ended - asked[-1] - turn_seconds, at)


def measure(setup: Setup, cache: str) -> dict[str, float | int]:
    """Run once, with byte code kept in the folder `cache`; give the figures."""
    done = run_team(setup, cache)
    tasks, at = setup.tasks, done.events
    if setup.acceptance_seconds:
        handed_in = max(t for kind, t in at if kind == "task.accepted")
        merged = [t for kind, t in at if kind == "task.merged"]
        return {
            "tasks": tasks,
            "width": setup.width or tasks,
            "acceptance_seconds": setup.acceptance_seconds,
            "failing": setup.failing,
            "merged": len(merged),
            "last_merge_after_last_hand_in_seconds": round(max(merged) - handed_in, 2),
            "acceptance_runs": sum(kind == "acceptance.checked" for kind, _ in at),
            "whole_command_seconds": round(done.wall_seconds, 2),
            "load_average": round(os.getloadavg()[0], 1),
        }
    path = TURNS * setup.turn_seconds
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
        "whole_command_seconds": round(done.wall_seconds, 2),
        "first_request_seconds": round(done.first_request_seconds, 2),
        "end_seconds": round(done.end_seconds, 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    parser.add_argument("--width", type=int, default=0, help="agents at once; as many as tasks if it is not given")
    parser.add_argument("--acceptance-seconds", type=float, default=0.0)
    parser.add_argument("--failing", type=int, default=0, help="tasks that never pass their acceptance")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as cache:
        measure(Setup(1, 0.01), cache)
        for tasks in options.tasks:
            setup = Setup(
                tasks, options.turn_seconds, options.width, options.acceptance_seconds, min(options.failing, tasks)
            )
            figures = measure(setup, cache)
            pairs = "  ".join(f"{name} {value}" for name, value in figures.items())
            sys.stdout.write((json.dumps(figures) if options.json else pairs) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
