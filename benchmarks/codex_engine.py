"""What the user's Codex takes as engine of agents: memory and processor time for 1, 12 and 32 agents at once.

    python -m benchmarks.codex_engine CODEX [--agents 1 12 32] [--turn-seconds 0.5]

CODEX is the command, as in `which codex`. One app-server runs on the host, with an exec-server in a bubblewrap sandbox of
its own for each agent. Each agent takes four turns of a fixed latency against a scripted server on loopback: three commands
and an answer. Memory is the proportional share (PSS) of each process while all agents are at work, at its highest;
processor time is that of the app-server, and of the exec-servers with what they started. This process is left out.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.codex_cli.binary import CodexBinary, codex_at
from codexteam.adapters.codex_cli.harness import CodexHarness
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import ModelSettings, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.ports.harness import HarnessOrder
from codexteam.ports.model import ModelAnswer, ModelRequest
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec
from tests.scripted_api import Call, Played, Reply, ScriptedApi, function_call, message
from tests.support_base_source import base_source, make_repository

_TURNS = 4
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_SETTINGS = ModelSettings("loopback", "gpt-5.5", effort="low")


@dataclass(slots=True)
class Used:
    """What processes of one kind took."""

    megabytes: float = 0.0
    cpu_seconds: float = 0.0


def _play(turn_seconds: float) -> "object":
    def play(call: Call) -> Played:
        done = call.turn >= _TURNS
        items = [message("done")] if done else [function_call("exec_command", {"cmd": f"echo {call.turn} >> made.txt"})]
        return Reply(items, latency_seconds=turn_seconds)

    return play


def _processes(marks: Sequence[str]) -> dict[str, list[int]]:
    """Give the processes below this one whose command line has one of these words, by word."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has ended
    ours = [pid for pid in parents if _is_below(pid, os.getpid(), parents)]
    return {mark: [pid for pid in ours if f"codex {mark}" in lines[pid] and "bash" not in lines[pid]] for mark in marks}


def _is_below(pid: int, top: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != top:
        pid = parents[pid]
    return pid == top


def _megabytes(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS_A_SECOND  # with the children that it waited for


async def _watch(used: dict[str, Used], cpu: dict[str, dict[int, float]]) -> None:
    while True:
        for mark, pids in _processes(tuple(used)).items():
            used[mark].megabytes = max(used[mark].megabytes, sum(map(_megabytes, pids)))
            cpu[mark].update({pid: seconds for pid in pids if (seconds := _cpu_seconds(pid))})
        await asyncio.sleep(0.2)


async def _agent(harness: CodexHarness, engine: BubblewrapEngine, base: BaseSource, number: int) -> None:
    key = AgentKey(RunId("benchmark"), "implementer", Purpose.IMPLEMENT, f"T{number}", 1)
    mode = SandboxMode.WORKSPACE_WRITE
    spec = SandboxSpec(key, base, mode, NetworkPolicy(), SandboxLimits(), programs=harness.folder)
    sandbox = await engine.start(spec)

    async def enter() -> Sandbox:
        return sandbox

    agent = harness.agent(HarnessOrder(key, _SETTINGS, enter))
    said: JSONObject = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}
    items = [said]
    try:
        for turn in range(1, _TURNS + 1):
            request = ModelRequest(CallKey(key, turn, key.purpose), _SETTINGS, "Work.", tuple(items), (), "cache")
            end = [event async for event in agent.stream(request)][-1]
            if not isinstance(end, ModelAnswer):
                raise SystemExit(f"agent {number}, turn {turn}: {end}")
            outputs = await agent.outputs([str(item["call_id"]) for item in end.items if "call_id" in item])
            items += [*end.items, *outputs]
    finally:
        await agent.close()
        await sandbox.close()


async def measure(binary: CodexBinary, agents: int, turn_seconds: float) -> str:
    """Let so many agents work at once; give the figures in a line."""
    async with AsyncExitStack() as stack:
        # Codex refuses to have its home below the temporary folder
        name = stack.enter_context(tempfile.TemporaryDirectory(dir=Path.home(), prefix=".codexteam-bench-"))
        folder = Path(name)
        api = await stack.enter_async_context(ScriptedApi(_play(turn_seconds)))  # type: ignore[arg-type]
        (folder / "config.toml").write_text(
            f'[model_providers.loopback]\nname = "Loopback"\nbase_url = "{api.base_url}"\nwire_api = "responses"\n'
        )
        harness = CodexHarness(binary, codex_home=folder, environment={"PATH": os.environ["PATH"], "HOME": name})
        stack.push_async_callback(harness.close)
        engine = BubblewrapEngine(folder / "engine")
        stack.push_async_callback(engine.close)
        make_repository(folder / "repository", {"a.txt": b"one\n"})
        base = base_source(folder / "repository", folder / "base")
        await harness.check()
        idle = sum(map(_megabytes, _processes(("app-server",))["app-server"]))
        used = {"app-server": Used(), "exec-server": Used()}
        cpu: dict[str, dict[int, float]] = {mark: {} for mark in used}
        watching = asyncio.create_task(_watch(used, cpu))
        began = time.monotonic()
        await asyncio.gather(*(_agent(harness, engine, base, number) for number in range(agents)))
        seconds = time.monotonic() - began
        watching.cancel()
        for mark, each in used.items():
            each.cpu_seconds = sum(cpu[mark].values())
        server, hands = used["app-server"], used["exec-server"]
        return (
            f"{agents:>3} agents: {seconds:.1f} s; app-server {idle:.0f} MB idle, {server.megabytes:.0f} MB, "
            f"{server.cpu_seconds:.2f} s CPU; exec-servers {hands.megabytes / agents:.0f} MB each, "
            f"{hands.cpu_seconds / agents:.2f} s CPU each; {(server.megabytes + hands.megabytes) / agents:.0f} MB an agent"
        )


def main() -> None:
    """Measure for each number of agents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("codex", type=Path)
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 12, 32])
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    binary = codex_at(arguments.codex)
    if binary is None:
        raise SystemExit(f"{arguments.codex} is no Codex that runs in a sandbox")
    for agents in arguments.agents:
        sys.stdout.write(f"{asyncio.run(measure(binary, agents, arguments.turn_seconds))}\n")


if __name__ == "__main__":
    main()
