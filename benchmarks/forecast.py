"""How near forecasts come to what is spent: runs in one repository, one after the other, each with its forecast.

    python -m benchmarks.forecast [--runs 10] [--json]

Runs the real command against a scripted model, each time with a plan of two to five tasks of effort 1 to 3, in a
bubblewrap sandbox, with scouts, planning, the reviewer, fixes of what it finds in every third run, and release notes. The
turns of a task depend on its effort and on chance with a fixed seed. Prices are those that ship. The first forecast rests
on assumptions about real models, which this one is not; from the second run on it rests on the runs before.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.budgets import REPORT
from benchmarks.homes import commit_all, write_provider
from codexteam.adapters.store.journal import read_events
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.report.progress import Progress
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread

_SHIP: JSONObject = {"verdict": "ship", "summary": "fine", "findings": [], "risks": []}
_FINDING: JSONObject = {
    "title": "the file has no title",
    "detail": "add one",
    "severity": "must_fix",
    "category": "correctness",
    "file": "README.md",
    "line": 1,
    "suggestion": None,
    "paths": ["title.txt"],
}


@dataclass
class Play:
    """The model of one run."""

    number: int
    chance: random.Random
    efforts: list[int] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.efforts = [self.chance.randint(1, 3) for _ in range(self.chance.randint(2, 5))]

    def __call__(self, call: Call) -> Played:
        match call.purpose:
            case "scout":
                report: JSONObject = {"summary": "small", "files": [], "ci": [], "next_probes": []}
                return self._after(call, f"scout.{call.attempt}", self.chance.randint(2, 4), report)
            case "plan":
                return self._after(call, "plan", self.chance.randint(1, 3), self._plan(), output=2_000)
            case "replan":
                task = self._task("T90", 1, ["title.txt"], fixes=["F1"])
                return [message({"summary": "fix", "tasks": [task], "later": [], "risks": [], "questions": []})]
            case "review":
                verdict = _SHIP
                if self.number % 3 == 0 and call.attempt == 1:
                    verdict = {**_SHIP, "verdict": "block", "findings": [_FINDING]}
                return self._after(call, f"review.{call.attempt}", self.chance.randint(2, 3), verdict)
            case "implement" | "resolve":
                number = int(call.task_id.removeprefix("T"))
                effort = self.efforts[number - 1] if number <= len(self.efforts) else 1
                turns = effort * 3 + self.chance.randint(0, 3)
                return self._after(call, f"{call.task_id}.{call.attempt}", turns, REPORT, write=True)
            case _:
                return [message({"notes": "done", "summary": "done", "files": []})]

    def _after(
        self, call: Call, name: str, turns: int, answer: JSONObject, *, output: int = 300, write: bool = False
    ) -> Reply:
        turns = self.turns.setdefault(name, turns)
        if call.turn >= turns:
            return Reply([message(answer)], output_tokens=output)
        file = f"{call.task_id.lower()}.txt" if call.task_id != "T90" else "title.txt"
        command = f"echo {call.turn} >> {file}" if write else "cat README.md"
        return Reply([function_call("exec_command", {"cmd": command})], output_tokens=self.chance.randint(200, 900))

    def _plan(self) -> JSONObject:
        tasks: list[JSONValue] = [
            self._task(f"T{number}", effort, [f"t{number}.txt"]) for number, effort in enumerate(self.efforts, start=1)
        ]
        return {"summary": "files", "tasks": tasks, "later": [], "risks": [], "questions": []}

    @staticmethod
    def _task(name: str, effort: int, paths: list[JSONValue], fixes: list[JSONValue] | None = None) -> JSONObject:
        return {
            "id": name,
            "title": f"Write {paths[0]}",
            "description": "",
            "role": "implementer",
            "deps": [],
            "paths": paths,
            "acceptance": [],
            "effort": effort,
            "fixes": fixes or [],
        }


def measure(number: int, root: Path, home: Path, chance: random.Random) -> JSONObject:
    """Run once; give its forecast and what it spent."""
    play = Play(number, chance)
    with serve_in_thread(play) as api:
        write_provider(home, api.base_url, "gpt-5.4")
        (home / "codexteam.config.toml").write_text(
            '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\nenabled = ["reviewer"]\nallow_unchecked = true\n'
            "[codexteam.limits]\nmax_scouts = 2\n"
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "CODEX_HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "NO_COLOR": "1",
        }
        # one scout reads how it is built, one the code; a plan.md of the run before is taken over
        command = [
            sys.executable,
            "-m",
            "codexteam",
            "run",
            "--quiet",
            f"Write some text files, for the {number}. time now",
        ]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"run {number} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    newest = max(root.glob(".git/codexteam/runs/*/events.jsonl"), key=lambda path: path.stat().st_mtime)
    progress = Progress()
    for event in read_events(newest):
        progress.take(event)
    if progress.forecast is None:
        raise SystemExit(f"run {number} made no forecast")
    held = progress.forecast.as_json(
        spent_tokens=progress.usage.total_tokens, spent_usd=progress.usd, spent_credits=progress.credits
    )
    return {"run": number, "tasks": len(play.efforts), "effort": sum(play.efforts), **held}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        root, home = Path(folder, "repository"), Path(folder, "home")
        root.mkdir()
        home.mkdir()
        Path(root, "README.md").write_text("Text files.\n" * 50)
        commit_all(root)
        if not options.json:
            sys.stdout.write("| run | tasks | effort | rests on | expected | worst | spent | spent/expected |\n")
            sys.stdout.write("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |\n")
        for number in range(1, options.runs + 1):
            found = measure(number, root, home, chance)
            sys.stdout.write((json.dumps(found) if options.json else _row(found)) + "\n")
            sys.stdout.flush()
    return 0


def _row(found: JSONObject) -> str:
    usd = found["usd"]
    if not isinstance(usd, dict):
        raise SystemExit("the price is unknown")
    figures = [usd["expected"], usd["worst"], usd["spent"]]
    rests = f"{found['runs']} runs" if found["runs"] else "assumptions"
    cells = [found["run"], found["tasks"], found["effort"], rests, *(f"${figure:.3f}" for figure in figures)]
    return "| " + " | ".join(map(str, (*cells, f"{usd['spent_of_expected']:.2f}"))) + " |"


if __name__ == "__main__":
    sys.exit(main())
