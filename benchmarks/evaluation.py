"""An evaluation whose truth is known: exercises, and scripted models that resolve a known share of them.

    python -m benchmarks.evaluation [--tasks 34] [--rates 75 25] [--jobs 2] [--json]

Each model resolves each exercise with its rate's probability, drawn once for each run. The real command evaluates it: an
arm of the team for each rate, and one agent alone with the first. Reported is what `codexteam eval` says: rates with their
intervals, whether those hold the truth, and which differences it shows. Teams of one rate differ only by chance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.homes import write_provider
from tests.e2e.eval_exercises import TEAM, make_exercises, play
from tests.scripted_api import serve_in_thread


def evaluate(tasks: int, rates: list[int], jobs: int) -> tuple[dict[str, Any], float]:
    """Evaluate, and return what the command says at the end, and the seconds that it took."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(play) as api:
        home = Path(folder, "home")
        home.mkdir()
        write_provider(home, api.base_url, "rate-0")
        (home / "codexteam.config.toml").write_text(TEAM)
        suite = make_exercises(Path(folder, "exercises"), tasks)
        words = [sys.executable, "-m", "codexteam", "eval", str(suite), "-o", str(Path(folder, "evaluation"))]
        for rate in rates:
            words += ["--arm", f"team-{rate}=team: -m rate-{rate}"]
        words += ["--arm", f"solo: -m rate-{rates[0]}", "--jobs", str(jobs), "--budget", "none", "--json"]
        environment = {**os.environ, "CODEX_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
        began = time.monotonic()
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    report = next((line for line in lines if line.get("type") == "eval"), None)
    if done.returncode or report is None:
        raise SystemExit(f"the evaluation ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return report, seconds


def figures(report: dict[str, Any], rates: list[int], seconds: float) -> dict[str, Any]:
    """Say of each arm what was found, beside the truth."""
    truth = {f"team-{rate}": rate / 100 for rate in rates} | {"solo": rates[0] / 100}
    arms: dict[str, Any] = {}
    for arm in report["arms"]:
        low, high = arm["interval_95"]
        name = str(arm["arm"])
        arms[name] = {
            "resolved": f"{arm['resolved']}/{arm['trials']}",
            "interval_95": [round(low, 3), round(high, 3)],
            "truth": truth[name],
            "holds_it": bool(low <= truth[name] <= high),
        }
    compared = [{key: one[key] for key in ("first", "second", "p_value", "shown")} for one in report["comparisons"]]
    return {"arms": arms, "comparisons": compared, "seconds": round(seconds, 1)}


def main() -> int:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=34)
    parser.add_argument("--rates", type=int, nargs="+", default=[75, 25], metavar="PERCENT")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report, seconds = evaluate(options.tasks, options.rates, options.jobs)
    found = figures(report, options.rates, seconds)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    arms, compared = found["arms"], found["comparisons"]
    lines = [f"{name:10} {json.dumps(arm)}" for name, arm in arms.items()]
    lines += [json.dumps(one) for one in compared]
    sys.stdout.write("\n".join([*lines, f"{found['seconds']} s"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
