"""Run the server alone, on a script in JSON (its form: `script_from_json`). Prints its base URL, then serves."""

import argparse
import asyncio
import contextlib
import json
from pathlib import Path

from tests.scripted_api.script import Script, script_from_json
from tests.scripted_api.server import ScriptedApi


async def _serve(script: Script, port: int, latency_seconds: float) -> None:
    async with ScriptedApi(script, port=port, latency_seconds=latency_seconds) as api:
        print(api.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scripted_api", description=__doc__)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="before each answer's first byte")
    arguments = parser.parse_args()
    script = script_from_json(json.loads(arguments.script.read_text(encoding="utf-8")))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(script, arguments.port, arguments.latency))


if __name__ == "__main__":
    main()
