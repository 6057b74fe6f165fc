"""What limits a run of 10, 1,000, 10,000 and 100,000 agents: the real decisions, with a model of everything around them.

    python -m benchmarks.scale [--agents 10 1000 10000] [--costs FILE] [--json]
    python -m benchmarks.scale --measure [--costs FILE]

`core.step` decides, in virtual time. What happens between two decisions is simulated: calls wait for the service's limits
of requests and tokens, sandboxes start on hosts with so many places, hosts pull their image first, and what one process
does (decisions, the turns of its agents, the store, the hub) queues up for it. What these cost is measured on this machine
(`--measure` prints it, and keeps it in FILE), or read from FILE; what the world is like is an assumption, and a flag.

One run may have 10,000 agents at work. More are simulated as so many runs of 10,000, each on a machine of its own, which
share the service's limits.
"""

import argparse
import heapq
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scale_costs import Costs, measure
from benchmarks.scheduler import one_batch
from codexteam.core.effects import (
    AdvanceBranch,
    AskPerson,
    Awaited,
    CheckCandidate,
    Finish,
    Land,
    Prepare,
    RunGate,
    StackCandidate,
    Work,
    WritePlan,
)
from codexteam.core.events import (
    AttemptSucceeded,
    BranchMoved,
    CandidateAccepted,
    CandidateStacked,
    Event,
    GateFinished,
    Landed,
    Planned,
    RunPrepared,
    RunStarted,
    Verdict,
)
from codexteam.core.ids import CommitId, RunId, TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.state import RunState
from codexteam.core.step import step

#: At work in one run, at most (`max_threads`).
MOST_IN_A_RUN = 10_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the world is like: assumptions, all of them flags."""

    places: int = 50
    """Sandboxes that a host has room for at once."""
    turns: int = 20
    """Of each agent."""
    answer_seconds: float = 12.0
    """From a request to the end of its answer."""
    command_seconds: float = 5.0
    """That an agent's commands take in each turn."""
    turn_tokens: int = 6_000
    """Of a turn that count for the service's limit, cached ones left out."""
    tokens_a_minute: float = 30e6
    requests_a_minute: float = 30e3
    acceptance_seconds: float = 30.0
    image_megabytes: int = 1_000
    pull_megabytes_a_second: float = 50.0
    sandbox_start_ms: float = 150.0
    """On a host, of which two start at once."""


@dataclass(slots=True)
class Queue:
    """Something that does one thing after the other."""

    lanes: int = 1
    _free_at: list[float] = field(default_factory=list)
    busy_seconds: float = 0.0

    def take(self, now: float, seconds: float) -> float:
        """Return when something of that length is done that comes now."""
        if len(self._free_at) < self.lanes:
            self._free_at += [0.0] * (self.lanes - len(self._free_at))
            heapq.heapify(self._free_at)
        begins = max(now, heapq.heappop(self._free_at))
        heapq.heappush(self._free_at, begins + seconds)
        self.busy_seconds += seconds
        return begins + seconds


class Simulation:
    """One run of `tasks` independent tasks, all of which may be at work, on as many hosts as they need."""

    def __init__(self, tasks: int, costs: Costs, around: Surroundings, *, share: int = 1) -> None:
        """Take the costs and the world; `share` runs have the service's limits together."""
        self.tasks, self.costs, self.around, self.share = tasks, costs, around, share
        hosts = -(-tasks // around.places)
        self.decision_seconds = costs.decision_ms(tasks) / 1_000
        self.process, self.store = Queue(), Queue()
        self.hub, self.merging = Queue(4), Queue()
        self.tokens, self.requests = Queue(), Queue()
        self.starts = [Queue(2) for _ in range(hosts)]
        self.pulled_seconds = around.image_megabytes / around.pull_megabytes_a_second
        self.room = [around.places] * hosts
        self.waiting: deque[Callable[[float], None]] = deque()
        self.heap: list[tuple[float, int, Callable[[float], None]]] = []
        self.count = self.decisions = 0
        self.state = RunState(RunId("scale"), "goal", one_batch(tasks, tasks))

    def at(self, when: float, what: Callable[[float], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, what))

    def run(self) -> float:
        """Return after how many seconds the run is over."""
        plan = Plan("goal", tasks=tuple(self._task(number) for number in range(1, self.tasks + 1)))
        self.state, _ = step(self.state, Planned(plan))
        self._decide(0.0, RunStarted())
        now = 0.0
        while self.heap:
            now, _, what = heapq.heappop(self.heap)
            what(now)
        assert self.state.result is not None
        return now

    def _task(self, number: int) -> Task:
        name = f"T{number}"
        return Task(
            TaskId(name), name, paths=(f"src/{name}.py",), acceptance=(Acceptance("it works", f"check {number}"),)
        )

    def _decide(self, now: float, event: Event) -> None:
        """Let the core decide, once the process gets to it, and begin what follows."""
        done = self.process.take(now, self.decision_seconds)
        self.state, effects = step(self.state, event)
        self.decisions += 1
        for effect in effects:
            if not isinstance(effect, AskPerson | WritePlan | Finish):
                self.at(done, lambda when, effect=effect: self._begin(when, effect))  # type: ignore[misc]

    def _answer(self, when: float, event: Event, effect: Awaited) -> None:
        def arrive(now: float) -> None:
            if effect.key in self.state.in_flight:  # else a decision took it back
                self._decide(now, event)

        self.at(when, arrive)

    def _begin(self, now: float, effect: Awaited) -> None:
        commit = CommitId(f"{self.count:040x}")
        match effect:
            case Prepare():
                self._answer(now + 1.0, RunPrepared(commit), effect)
            case Work():
                self._place(now, effect)
            case StackCandidate():
                done = self.merging.take(now, self.costs.merge_ms / 1_000)
                self._answer(done, CandidateStacked(effect.task_id, effect.attempt, effect.number, commit), effect)
            case CheckCandidate():
                accepted = CandidateAccepted(effect.task_id, effect.attempt, effect.number)
                self._answer(now + self.around.acceptance_seconds, accepted, effect)
            case AdvanceBranch():
                self._answer(
                    self.merging.take(now, self.costs.merge_ms / 1_000),
                    BranchMoved(effect.commit, effect.merges),
                    effect,
                )
            case RunGate():
                verdict = GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, ran=1)
                self._answer(now + self.around.acceptance_seconds, verdict, effect)
            case Land():
                self._answer(now + 0.1, Landed("refs/heads/x", effect.commit), effect)
            case _:
                raise SystemExit(f"the simulation does not know {effect.key}")

    def _place(self, now: float, effect: Work) -> None:
        """Give an agent a place, on the host with most room, or let it wait for one."""
        host = max(range(len(self.room)), key=self.room.__getitem__)
        if not self.room[host]:
            self.waiting.append(lambda when: self._place(when, effect))
            return
        self.room[host] -= 1
        ready = max(now, self.pulled_seconds)
        begun = self.starts[host].take(ready, self.around.sandbox_start_ms / 1_000)
        self.at(begun, lambda when: self._ask(when, effect, host, 1))

    def _ask(self, now: float, effect: Work, host: int, turn: int) -> None:
        """Take a turn: the process makes the request, the service lets it in and answers, commands run, it is stored."""
        around = self.around
        made = self.process.take(now, self.costs.turn_ms / 1_000)
        let_in = max(
            self.requests.take(made, 60.0 * self.share / around.requests_a_minute),
            self.tokens.take(made, around.turn_tokens * 60.0 * self.share / around.tokens_a_minute),
        )
        stored = self.store.take(let_in + around.answer_seconds + around.command_seconds, self._store_seconds())
        if turn < around.turns:
            self.at(stored, lambda when: self._ask(when, effect, host, turn + 1))
        else:
            self.at(stored, lambda when: self._hand_in(when, effect, host))

    def _store_seconds(self) -> float:
        return (self.costs.store_turn_ms + 3 * self.costs.journal_line_ms) / 1_000

    def _hand_in(self, now: float, effect: Work, host: int) -> None:
        self.room[host] += 1
        if self.waiting:
            self.at(now, self.waiting.popleft())
        done = self.hub.take(now, self.costs.intake_ms / 1_000)
        commit = CommitId(f"{self.count:040x}")
        self._answer(done, AttemptSucceeded(effect.task_id, effect.attempt, commit, "done"), effect)

    def figures(self, agents: int, seconds: float) -> dict[str, float | int | str]:
        """Say how long it took, against an agent alone, and how busy each thing was."""
        around = self.around
        alone = around.turns * (around.answer_seconds + around.command_seconds) + 2 * around.acceptance_seconds
        busy = {
            "process": self.process.busy_seconds,
            "store": self.store.busy_seconds,
            "hub": self.hub.busy_seconds / self.hub.lanes,
            "merge train": self.merging.busy_seconds,
            "tokens": self.tokens.busy_seconds,
            "requests": self.requests.busy_seconds,
            "sandbox starts": max(each.busy_seconds / each.lanes for each in self.starts),
            "image pull": self.pulled_seconds,
        }
        limit = max(busy, key=busy.__getitem__)
        return {
            "agents": agents,
            "runs": self.share,
            "hosts": len(self.room) * self.share,
            "minutes": round(seconds / 60, 1),
            "over_one_agent": round(seconds / alone, 2),
            "decisions": self.decisions,
            "limit": limit,
            **{f"{name}_busy": round(used / seconds, 3) for name, used in busy.items()},
        }


def simulate(agents: int, costs: Costs, around: Surroundings) -> dict[str, float | int | str]:
    """Simulate so many agents at work, each with a task of its own."""
    share = max(1, -(-agents // MOST_IN_A_RUN))
    simulation = Simulation(agents // share, costs, around, share=share)
    return simulation.figures(agents, simulation.run())


def _costs(file: Path | None, *, anew: bool) -> Costs:
    if file is not None and file.exists() and not anew:
        return Costs(**json.loads(file.read_text()))
    found = measure()
    if file is not None:
        file.write_text(json.dumps(found.as_json(), indent=2) + "\n")
    return found


def main() -> int:
    """Measure or read the costs, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[10, 1_000, 10_000, 100_000])
    parser.add_argument(
        "--costs", type=Path, metavar="FILE", help="where the costs are kept; measured if it is missing"
    )
    parser.add_argument("--measure", action="store_true", help="measure the costs, print them, simulate nothing")
    assumed = Surroundings()
    parser.add_argument("--tokens-a-minute", type=float, default=assumed.tokens_a_minute)
    parser.add_argument("--requests-a-minute", type=float, default=assumed.requests_a_minute)
    parser.add_argument("--acceptance-seconds", type=float, default=assumed.acceptance_seconds)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    costs = _costs(options.costs, anew=options.measure)
    if options.measure:
        sys.stdout.write(json.dumps(costs.as_json()) + "\n")
        return 0
    around = Surroundings(
        tokens_a_minute=options.tokens_a_minute,
        requests_a_minute=options.requests_a_minute,
        acceptance_seconds=options.acceptance_seconds,
    )
    for agents in options.agents:
        found = simulate(agents, costs, around)
        pairs = "  ".join(f"{name} {value}" for name, value in found.items())
        sys.stdout.write((json.dumps(found) if options.json else pairs) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
