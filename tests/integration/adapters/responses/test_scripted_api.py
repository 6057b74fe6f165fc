"""The scripted server itself: alone, in a thread, and in front of the real Codex CLI."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.responses.model import ResponsesModel
from codexteam.core.ids import JSONObject
from tests.conftest import codex_binary
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, call_key, collect, model_request, provider
from tests.scripted_api import (
    Call,
    HttpError,
    Played,
    function_call,
    in_order,
    message,
    script_from_json,
    serve_in_thread,
)
from tests.scripted_api.prompt_cache import PromptCache

ROOT = Path(__file__).resolve().parents[4]

SCRIPT: JSONObject = {
    "calls": [
        {
            "match": {"role": "implementer", "task_id": "T1", "turn": 1},
            "replies": [
                {"fault": {"kind": "http", "status": 429, "headers": {"Retry-After": "1"}}},
                {"fault": {"kind": "drop", "mid_item": True}, "items": [{"message": "lost"}]},
                {
                    "items": [
                        {"reasoning": "hm"},
                        {"function_call": {"name": "exec_command", "arguments": {"cmd": "ls"}}},
                    ]
                },
            ],
        },
        {"match": {"turn": 2}, "replies": [{"items": [{"message": {"summary": "done"}}], "usage": False}]},
    ],
    "otherwise": {"fault": {"kind": "http", "status": 400, "message": "not in the script"}},
}


async def _check_script(base_url: str) -> None:
    model = ResponsesModel({"local": provider(base_url)}, {"LOCAL_KEY": KEY}, FastClock(), lambda: 0.5)
    first = await collect(model, model_request())
    second = await collect(model, model_request(key=call_key(turn=2)))
    other = await collect(model, model_request(key=call_key(turn=3)))
    await model.close()
    assert len(first.restarts) == 2
    assert [item["type"] for item in first.answer.items] == ["reasoning", "function_call"]
    assert "done" in str(second.answer.items)
    assert second.answer.usage is None
    assert "not in the script" in other.failure.message


async def test_a_script_in_json_is_played_by_the_server_alone(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(json.dumps(SCRIPT))
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.scripted_api", "--script", str(file), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        base_url = (await server.stdout.readline()).decode().strip()
        await _check_script(base_url)
    finally:
        server.terminate()
        await server.wait()


async def test_a_script_in_json_is_played_in_a_thread() -> None:
    with serve_in_thread(script_from_json(SCRIPT)) as api:
        await _check_script(api.base_url)
        assert [request.call.turn for request in api.requests] == [1, 1, 1, 2, 3]


async def test_asking_for_more_than_was_scripted_is_an_error() -> None:
    with serve_in_thread(in_order([message("only")])) as api:
        settings = provider(api.base_url, request_max_retries=0, stream_max_retries=0)
        model = ResponsesModel({"local": settings}, {"LOCAL_KEY": KEY}, FastClock(), lambda: 0.5)
        await collect(model, model_request())
        assert "the script has 1 replies" in (await collect(model, model_request())).failure.message
        await model.close()


def test_cached_tokens_are_exact_prefixes_in_blocks() -> None:
    cache = PromptCache(minimum_tokens=0)
    first = cache.look_up({"model": "m", "instructions": "a" * 4096, "input": ["x"]})
    assert first.cached_tokens == 0
    cache.keep(first)
    longer = cache.look_up({"model": "m", "instructions": "a" * 4096, "input": ["x", "y" * 4096]})
    assert longer.cached_tokens == 1024
    assert longer.tokens > 2048
    other = cache.look_up({"model": "m", "instructions": "b" + "a" * 4095, "input": ["x"]})
    assert other.cached_tokens == 0
    assert PromptCache(minimum_tokens=1024).look_up({"model": "m"}).cached_tokens == 0


@pytest.mark.codex
def test_the_real_codex_cli_runs_against_the_scripted_server(tmp_path: Path, repository: Path) -> None:
    codex_home = tmp_path / "codex-home"
    codex_home.mkdir()
    command = "echo hello > made.txt && cat made.txt"

    def play(call: Call) -> Played:
        if not call.outputs:
            names = {tool.get("name") for tool in call.body.get("tools", [])}  # type: ignore[union-attr]  # real tools
            name = "exec_command" if "exec_command" in names else "shell_command"
            arguments: JSONObject = {"cmd": command} if name == "exec_command" else {"command": command}
            return [function_call(name, arguments)]
        if "hello" not in json.dumps(call.outputs[-1]):
            return HttpError(400, message=f"the command's output is missing: {call.outputs[-1]}")
        return [message("All done here.")]

    with serve_in_thread(play) as api:
        (codex_home / "config.toml").write_text(
            'model = "scripted-model"\nmodel_provider = "scripted"\n'
            "[model_providers.scripted]\n"
            f'name = "Scripted"\nbase_url = "{api.base_url}"\nenv_key = "SCRIPTED_KEY"\nwire_api = "responses"\n'
            "request_max_retries = 0\nstream_max_retries = 0\n"
        )
        binary = codex_binary()
        assert binary is not None
        done = subprocess.run(
            [binary, "exec", "--json", "--sandbox", "danger-full-access", "-C", str(repository), "say hello"],
            env={**os.environ, "CODEX_HOME": str(codex_home), "SCRIPTED_KEY": KEY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert events[-1]["type"] == "turn.completed", events
    assert events[-1]["usage"]["input_tokens"] == sum(request.input_tokens for request in api.requests)
    assert "All done here." in done.stdout
    assert (repository / "made.txt").read_text() == "hello\n"
    assert len(api.requests) == 2
    assert api.requests[0].call.headers["authorization"] == f"Bearer {KEY}"
