"""How long one scheduling decision takes in a large plan (bar: 1 ms in a plan of 10,000 tasks).

    python -m benchmarks.scheduler [--tasks 10000] [--threads 64] [--json]

Drives `step` through a whole run of a layered plan, every event timed by itself: a decision is one event in, state and
effects out. Storing and performing are not in it.
"""

import argparse
import json
import statistics
import sys
import time

from codexteam.core.effects import AdvanceBranch, Prepare, RunGate, StackCandidate, Work
from codexteam.core.events import (
    AttemptSucceeded,
    BranchMoved,
    CandidateStacked,
    Event,
    GateFinished,
    Planned,
    RunPrepared,
    RunStarted,
    Verdict,
)
from codexteam.core.ids import CommitId, GateName, RunId, TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step

BAR_MILLISECONDS = 1.0


def layered_plan(count: int, width: int = 100) -> tuple[Task, ...]:
    """Give tasks in layers, each waiting for two of the layer before, each with a path of its own."""
    tasks = []
    for number in range(1, count + 1):
        above = [number - width, number - width + 1] if number > width else []
        deps = tuple(TaskId(f"T{dep}") for dep in above if dep >= 1)
        tasks.append(Task(TaskId(f"T{number}"), f"task {number}", deps=deps, paths=(f"src/m{number}.py",)))
    return tuple(tasks)


def one_batch(tasks: int, threads: int) -> Rules:
    """Return the rules of a run that works on all tasks, merges them, and has one gate look at the end."""
    return Rules(
        max_threads=threads,
        max_tasks=tasks,
        gates=(GateName.CI,),
        batch_size=tasks,
        scout=False,
        document=False,
        release=False,
    )


def timed_decisions(tasks: int, threads: int, decisions: int) -> tuple[list[float], float]:
    """Drive a run of a layered plan, at most so many decisions; return what each took, and taking in the plan, in ms."""
    state = RunState(RunId("bench"), "goal", one_batch(tasks, threads))
    took: list[float] = []

    def decide(event: Event) -> None:
        nonlocal state
        started = time.perf_counter()
        state, _ = step(state, event)
        took.append((time.perf_counter() - started) * 1_000)

    plan = layered_plan(tasks, width=max(100, tasks // 100))
    started = time.perf_counter()
    state, _ = step(state, Planned(Plan("goal", tasks=plan)))
    plan_milliseconds = (time.perf_counter() - started) * 1_000
    decide(RunStarted())
    number = 0
    while state.result is None and state.in_flight and len(took) < decisions:
        effect = next(iter(state.in_flight.values()))
        number += 1
        commit = CommitId(f"{number:040x}")
        match effect:
            case Prepare():
                decide(RunPrepared(commit))
            case Work():
                decide(AttemptSucceeded(effect.task_id, effect.attempt, commit, "done"))
            case StackCandidate():
                decide(CandidateStacked(effect.task_id, effect.attempt, effect.number, commit))
            case AdvanceBranch():
                decide(BranchMoved(effect.commit, effect.merges))
            case RunGate():
                decide(GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP))
            case _:
                break
    return took, plan_milliseconds


def decision_milliseconds(tasks: int) -> float:
    """Return what a decision takes on average in a plan of so many tasks, all of which may be at work."""
    return statistics.fmean(timed_decisions(tasks, tasks, 1_000)[0])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--decisions", type=int, default=4_000, help="stop after this many")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took, plan_milliseconds = timed_decisions(options.tasks, options.threads, options.decisions)
    ordered = sorted(took)
    figures = {
        "tasks": options.tasks,
        "threads": options.threads,
        "decisions": len(took),
        "median_ms": round(statistics.median(took), 3),
        "p99_ms": round(ordered[int(len(ordered) * 0.99) - 1], 3),
        "mean_ms": round(statistics.fmean(took), 3),
        "take_in_plan_ms": round(plan_milliseconds, 1),
        "bar_ms": BAR_MILLISECONDS,
        "held": statistics.median(took) <= BAR_MILLISECONDS,
    }
    sys.stdout.write(
        json.dumps(figures) + "\n" if options.json else "\n".join(f"{k:16} {v}" for k, v in figures.items()) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
