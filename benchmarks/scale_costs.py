"""What a decision, a turn, a merge and a task cost on this machine: the constants that `benchmarks.scale` works with."""

import asyncio
import ctypes
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import fanout, git_intake
from benchmarks.fanout_load import Load
from benchmarks.scheduler import decision_milliseconds
from benchmarks.team import Setup, run_team
from benchmarks.team_costs import PR_SET_CHILD_SUBREAPER, measure_costs
from codexteam.adapters.store.journal import EventsFile
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.budget_amounts import Amount, Usage
from codexteam.core.ids import AgentKey, CallKey, CommitId, JSONObject, Purpose, RunId
from codexteam.ports.model import AnsweredCall, CallRecord, ModelAnswer
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import OpenCall, RunRecord, StoredAnswer, StoredTurn

#: Of the plans in which a decision is timed.
PLANS = (10, 1_000, 10_000, 100_000)
_RUN = RunId("20261121-0231-7f3a")
#: Turns that are stored at once, by agents of their own, and how often.
_WRITERS, _ROUNDS = 256, 8
#: Agents at once, of which what a turn costs is measured.
_FAN_OUT = 256
#: What an answer and the output of a command are, roughly, in bytes.
_ANSWER_BYTES, _OUTPUT_BYTES = 2_000, 4_000


@dataclass(frozen=True, slots=True)
class Costs:
    """All in milliseconds, on one processor core where nothing else is said."""

    decisions_ms: dict[str, float]
    """Tasks in a plan, to what one decision takes there."""
    store_turn_ms: float
    """A turn in the store when many agents write: its call is noted, answered and done, each on disk before it is used."""
    journal_line_ms: float
    """A line of `events.jsonl`."""
    intake_ms: float
    """Work of ten files is checked and taken into the hub of a repository with 2,000."""
    merge_ms: float
    """It is merged, and the branch is moved."""
    turn_ms: float
    """CPU of the process for a turn with one command, the store's part included; `benchmarks.fanout` measures it."""
    agent_bytes: int
    """Memory of the process for an agent at work."""
    task_cpu_ms: float
    """CPU of all processes of a task of four turns: sandbox, commands, git and ours."""

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)

    def decision_ms(self, tasks: int) -> float:
        """Return what a decision takes in a plan: of the two plans nearest in size, in proportion."""
        known = sorted((int(count), cost) for count, cost in self.decisions_ms.items())
        (low, cheap), (high, dear) = next(
            (pair for pair in pairwise(known) if tasks <= pair[1][0]), (known[-2], known[-1])
        )
        return max(cheap, cheap + (dear - cheap) * (tasks - low) / (high - low)) if tasks > low else cheap


def measure() -> Costs:
    """Measure all of it; takes about a minute on a machine that does nothing else."""
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        store_ms, line_ms = asyncio.run(_store(Path(folder)))
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as folder:
        steps: Any = asyncio.run(git_intake.measure(Path(folder), 2_000, 10, 5))["median_ms"]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="codexteam-bench-") as cache:
        run_team(Setup(1, 0.01), cache)
        task = measure_costs(1, 17, cache)["cpu_seconds_a_task"]
    load = Load(_FAN_OUT, 4, 0.5, "true")
    with fanout.model_server(load) as address:
        crowd = fanout.measure(address, load)
    return Costs(
        {str(count): round(decision_milliseconds(count), 3) for count in PLANS},
        round(store_ms, 3),
        round(line_ms, 4),
        steps["intake"] + steps["commit"],
        steps["merge"] + steps["update_branch"],
        round(crowd.cpu_seconds * 1_000 / (_FAN_OUT * (load.turns + 1)), 2),
        crowd.memory_bytes // _FAN_OUT,
        round(task * 1_000, 1),
    )


async def _store(folder: Path) -> tuple[float, float]:
    store = SqliteStore(folder / "state.sqlite")
    await store.create_run(RunRecord(_RUN, "goal", CommitId("0" * 40), "running", 0.0, {}))
    try:
        await _turns(store, 0)
        began = time.perf_counter()
        for number in range(1, _ROUNDS + 1):
            await _turns(store, number)
        turn_seconds = (time.perf_counter() - began) / (_ROUNDS * _WRITERS)
    finally:
        await store.close()
    file = EventsFile(folder / "events.jsonl", _RUN, newest=0)
    lines = [RunEvent("agent.acted", 1.0, {"agent": "T1.1", "action": "x" * 200}, number) for number in range(1, 5_001)]
    began = time.perf_counter()
    file.write(lines)
    line_seconds = (time.perf_counter() - began) / len(lines)
    file.close()
    return turn_seconds * 1_000, line_seconds * 1_000


async def _turns(store: SqliteStore, number: int) -> None:
    async def one(writer: int) -> None:
        agent = AgentKey(_RUN, "implementer", Purpose.IMPLEMENT, f"T{writer}", 1)
        call = CallKey(agent, number + 1, Purpose.IMPLEMENT)
        answer: JSONObject = {"type": "message", "text": "a" * _ANSWER_BYTES}
        usage = Usage(input_tokens=20_000, output_tokens=500)
        record = CallRecord("bench", Amount(30_000, None, None), Amount(0, None, None), hand_over=False)
        await store.open_call(OpenCall(call, "hash", 30_000, None, None))
        told = [RunEvent("agent.turn", 1.0, {"agent": str(agent), "turn": number})]
        await store.record_answer(
            StoredAnswer(call, "hash", AnsweredCall(ModelAnswer((answer,), usage, "r"), record), usage), told
        )
        output: JSONObject = {"type": "function_call_output", "output": "o" * _OUTPUT_BYTES}
        await store.record_turn(StoredTurn(agent, number + 1, (output,)))

    await asyncio.gather(*(one(writer) for writer in range(_WRITERS)))
