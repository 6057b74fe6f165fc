"""The fan-out script through the `openai-agents` package: its loop, its client, its tools; the same server and commands."""

import asyncio
import gc
import importlib
import tempfile
import time
from pathlib import Path

from benchmarks.bare_sandbox import BareSandbox
from benchmarks.fanout_load import Instrument, Load, Measured
from codexteam.core.budget_amounts import Usage
from codexteam.ports.sandbox import Command


def measure(base_url: str, load: Load, instrument: Instrument) -> Measured:
    """Run the script.

    Raises:
        SystemExit: the package is not installed.
    """
    # a folder of this name lies at the top of this repository, and Python takes it for an empty package
    if not hasattr(importlib.import_module("agents"), "Runner"):
        raise SystemExit("openai-agents is not installed: pip install openai-agents")
    return asyncio.run(_measure(base_url, load, instrument))


async def _measure(base_url: str, load: Load, instrument: Instrument) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        team = _Team(base_url, load, instrument)
        await team.one(folder / "warm")
        gc.collect()
        memory_before, cpu_before, wall_before = instrument.memory_bytes(), instrument.cpu_seconds(), time.monotonic()
        usages = await asyncio.gather(*(team.one(folder / str(number)) for number in range(load.agents)))
        wall, cpu = time.monotonic() - wall_before, instrument.cpu_seconds() - cpu_before
        return Measured(wall, cpu, instrument.memory_bytes() - memory_before, sum(usages, Usage()))


class _Team:
    """One client for all, as the package's own default is."""

    def __init__(self, base_url: str, load: Load, instrument: Instrument) -> None:
        import openai

        self._load = load
        self._instrument = instrument
        self._agents = importlib.import_module("agents")
        self._agents.set_tracing_disabled(disabled=True)
        client = openai.AsyncOpenAI(base_url=base_url, api_key="none")
        self._model = self._agents.OpenAIResponsesModel(model="bench-model", openai_client=client)

    async def one(self, work: Path) -> Usage:
        await asyncio.to_thread(work.mkdir)
        sandbox = BareSandbox(work)

        async def exec_command(cmd: str, login: bool = True) -> str:
            """Runs a command, returning its output."""
            done = await sandbox.run(Command(("bash", "-lc" if login else "-c", cmd)))
            return f"Process exited with code {done.exit_code}\nOutput:\n{done.output.decode()}"

        tool = self._agents.function_tool(exec_command, strict_mode=False)
        agent = self._agents.Agent(
            name="implementer", instructions=self._instrument.instructions(), tools=[tool], model=self._model
        )
        task = f"{self._instrument.facts()}\n\nDo the task in {work.name}."
        result = self._agents.Runner.run_streamed(agent, task, max_turns=self._load.turns + 2)
        async for _ in result.stream_events():
            pass
        if "status" not in str(result.final_output):
            raise TypeError(f"no answer: {result.final_output!r}")
        usage = result.context_wrapper.usage
        await sandbox.close()
        return Usage(usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens)
