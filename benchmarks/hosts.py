"""Many agents over several hosts, one of which is killed in the middle: what is lost, and what is paid twice.

    python -m benchmarks.hosts [--engines docker:2] [--agents 24] [--turns 6] [--turn-seconds 1.0] [--width N] [--json]

Runs the real command with a scripted model of fixed latency over Docker engines that it starts for itself and ends again
(root and dockerd are needed): all agents on one engine; the same over all of them; and once more with one killed, with all
that runs on it, when half of the turns have been asked. Each agent writes to a file of its own in every turn, and has one
attempt. The trees must be the same, all tasks merged, and no agent may pay more than one turn twice.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.store.journal import read_events
from codexteam.core.ids import JSONObject, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.plan_md import Header, new_document, render
from tests.faults.own_engine import IMAGE, OwnEngine, own_engine
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many agents there are, and what each does."""

    agents: int = 24
    turns: int = 6
    turn_seconds: float = 1.0
    width: int = 0
    """Agents at once; 0: all."""

    def plan(self) -> Plan:
        """Give the tasks; the command that accepts one sees all that its agent wrote, in order."""
        wanted = " ".join(str(turn) for turn in range(1, self.turns))
        tasks = [
            Task(
                TaskId(f"T{n}"),
                f"task {n}",
                paths=(f"t{n}.txt",),
                acceptance=(Acceptance("all of it is there", f'test "$(echo $(cat t{n}.txt))" = "{wanted}"'),),
            )
            for n in range(1, self.agents + 1)
        ]
        return Plan("hosts", tasks=tuple(tasks))


@dataclass(slots=True)
class Asked:
    """Counts what the model was asked, and strikes when half of it was."""

    fleet: Fleet
    strike: Callable[[], None] | None = None
    turns: Counter[tuple[str, int]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _struck: bool = False

    def play(self, call: Call) -> Played:
        """Answer a call: a line into the agent's file, and in the end its report."""
        with self._lock:
            self.turns[(call.task_id, call.turn)] += 1
            half = sum(self.turns.values()) >= self.fleet.agents * self.fleet.turns / 2
            strikes, self._struck = half and not self._struck and self.strike is not None, self._struck or half
        if strikes and self.strike is not None:
            threading.Thread(target=self.strike, daemon=True).start()
        if call.turn < self.fleet.turns:
            line = f"echo {call.turn} >> {call.task_id.lower()}.txt"
            return Reply([function_call("exec_command", {"cmd": line})], latency_seconds=self.fleet.turn_seconds)
        report: JSONObject = {"status": "done", "summary": call.task_id, "commands": [], "question": None}
        return Reply([message({**report, "later": [], "risks": []})], latency_seconds=self.fleet.turn_seconds)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to."""

    what: str
    exit_code: int
    wall_seconds: float
    tasks_seconds: float
    """From the first start of a task to the last merge."""
    merged: int
    tree: str
    agents_on: dict[str, int]
    """Agents that began on each host."""
    losses: int
    """Sandboxes that went away with their host."""
    turns_asked_again: int
    most_asked_again_by_one_agent: int
    notices: tuple[str, ...]
    """What the run said of its hosts."""

    def record(self) -> JSONObject:
        """Give them for JSON."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "notices"},
            "notices": [*self.notices],
        }


def run_over(hosts: Sequence[str], slots: int, fleet: Fleet, what: str, strike: Callable[[], None] | None) -> Figures:
    """Run once in a new repository, over engines at these addresses."""
    asked = Asked(fleet, strike)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(asked.play) as api:
        root, home, plan = Path(folder, "repository"), Path(folder, "home"), Path(folder, "plan.md")
        for each in (root, home):
            each.mkdir()
        Path(root, "README.md").write_text("# bench\n")
        date = "2026-01-01T00:00:00Z"
        fixed = {**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        for argv in (("init", "-q"), ("add", "."), ("-c", "user.name=b", "-c", "user.email=b@x", "commit", "-qm", "b")):
            subprocess.run(("git", *argv), cwd=root, check=True, env=fixed)
        plan.write_text(render(new_document(fleet.plan(), Header("bench", "0" * 40, "none"))))
        Path(home, "config.toml").write_text(
            'model = "bench"\nmodel_provider = "bench"\n[model_providers.bench]\nname = "bench"\n'
            f'base_url = "{api.base_url}"\n'
        )
        engines = "".join(
            f'[[codexteam.sandbox.engines]]\nname = "host{n}"\nhost = "{host}"\nslots = {slots}\n'
            for n, host in enumerate(hosts, start=1)
        )
        Path(home, "codexteam.config.toml").write_text(
            f"[codexteam.limits]\nmax_threads = {fleet.width or fleet.agents}\nmax_scouts = 0\nbatch_size = {fleet.agents}\n"
            'max_attempts = 1\n[codexteam.gates]\nenabled = []\nallow_unchecked = true\nuntested = "allow"\n'
            '[codexteam.steps]\ndocumentation = "off"\nrelease = "off"\n'
            f'[codexteam.sandbox]\nkind = "docker"\nimage = "{IMAGE}"\nbuild_environment = false\n{engines}'
        )
        environment = {**os.environ, "CODEX_HOME": str(home), "NO_COLOR": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        command = (sys.executable, "-m", "codexteam", "run", "--quiet", "--plan", str(plan))
        started = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        wall_seconds = time.monotonic() - started
        return _figures(root, what, done, wall_seconds, asked)


def _figures(
    root: Path, what: str, done: "subprocess.CompletedProcess[str]", wall_seconds: float, asked: Asked
) -> Figures:
    files = [*root.glob(".git/codexteam/runs/*/events.jsonl")]
    if not files:
        raise SystemExit(f"no run began:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    events = [*read_events(files[0])]
    if done.returncode:
        sys.stderr.write(f"{what} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    begun = [event.at_seconds for event in events if event.kind == "task.started"]
    merged = [event.at_seconds for event in events if event.kind == "task.merged"]
    again: Counter[str] = Counter()
    for (task, _), count in asked.turns.items():
        again[task] += count - 1
    tree = subprocess.run(
        ("git", "rev-parse", f"codexteam/{files[0].parent.name}^{{tree}}"),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return Figures(
        what,
        done.returncode,
        round(wall_seconds, 2),
        round(max(merged) - min(begun), 2) if merged else 0.0,
        len(merged),
        tree.stdout.strip(),
        dict(sorted(Counter(filter(None, map(_host, events))).items())),
        sum(_is_loss(event.kind, event.fields) for event in events),
        sum(again.values()),
        max(again.values(), default=0),
        tuple(text for event in events if event.kind == "notice" and "host" in (text := str(event.fields["text"]))),
    )


def _host(event: object) -> str:
    receipt = getattr(event, "fields", {}).get("receipt")
    started = receipt.get("started_sandbox") if isinstance(receipt, dict) else None
    return str(started.get("host", "")) if isinstance(started, dict) else ""


def _is_loss(kind: str, fields: JSONObject) -> bool:
    return kind == "agent.waiting" and str(fields.get("reason", "")).startswith("its host went away")


def measure(count: int, fleet: Fleet, report: Callable[[Figures], None], *, kill_only: bool = False) -> list[Figures]:
    """Run over one engine, over `count`, and over `count` of which one is killed; `kill_only` leaves the second out.

    Each engine has room for all agents, so that the others take over what the dead one had.
    """
    found: list[Figures] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codexteam-hosts-")))
        engines: list[OwnEngine] = [stack.enter_context(own_engine(folder / f"host{n}")) for n in range(1, count + 1)]
        hosts = [engine.host for engine in engines]
        runs: list[tuple[str, list[str], Callable[[], None] | None]] = [("one host", hosts[:1], None)]
        if not kill_only:
            runs.append((f"{count} hosts", hosts, None))
        runs.append((f"{count} hosts, one killed", hosts, engines[-1].die))
        for what, which, strike in runs:
            found.append(run_over(which, fleet.width or fleet.agents, fleet, what, strike))
            report(found[-1])
    return found


def problems(found: Sequence[Figures], fleet: Fleet) -> list[str]:
    """Say what is not as it must be."""
    wrong = []
    for each in found:
        if each.exit_code or each.merged != fleet.agents:
            wrong.append(f"{each.what}: exit code {each.exit_code}, {each.merged} of {fleet.agents} merged")
        if each.tree != found[0].tree:
            wrong.append(f"{each.what}: the tree is another one than {found[0].what}'s")
        if each.most_asked_again_by_one_agent > 1:
            wrong.append(f"{each.what}: one agent paid {each.most_asked_again_by_one_agent} turns twice")
    if found and "killed" in found[-1].what and not found[-1].losses:
        wrong.append(f"{found[-1].what}: no agent was on it")
    return wrong


def main() -> int:
    """Measure, print, and say whether it is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="docker:2", metavar="KIND:N", help="docker:N, N engines of its own")
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=0, help="agents at once; all of them if it is not given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kind, _, number = options.engines.partition(":")
    if kind != "docker" or not number.isdigit() or int(number) < 2:
        parser.error(f"--engines {options.engines}: give docker:N with at least two, such as docker:2")
    fleet = Fleet(options.agents, options.turns, options.turn_seconds, options.width)

    def report(figures: Figures) -> None:
        record = figures.record()
        line = json.dumps(record) if options.json else "  ".join(f"{name} {value}" for name, value in record.items())
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    wrong = problems(measure(int(number), fleet, report), fleet)
    for each in wrong:
        sys.stderr.write(f"{each}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
