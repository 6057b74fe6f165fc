"""The fan-out script with nothing but the `openai` package's client and the commands: no loop, ledger or store.

What this takes is the least that any program over that client takes. It is asked in its cheapest way, a body that is
ready and a stream that is read and not parsed; `responses.create` takes several times as much.
"""

import asyncio
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.bare_sandbox import BareStarter, bare_starter
from benchmarks.fanout_load import Instrument, Load, Measured
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.ports.sandbox import Command

if TYPE_CHECKING:
    import httpx2
    import openai


def measure(base_url: str, load: Load, instrument: Instrument) -> Measured:
    """Run the script. Usage is not counted."""
    return asyncio.run(_measure(base_url, load, instrument))


async def _measure(base_url: str, load: Load, instrument: Instrument) -> Measured:
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=load.agents + 1, keepalive_expiry=90.0)
    http = openai.DefaultAioHttpClient(limits=limits)
    client = openai.AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0, http_client=http)
    with tempfile.TemporaryDirectory() as name:
        async with client, bare_starter() as starter:
            team = _Team(client, starter, Path(name), load, instrument)
            await team.one("warming")
            gc.collect()
            memory_before, cpu_before, wall_before = (
                instrument.memory_bytes(),
                instrument.cpu_seconds(),
                time.monotonic(),
            )
            await asyncio.gather(*(team.one("implementer") for _ in range(load.agents)))
            wall, cpu = time.monotonic() - wall_before, instrument.cpu_seconds() - cpu_before
    return Measured(wall, cpu, instrument.memory_bytes() - memory_before, Usage())


class _Team:
    """What the agents share."""

    def __init__(
        self, client: "openai.AsyncOpenAI", starter: BareStarter, folder: Path, load: Load, instrument: Instrument
    ) -> None:
        self._client = client
        self._starter = starter
        self._folder = folder
        self._load = load
        self._instrument = instrument

    async def one(self, role: str) -> None:
        items: list[JSONValue] = [{"type": "message", "role": "user", "content": self._instrument.facts()}]
        for turn in range(self._load.turns):
            await self._ask(role, items)
            output = await self._command()
            call: JSONObject = {"call_id": f"call_{turn}", "name": "exec_command", "arguments": "{}"}
            items += [{"type": "function_call", **call}]
            items += [{"type": "function_call_output", "call_id": f"call_{turn}", "output": output}]
        await self._ask(role, items)

    async def _ask(self, role: str, items: list[JSONValue]) -> None:
        import httpx2
        import openai

        instructions = self._instrument.instructions()
        body = {"model": "m", "stream": True, "instructions": instructions, "input": items, "metadata": {"role": role}}
        stream: object = await self._client.post(
            "/responses",
            cast_to=httpx2.Response,
            content=json.dumps(body).encode(),
            stream=True,
            stream_cls=openai.AsyncStream[object],
            options={"headers": {"Content-Type": "application/json"}},
        )
        # asked for by cast_to; the declared type is that of parsed streams
        response = cast("httpx2.Response", stream)
        async for _ in response.aiter_bytes():
            pass
        await response.aclose()

    async def _command(self) -> str:
        session = self._starter.open(Command(("bash", "-c", self._load.line), cwd=str(self._folder)))
        seen = await session.read(wait_seconds=60.0)
        if seen.result is None:
            raise TypeError(f"{self._load.line} does not end")
        return f"Process exited with code {seen.result.exit_code}\nOutput:\n{seen.output.decode()}"
