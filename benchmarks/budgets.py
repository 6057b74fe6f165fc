"""What a run finishes with too little budget, at several widths: tasks merged, tokens left, and how it ended.

    python -m benchmarks.budgets [--tasks 20] [--widths 1 6 20] [--percent 10 25 50 75 90 100] [--usd] [--json]

Runs the real command on a fresh repository with a plan of independent tasks, each in a bubblewrap sandbox, against a
scripted model. Tasks take two to four turns, so that some cost twice what others do. A first run without a limit tells
what all of it costs; the others get a part of that. A call is reserved with its whole output of up to 32,000 tokens,
and 5 % of a limit is kept for hand-overs, so even 100 % of the cost does not hold every call of the last task. What is
to be seen: no wider run merges fewer tasks than width 1 does, no task fails, and no limit is passed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.homes import commit_all, write_provider
from codexteam.adapters.store.journal import read_events
from codexteam.core.ids import JSONObject, TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.plan_md import Header, new_document, render
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread

#: USD for a million tokens.
_INPUT_USD, _OUTPUT_USD = 2.5, 15.0
REPORT: JSONObject = {
    "status": "done",
    "summary": "done",
    "commands": [],
    "question": None,
    "later": [],
    "risks": [],
}


def _play(call: Call) -> Played:
    name = call.task_id.lower()
    if call.purpose != "implement":
        return [message(REPORT)]
    turns = 2 + int(call.task_id.removeprefix("T")) % 3
    if call.turn < turns:
        return Reply([function_call("exec_command", {"cmd": f"echo more >> {name}.txt"})], latency_seconds=0.05)
    return Reply([message(REPORT)], latency_seconds=0.05)


def measure(tasks: int, width: int, budget: str | None, cache: str) -> JSONObject:
    """Run once with a budget, or without one; give the figures."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(_play) as api:
        root, home = Path(folder, "repository"), Path(folder, "home")
        root.mkdir()
        home.mkdir()
        Path(root, "AGENTS.md").write_text("Keep to the rules of this place.\n" * 600)
        commit_all(root)
        made = tuple(Task(TaskId(f"T{n}"), f"task {n}", paths=(f"t{n}.txt",)) for n in range(1, tasks + 1))
        plan = Path(folder, "plan.md")
        plan.write_text(render(new_document(Plan("bench", tasks=made), Header("bench", "0" * 40, "none"))))
        write_provider(home, api.base_url)
        Path(home, "codexteam.config.toml").write_text(
            f"[codexteam.limits]\nmax_threads = {width}\nmax_scouts = 0\nbatch_size = {tasks}\n"
            '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\nenabled = []\nallow_unchecked = true\n'
            f"[codexteam.prices.bench]\ninput_usd = {_INPUT_USD}\noutput_usd = {_OUTPUT_USD}\n"
        )
        command = [sys.executable, "-m", "codexteam", "run", "--quiet", "--plan", str(plan)]
        command += ["--budget", budget] if budget else []
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "CODEX_HOME": str(home),
            "NO_COLOR": "1",
            "PYTHONPYCACHEPREFIX": cache,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        started = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        wall = time.monotonic() - started
        if done.returncode not in {0, 4}:
            raise SystemExit(f"the run ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        files = list(root.glob(".git/codexteam/runs/*/events.jsonl"))
        events = [event for file in files for event in read_events(file)]
    kinds = [event.kind for event in events]
    turns = [event.fields for event in events if event.kind == "agent.turn"]
    usages = [usage for turn in turns if isinstance(usage := turn.get("usage"), dict)]
    return {
        "exit_code": done.returncode,
        "merged": kinds.count("task.merged"),
        "failed_attempts": kinds.count("task.attempt_failed"),
        "tokens": sum(_count(usage, "input_tokens") + _count(usage, "output_tokens") for usage in usages),
        "usd": round(sum(usd for turn in turns if isinstance(usd := turn.get("usd"), float)), 4),
        "seconds": round(wall, 1),
    }


def _count(usage: JSONObject, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 6, 20])
    parser.add_argument("--percent", type=int, nargs="+", default=[10, 25, 50, 75, 90, 100])
    parser.add_argument("--usd", action="store_true", help="Limit dollars instead of tokens.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    unit = "usd" if options.usd else "tokens"
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as cache:
        whole = measure(options.tasks, max(options.widths), None, cache)
        need = float(str(whole[unit]))
        if not options.json:
            sys.stdout.write(f"{options.tasks} tasks need {need:,.4g} {unit}\n\n")
            sys.stdout.write("| percent | width | exit | merged | failed attempts | left | seconds |\n")
            sys.stdout.write("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
        for percent in options.percent:
            limit = need * percent / 100
            for width in options.widths:
                budget = f"{limit:.4f}usd" if options.usd else f"{int(limit)}tokens"
                figures = measure(options.tasks, width, budget, cache)
                left = limit - float(str(figures[unit]))
                shown = f"${left:.3f}" if options.usd else f"{left:,.0f}"
                cells = (percent, width, figures["exit_code"], figures["merged"], figures["failed_attempts"], shown)
                row = "| " + " | ".join(map(str, (*cells, figures["seconds"]))) + " |"
                line = json.dumps({"percent": percent, "width": width, "left": round(left, 4), **figures})
                sys.stdout.write((line if options.json else row) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
