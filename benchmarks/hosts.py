"""Many agents over several hosts, one of which is killed in the middle: what is lost, and what is paid twice.

    python -m benchmarks.hosts [--engines docker:2 | ray:3] [--agents 24] [--turns 6] [--turn-seconds 1.0] [--width N] [--json]

Runs the real command with a scripted model of fixed latency over Docker engines, or on nodes of a Ray cluster, that it starts
for itself and ends again (root and dockerd are needed, or bubblewrap and codexteam[ray]): all agents on one engine, or on this
machine alone; the same over all of them; and once more with one killed, with all that runs on it, in the middle of the work.
Each agent writes to a file of its own in every turn, and has one attempt. The tree must be what all work comes to, all tasks
merged, and no agent may pay more than one turn twice.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.homes import commit_all, write_provider
from codexteam.adapters.store.journal import read_events
from codexteam.core.ids import JSONObject, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.plan_md import Header, new_document, render
from tests.faults.own_engine import IMAGE, own_engine
from tests.scripted_api import Call, Played, Reply, function_call, message, serve_in_thread
from tests.support_ray import RayCluster, ray_cluster

_README, _README_TEXT = "README.md", "# bench\n"


def _git(repository: Path, *argv: str, given: str = "") -> str:
    done = subprocess.run(("git", *argv), cwd=repository, input=given, capture_output=True, text=True, check=False)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many agents there are, and what each does."""

    agents: int = 24
    turns: int = 6
    turn_seconds: float = 1.0
    width: int = 0
    """Agents at once; 0: all."""

    @property
    def middle(self) -> int:
        """Return the turn before whose command agents wait for each other."""
        return self.turns // 2 + 1

    def tree(self, repository: Path) -> str:
        """Return the id of the tree that all work must come to, whatever happens."""
        written = "".join(f"{turn}\n" for turn in range(1, self.turns))
        files = {_README: _README_TEXT, **{f"t{n}.txt": written for n in range(1, self.agents + 1)}}
        lines = []
        for name, text in files.items():
            blob = _git(repository, "hash-object", "-w", "--stdin", given=text)
            lines.append(f"100644 blob {blob}\t{name}\n")
        return _git(repository, "mktree", given="".join(lines))

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


class Asked:
    """Counts what the model was asked. In the middle agents wait for each other, then it strikes."""

    def __init__(self, fleet: Fleet, strike: Callable[[], None] | None = None) -> None:
        self.turns: Counter[tuple[str, int]] = Counter()
        self.fleet = fleet
        self._strike = strike
        self._in_the_middle: set[str] = set()
        self._all_there = asyncio.Event()

    async def play(self, call: Call) -> Played:
        """Answer a call: a line into the agent's file, and in the end its report."""
        self.turns[(call.task_id, call.turn)] += 1
        fleet = self.fleet
        if call.turn == fleet.middle:
            self._in_the_middle.add(call.task_id)
            if len(self._in_the_middle) >= (fleet.width or fleet.agents) and not self._all_there.is_set():
                self._all_there.set()
                if self._strike is not None:
                    threading.Thread(target=self._strike, daemon=True).start()
            await self._all_there.wait()
        if call.turn < fleet.turns:
            items = [function_call("exec_command", {"cmd": f"echo {call.turn} >> {call.task_id.lower()}.txt"})]
        else:
            report: JSONObject = {"status": "done", "summary": call.task_id, "commands": [], "question": None}
            items = [message({**report, "later": [], "risks": []})]
        return Reply(items, latency_seconds=fleet.turn_seconds)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to."""

    what: str
    exit_code: int
    wall_seconds: float
    tasks_seconds: float
    """From the first start of a task to the last merge."""
    merged: int
    tree_as_expected: bool
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


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run works on."""

    what: str
    config: str
    """The part of its configuration that says so."""
    environment: Mapping[str, str] = field(default_factory=dict)
    strike: Callable[[], None] | None = None
    """Kills a host."""


def _engines(what: str, hosts: Sequence[str], slots: int, strike: Callable[[], None] | None = None) -> Ground:
    engines = "".join(
        f'[[codexteam.sandbox.engines]]\nname = "host{n}"\nhost = "{host}"\nslots = {slots}\n'
        for n, host in enumerate(hosts, start=1)
    )
    sandbox = f'[codexteam.sandbox]\nkind = "docker"\nimage = "{IMAGE}"\nbuild_environment = false\n'
    return Ground(what, sandbox + engines, strike=strike)


def _bubblewrap(what: str, cluster: RayCluster | None = None, strike: Callable[[], None] | None = None) -> Ground:
    sandbox = '[codexteam.sandbox]\nkind = "bubblewrap"\nbuild_environment = false\n'
    if cluster is None:
        return Ground(what, sandbox)
    executor = f'[codexteam.executor]\nkind = "ray"\naddress = "{cluster.address}"\n'
    return Ground(what, sandbox + executor, cluster.environment, strike)


def run_on(ground: Ground, fleet: Fleet) -> Figures:
    """Run once in a new repository."""
    asked = Asked(fleet, ground.strike)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder, serve_in_thread(asked.play) as api:
        root, home, plan = Path(folder, "repository"), Path(folder, "home"), Path(folder, "plan.md")
        for each in (root, home):
            each.mkdir()
        Path(root, _README).write_text(_README_TEXT)
        commit_all(root)
        plan.write_text(render(new_document(fleet.plan(), Header("bench", "0" * 40, "none"))))
        write_provider(home, api.base_url)
        Path(home, "codexteam.config.toml").write_text(
            f"[codexteam.limits]\nmax_threads = {fleet.width or fleet.agents}\nmax_scouts = 0\nbatch_size = {fleet.agents}\n"
            'max_attempts = 1\n[codexteam.gates]\nenabled = []\nallow_unchecked = true\nuntested = "allow"\n'
            '[codexteam.steps]\ndocumentation = "off"\nrelease = "off"\n'
            f"{ground.config}"
        )
        environment = {**os.environ, **ground.environment, "CODEX_HOME": str(home), "NO_COLOR": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        command = (sys.executable, "-m", "codexteam", "run", "--quiet", "--plan", str(plan))
        started = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        wall_seconds = time.monotonic() - started
        return _figures(root, ground.what, done, wall_seconds, asked)


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
    return Figures(
        what,
        done.returncode,
        round(wall_seconds, 2),
        round(max(merged) - min(begun), 2) if merged else 0.0,
        len(merged),
        _git(root, "rev-parse", f"codexteam/{files[0].parent.name}^{{tree}}") == asked.fleet.tree(root),
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
    """Run over one Docker engine, over `count`, and over `count` of which one is killed; or only the last.

    Each engine has room for all agents, so that the others take over what the dead one had.
    """
    slots = fleet.width or fleet.agents
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codexteam-hosts-")))
        engines = [stack.enter_context(own_engine(folder / f"host{n}")) for n in range(1, count + 1)]
        hosts = [engine.host for engine in engines]
        grounds = [
            _engines("one host", hosts[:1], slots),
            _engines(f"{count} hosts", hosts, slots),
            _engines(f"{count} hosts, one killed", hosts, slots, engines[-1].die),
        ]
        return _measured(grounds[2:] if kill_only else grounds, fleet, report)


def measure_ray(
    count: int, fleet: Fleet, report: Callable[[Figures], None], *, kill_only: bool = False
) -> list[Figures]:
    """Run on this machine alone, on a Ray cluster of `count` nodes, and on one of which one is killed; or only the last.

    Sandboxes are bubblewrap's: a node of Ray that dies takes them with it.
    """
    slots = fleet.width or fleet.agents
    found = [] if kill_only else _measured([_bubblewrap("this machine alone")], fleet, report)
    with ray_cluster(count, slots=slots) as cluster:
        here = [] if kill_only else [_bubblewrap(f"{count} nodes", cluster)]
        killed = _bubblewrap(f"{count} nodes, one killed", cluster, lambda: cluster.die(count))
        return found + _measured([*here, killed], fleet, report)


def _measured(grounds: Sequence[Ground], fleet: Fleet, report: Callable[[Figures], None]) -> list[Figures]:
    found = []
    for ground in grounds:
        found.append(run_on(ground, fleet))
        report(found[-1])
    return found


def problems(found: Sequence[Figures], fleet: Fleet) -> list[str]:
    """Say what is not as it must be."""
    wrong = []
    for each in found:
        if each.exit_code or each.merged != fleet.agents:
            wrong.append(f"{each.what}: exit code {each.exit_code}, {each.merged} of {fleet.agents} merged")
        if not each.tree_as_expected:
            wrong.append(f"{each.what}: the tree is not what all work comes to")
        if each.most_asked_again_by_one_agent > 1:
            wrong.append(f"{each.what}: one agent paid {each.most_asked_again_by_one_agent} turns twice")
    if found and "killed" in found[-1].what and not found[-1].losses:
        wrong.append(f"{found[-1].what}: no agent was on it")
    return wrong


def main() -> int:
    """Measure, print, and say whether it is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--engines", default="docker:2", metavar="KIND:N", help="docker:N, N engines of its own, or ray:N, N nodes"
    )
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=0, help="agents at once; all of them if it is not given")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kind, _, number = options.engines.partition(":")
    if kind not in {"docker", "ray"} or not number.isdigit() or int(number) < 2:
        parser.error(f"--engines {options.engines}: give docker:N or ray:N with at least two, such as docker:2")
    fleet = Fleet(options.agents, options.turns, options.turn_seconds, options.width)

    def report(figures: Figures) -> None:
        record = figures.record()
        line = json.dumps(record) if options.json else "  ".join(f"{name} {value}" for name, value in record.items())
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    measured = (measure_ray if kind == "ray" else measure)(int(number), fleet, report)
    wrong = problems(measured, fleet)
    for each in wrong:
        sys.stderr.write(f"{each}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
