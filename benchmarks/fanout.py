"""How much this program adds to what its model takes: many agents at once, one command a turn, bare processes.

    python -m benchmarks.fanout                                    64 agents, 4 turns, 0.5 s a turn
    python -m benchmarks.fanout --agents 1000 --turn-seconds 10    the crowd
    python -m benchmarks.fanout --cached                           32 implementers of one batch, 12 turns with 1.5 kB of
                                                                   output each, prompt cache counted
    python -m benchmarks.fanout --against openai-agents            the same script through another library
    python -m benchmarks.fanout --against client-alone             ... with the `openai` client and nothing around it
    python -m benchmarks.fanout --against codex --codex BINARY     ... through the Codex CLI's own sub-agents
    python -m benchmarks.fanout --against codex-exec --codex BINARY    ... and through a `codex exec` for each agent

The model is a server in a process of its own that takes a fixed time for every answer. Everything else is real: the
client, the loop, the ledger, the store on disk, the program that starts commands. Reported: wall time over the
critical path (answers one after the other), CPU of this process (the server's and the commands' own not counted) per
turn, peak memory per agent, and the bytes that are the same in every request of a role. Bars: 1.10, 10 ms, 2 MB,
6 KB; for the crowd 1.25.
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.bare_sandbox import BareSandbox, BareStarter, bare_starter
from benchmarks.fanout_load import Load, Measured
from benchmarks.fixed_model import FixedModel
from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.responses.model import ModelOptions, ResponsesModel
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.agent.agent_kinds import instructions
from codexteam.agent.deps import AgentDeps, AgentSpec
from codexteam.agent.loop import run_agent
from codexteam.agent.outcome import AgentOutcome, Submitted
from codexteam.agent.prefix import Prompt, environment_fact, fixed_bytes
from codexteam.agent.reservations import Reservations
from codexteam.agent.tools.files import ApplyPatch, ViewImage
from codexteam.agent.tools.shell import ExecCommand, Sessions, WriteStdin
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.config.settings import ModelSettings, NetworkPolicy, ProviderSettings, SandboxMode
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.ports.sandbox import Sandbox
from tests.scripted_api import Call, Played, ScriptedApi, function_call, message

_ROLE = Path(__file__).parents[1] / "agents" / "implementer.toml"
_REPORT: JSONObject = {
    "status": "done",
    "summary": "Done.",
    "commands": [],
    "question": None,
    "later": [],
    "risks": [],
}
_DOCS = (
    "# AGENTS.md instructions\n\n<INSTRUCTIONS>\n"
    + "Keep functions short and names plain. " * 200
    + "\n</INSTRUCTIONS>"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--turns", type=int, help="with a command each; 4, with --cached 12")
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    parser.add_argument("--cached", action="store_true", help="count cached input over 32 implementers")
    parser.add_argument(
        "--against",
        choices=["openai-agents", "client-alone", "codex", "codex-exec"],
        help="run the script through this instead",
    )
    parser.add_argument("--codex", default="codex", help="the native binary, for --against codex and codex-exec")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON")
    parser.add_argument("--folder", help="where the store is written; the disk's sync time counts three times a turn")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    line = "seq 400" if arguments.cached else "true"
    agents = 32 if arguments.cached else arguments.agents
    turns = arguments.turns or (12 if arguments.cached else 4)
    load = Load(agents, turns, arguments.turn_seconds, line, arguments.folder, arguments.cached)
    if arguments.serve:
        asyncio.run(_serve(load))
        return
    show = _print_json if arguments.json else _print
    if arguments.against in {"codex", "codex-exec"}:
        if arguments.against == "codex":
            from benchmarks.fanout_codex import measure as measure_codex
        else:
            from benchmarks.fanout_codex_exec import measure as measure_codex
        show(load, measure_codex(arguments.codex, load), arguments.against)
        return
    with model_server(load) as base_url:
        if arguments.against:
            if arguments.against == "client-alone":
                from benchmarks.fanout_client_alone import measure as measure_other
            else:
                from benchmarks.fanout_openai_agents import measure as measure_other
            show(load, measure_other(base_url, load, ProcessInstrument()), arguments.against)
            return
        measured = measure(base_url, load, warm_first=arguments.cached)
    show(load, measured, "codexteam")
    if arguments.json:
        return
    missed = _missed(load, measured, cached=arguments.cached)
    print("\n".join(missed) or "all bars held")
    if arguments.check and missed:
        sys.exit(1)


def _print(load: Load, measured: Measured, name: str) -> None:
    turns = load.agents * (load.turns + 1)
    print(f"{name}: {load.agents} agents, {load.turns} turns with a command and one answer, {load.turn_seconds} s each")
    ratio = measured.wall_seconds / load.critical_seconds
    print(f"  wall     {measured.wall_seconds:8.2f} s   {ratio:.3f} x the critical path of {load.critical_seconds:g} s")
    print(f"  CPU      {measured.cpu_seconds:8.2f} s   {measured.cpu_seconds / turns * 1000:.2f} ms a turn")
    print(
        f"  memory   {measured.memory_bytes / 2**20:8.1f} MB  {measured.memory_bytes / load.agents / 2**20:.2f} MB an agent"
    )
    if name != "codexteam":
        return
    usage = measured.usage
    share = usage.cached_input_tokens / usage.input_tokens if usage.input_tokens else 0.0
    if load.cached:
        print(f"  cached   {share:8.1%} of {usage.input_tokens:,} input tokens")
    print(f"  fixed    {_fixed_bytes():8,} bytes of each request")


def _print_json(load: Load, measured: Measured, name: str) -> None:
    """Print what `benchmarks.peers` reads."""
    turns = load.agents * (load.turns + 1)
    figures = {
        "name": name,
        "wall_ratio": measured.wall_seconds / load.critical_seconds,
        "cpu_ms_a_turn": measured.cpu_seconds / turns * 1000,
        "mb_an_agent": measured.memory_bytes / load.agents / 2**20,
    }
    print(json.dumps(figures))


def _missed(load: Load, measured: Measured, *, cached: bool) -> list[str]:
    turns = load.agents * (load.turns + 1)
    crowd = load.agents > 100
    bars = {
        "wall over critical path": (measured.wall_seconds / load.critical_seconds, 1.25 if crowd else 1.10),
        "CPU ms a turn": (measured.cpu_seconds / turns * 1000, 10.0),
        "MB an agent": (measured.memory_bytes / load.agents / 2**20 if crowd else 0.0, 2.0),
        "fixed bytes": (_fixed_bytes(), 6 * 1024),
    }
    if cached:
        usage = measured.usage
        bars = {"input not cached": (1 - usage.cached_input_tokens / usage.input_tokens, 0.10)}
    return [f"missed: {name} is {value:.3f}, the bar is {bar}" for name, (value, bar) in bars.items() if value > bar]


@cache
def _instructions() -> str:
    role = str(tomllib.loads(_ROLE.read_text(encoding="utf-8"))["developer_instructions"])
    return instructions(Purpose.IMPLEMENT, role)


def _tools(place: ToolContext, sessions: Sessions) -> list[Tool]:
    return [ExecCommand(place, sessions), WriteStdin(place, sessions), ApplyPatch(place), ViewImage(place)]


def _fixed_bytes() -> int:
    place = ToolContext(
        asyncio.Future(loop=asyncio.new_event_loop()), SandboxMode.WORKSPACE_WRITE, Path(), SystemClock()
    )
    return fixed_bytes(_instructions(), [tool.definition for tool in _tools(place, Sessions())])


# the server


async def _serve(load: Load) -> None:
    """Serve until the process is ended: the scripted server where cached input is counted, else the quickest one."""
    if not load.cached:
        calls = [_command_call(load, number) for number in range(load.turns)]
        print(await FixedModel([*calls, message(_REPORT)], load.turn_seconds).listen(), flush=True)
        await asyncio.Event().wait()

    def play(call: Call) -> Played:
        # other libraries send no metadata: the commands that were answered count the turns
        done = len(call.outputs)
        if done < load.turns:
            return [_command_call(load, done)]
        return [message(_REPORT)]

    async with ScriptedApi(play, latency_seconds=load.turn_seconds) as api:
        print(api.base_url, flush=True)
        await asyncio.Event().wait()


def _command_call(load: Load, step: int) -> JSONObject:
    return function_call("exec_command", {"cmd": f"{load.line} # step {step}", "login": False})


@contextmanager
def model_server(load: Load) -> Iterator[str]:
    """Have a process serve the model; give its base URL."""
    argv = [sys.executable, "-m", "benchmarks.fanout", "--serve", "--turns", str(load.turns)]
    argv += ["--turn-seconds", str(load.turn_seconds), *(["--cached"] if load.cached else [])]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


# this program


def measure(base_url: str, load: Load, *, warm_first: bool = False) -> Measured:
    """Run the script with this program's own loop, ledger and store."""
    return asyncio.run(_measure(base_url, load, warm_first=warm_first))


async def _measure(base_url: str, load: Load, *, warm_first: bool) -> Measured:
    clock = SystemClock()
    provider = ProviderSettings("bench", "Bench", base_url)
    model = ResponsesModel({"bench": provider}, {}, clock, random.random, ModelOptions(warm_first=warm_first))
    with tempfile.TemporaryDirectory(dir=load.folder) as name:
        store = SqliteStore(Path(name) / "state.sqlite")
        gate = Reservations(Ledger(BudgetLimits(run_tokens=10**12)), {})
        try:
            async with bare_starter() as starter:
                return await _measure_team(_Team(Path(name), model, store, gate, starter), load)
        finally:
            await model.close()
            await store.close()


async def _measure_team(team: "_Team", load: Load) -> Measured:
    clock, instrument = SystemClock(), ProcessInstrument()
    # imports, the client and its first parse: a run does that while its sandboxes start
    await team.one(AgentKey(RunId("warm"), "warming", Purpose.IMPLEMENT, "T0", 1))
    gc.collect()
    memory_before = instrument.memory_bytes()
    cpu_before, wall_before = instrument.cpu_seconds(), clock.monotonic_seconds()
    keys = [
        AgentKey(RunId("bench"), "implementer", Purpose.IMPLEMENT, f"T{number}", 1)
        for number in range(1, load.agents + 1)
    ]
    outcomes = await asyncio.gather(*(team.one(key) for key in keys))
    wall, cpu = clock.monotonic_seconds() - wall_before, instrument.cpu_seconds() - cpu_before
    usage = Usage()
    for outcome in outcomes:
        if not isinstance(outcome, Submitted):
            raise TypeError(f"no answer: {outcome}")
        usage += outcome.effort.usage
    return Measured(wall, cpu, instrument.memory_bytes() - memory_before, usage)


@dataclass(frozen=True, slots=True)
class _Team:
    """What the agents share."""

    folder: Path
    model: ResponsesModel
    store: SqliteStore
    gate: Reservations
    starter: BareStarter

    async def one(self, key: AgentKey) -> AgentOutcome:
        work = self.folder / f"{key.run_id}-{key.task_id}"
        work.mkdir()
        sandbox = BareSandbox(work, self.starter)
        starting: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        starting.set_result(sandbox)
        place = ToolContext(starting, SandboxMode.WORKSPACE_WRITE, self.folder, SystemClock())
        sessions = Sessions()
        facts = (_DOCS, environment_fact(SandboxMode.WORKSPACE_WRITE, NetworkPolicy()))
        prompt = Prompt(_instructions(), facts, f"Do task {key.task_id}: make it work.")
        spec = AgentSpec(key, ModelSettings("bench", "bench-model"), prompt)
        deps = AgentDeps(
            self.model, self.store, SystemClock(), self.gate, _tools(place, sessions), place=place, sessions=sessions
        )
        try:
            return await run_agent(spec, deps)
        finally:
            await sandbox.close()


class ProcessInstrument:
    """What is measured with, and what every agent is told."""

    def cpu_seconds(self) -> float:
        """Of this process, children left out."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def memory_bytes(self) -> int:
        """The peak so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def instructions(self) -> str:
        return _instructions()

    def facts(self) -> str:
        return _DOCS


if __name__ == "__main__":
    main()
