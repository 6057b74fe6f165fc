"""What one model call costs: this program's client next to the `openai` package's own typed streaming.

    python -m benchmarks.stream_clients [--streams 64] [--items 40]

The server runs in a process of its own. For each client: wall time of N calls at once against a fixed latency, CPU per
call, and the longest time the event loop was blocked.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from codexteam.adapters.responses.model import ResponsesModel
from codexteam.config.settings import ModelSettings, ProviderSettings
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.ports.model import ModelAnswer, ModelRequest

LATENCY_SECONDS = 0.5


class _Clock:
    def wall_seconds(self) -> float:
        return time.time()

    def monotonic_seconds(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _input(items: int) -> list[JSONObject]:
    return [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"{number} " + "x" * 400}]}
        for number in range(items)
    ]


async def _ours(base_url: str, streams: int, items: int) -> None:
    provider = ProviderSettings("bench", "Bench", base_url)
    model = ResponsesModel({"bench": provider}, {}, _Clock(), random.random)

    async def one(number: int) -> None:
        agent = AgentKey(RunId("bench"), "implementer", Purpose.IMPLEMENT, f"T{number}", 1)
        key = CallKey(agent, 1, Purpose.IMPLEMENT)
        request = ModelRequest(key, ModelSettings("bench", "m"), "Do it.", _input(items), (), "bench")
        last = None
        async for event in model.stream(request):
            last = event
        if not isinstance(last, ModelAnswer):
            raise TypeError(f"no answer: {last}")

    await asyncio.gather(*(one(number) for number in range(streams)))
    await model.close()


async def _typed(base_url: str, streams: int, items: int) -> None:
    import openai

    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)

    async def one(_: int) -> None:
        stream = await client.responses.create(
            model="m",
            input=_input(items),  # type: ignore[arg-type]  # plain dicts where it declares typed ones
            instructions="Do it.",
            stream=True,
        )
        if not isinstance(stream, openai.AsyncStream):
            raise TypeError("a stream was asked for")
        async for _event in stream:
            pass

    await asyncio.gather(*(one(number) for number in range(streams)))
    await client.close()


async def _measure(
    run: Callable[[str, int, int], Awaitable[None]], base_url: str, streams: int, items: int
) -> JSONObject:
    await run(base_url, 1, items)  # imports and first connections are not what is measured
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - before - 0.01)

    watching = asyncio.create_task(watch())
    wall, cpu = time.monotonic(), time.process_time()
    await run(base_url, streams, items)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    watching.cancel()
    return {
        "wall_over_latency": round(wall / LATENCY_SECONDS, 2),
        "cpu_ms_per_call": round(cpu / streams * 1000, 2),
        "worst_lag_ms": round(worst * 1000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--items", type=int, default=40, help="input items of each request, 400 characters each")
    arguments = parser.parse_args()
    script = {"otherwise": {"items": [{"reasoning": "hm"}, {"message": "word " * 100}]}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.json"
        file.write_text(json.dumps(script))
        argv = [sys.executable, "-m", "tests.scripted_api", "--script", str(file), "--latency", str(LATENCY_SECONDS)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            try:
                base_url = server.stdout.readline().strip() if server.stdout else ""
                for name, run in (("codexteam", _ours), ("openai, typed", _typed)):
                    result = asyncio.run(_measure(run, base_url, arguments.streams, arguments.items))
                    print(json.dumps({"client": name, "streams": arguments.streams, **result}))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
