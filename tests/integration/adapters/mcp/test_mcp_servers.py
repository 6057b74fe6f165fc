"""Real servers that misbehave, and what they get to see."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.mcp_servers import McpServers
from codexteam.adapters.mcp_transport import server_environment
from codexteam.config.settings import McpPlace, McpServerSettings
from codexteam.ports.tool_servers import NoServerAnswer, ServerAnswer, TextPart
from tests.scripted_api.server import kept_port
from tests.support_processes import is_alive, wait_for_end

pytestmark = pytest.mark.slow

_SAMPLE = McpServerSettings(
    "sample",
    command=sys.executable,
    args=(str(Path(__file__).with_name("sample_server.py")),),
    startup_timeout_seconds=60,
    place=McpPlace.HOST,
)
#: Short for a tool that is given up, and long enough for those that answer on a machine that is busy.
_TOOL_SECONDS = 3.0


@asynccontextmanager
async def _servers(*settings: McpServerSettings, **environment: str) -> AsyncIterator[McpServers]:
    servers = McpServers({server.id: server for server in settings}, {"PATH": os.environ["PATH"], **environment})
    try:
        yield servers
    finally:
        await servers.close()


def _script(id_: str, code: str, **more: object) -> McpServerSettings:
    settings = McpServerSettings(id_, command=sys.executable, args=("-c", code), place=McpPlace.HOST)
    return replace(settings, **more)  # type: ignore[arg-type]  # as given


async def _text(servers: McpServers, tool: str, server_id: str = "sample", **arguments: str) -> str:
    answer = await servers.call(server_id, tool, dict(arguments))
    assert isinstance(answer, ServerAnswer), answer
    (part,) = answer.parts
    assert isinstance(part, TextPart)
    return part.text


async def test_one_process_serves_many_agents_and_sees_no_secret() -> None:
    settings = replace(_SAMPLE, env={"GIVEN": "1"}, env_vars=("NAMED",))
    async with _servers(settings, OPENAI_API_KEY="secret", NAMED="2", LANG="C.UTF-8") as servers:
        await asyncio.gather(*(servers.start(["sample"]) for _ in range(5)))
        pids = await asyncio.gather(*(_text(servers, "process") for _ in range(5)))
        assert len(set(pids)) == 1
        seen = set((await _text(servers, "environment")).split(","))
        assert {"GIVEN", "NAMED", "PATH", "LANG"} <= seen
        assert "OPENAI_API_KEY" not in seen
        # what the package adds from the process's own environment, and nothing of the tests' own
        assert seen <= {"GIVEN", "NAMED", "PATH", "LANG", "HOME", "LOGNAME", "SHELL", "TERM", "USER", "LC_CTYPE"}
        pid = int(pids[0])
        assert is_alive(pid)
    await wait_for_end(pid)


async def test_a_server_that_dies_is_told_and_started_again_for_the_next_call() -> None:
    async with _servers(_SAMPLE) as servers:
        await servers.start(["sample"])
        first = await _text(servers, "process")
        died = await servers.call("sample", "die", {})
        assert isinstance(died, NoServerAnswer)
        assert "went away during the call" in died.reason
        assert await _text(servers, "process") != first


async def test_a_slow_tool_is_given_up_and_its_server_still_serves() -> None:
    async with _servers(replace(_SAMPLE, tool_timeout_seconds=_TOOL_SECONDS)) as servers:
        await servers.start(["sample"])
        answer = await servers.call("sample", "wait", {})
        assert answer == NoServerAnswer("wait did not answer within 3 s (tool_timeout_sec); it may still be at work")
        assert await _text(servers, "echo", text="x") == "x"


async def test_a_call_that_is_cancelled_leaves_the_server_serving() -> None:
    async with _servers(_SAMPLE) as servers:
        await servers.start(["sample"])
        call = asyncio.create_task(servers.call("sample", "wait", {}))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await _text(servers, "echo", text="x") == "x"


async def test_enabled_and_disabled_tools_are_honoured() -> None:
    settings = replace(_SAMPLE, enabled_tools=("echo", "fail", "nowhere"), disabled_tools=("fail",))
    off = replace(_SAMPLE, id="off", enabled=False, required=True)
    async with _servers(settings, off) as servers:
        started = await servers.start(["off", "sample"])
        assert [tool.name for tool in started.tools] == ["echo"]
        assert started.failures == ()
        answer = await servers.call("sample", "process", {})
        assert answer == NoServerAnswer("there is no tool process on the server sample")


async def test_each_way_to_fail_is_told_with_what_the_server_said() -> None:
    silent = _script("silent", "import time; time.sleep(60)", startup_timeout_seconds=0.5)
    crash = _script("crash", "import sys; sys.exit('no \\x1b[31mlicence')", startup_timeout_seconds=60)
    noise = _script(
        "noise", "print('hello\\n{}', flush=True); import time; time.sleep(60)", startup_timeout_seconds=0.5
    )
    token = McpServerSettings("token", url="http://127.0.0.1:1/mcp", bearer_token_env_var="NO_SUCH")
    refused = McpServerSettings("refused", url="http://127.0.0.1:1/mcp")
    async with _servers(silent, crash, noise, token, refused) as servers:
        started = await servers.start(["silent", "crash", "noise", "token", "refused"])
        told = {failure.server_id: failure.message for failure in started.failures}
    assert started.tools == ()
    assert told["silent"] == "it did not answer within 0.5 s (startup_timeout_sec)"
    assert "it said: no \\x1b[31mlicence" in told["crash"]
    assert "0.5 s" in told["noise"]
    assert "NO_SUCH is not set" in told["token"]
    assert "connect" in told["refused"].lower()


async def test_a_start_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    async with _servers(_script("slow", code, startup_timeout_seconds=50)) as servers:
        start = asyncio.create_task(servers.start(["slow"]))
        while not ready.exists() or not ready.read_text():
            await asyncio.sleep(0.02)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
    await wait_for_end(int(ready.read_text()))


_LISTS_NOTHING = """
import json, pathlib, sys
for line in sys.stdin:
    said = json.loads(line)
    if said.get("method") == "initialize":
        result = {"protocolVersion": said["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "mute", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": said["id"], "result": result}), flush=True)
    elif said.get("method") == "tools/list":
        pathlib.Path(%r).touch()
"""


async def test_a_start_that_is_given_up_while_its_tools_are_listed_ends_at_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    async with _servers(_script("mute", _LISTS_NOTHING % str(asked), startup_timeout_seconds=60)) as servers:
        starting = asyncio.create_task(servers.start(["mute"]))
        while not asked.exists():
            await asyncio.sleep(0.01)
        starting.cancel()
        await asyncio.wait([starting])
        async with asyncio.timeout(30):
            await servers.close()


@pytest.fixture
def http_port() -> Iterator[int]:
    """A server of the sample tools over streamable HTTP."""
    with kept_port() as kept:
        port = int(kept.getsockname()[1])
        process = subprocess.Popen([sys.executable, *_SAMPLE.args, str(port)], stderr=subprocess.DEVNULL)
        yield port
        process.terminate()
        process.wait(60)


async def test_streamable_http_serves_the_same_tools(http_port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", http_port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        await writer.wait_closed()
        break
    url = f"http://127.0.0.1:{http_port}/mcp"
    settings = McpServerSettings(
        "web",
        url=url,
        bearer_token_env_var="TOKEN",
        http_headers={"X-A": "1"},
        env_http_headers={"X-B": "B", "X-C": "UNSET"},
        tool_timeout_seconds=_TOOL_SECONDS,
    )
    async with _servers(settings, TOKEN="t", B="2") as servers:
        started = await servers.start(["web"])
        assert "echo" in [tool.name for tool in started.tools]
        assert await _text(servers, "echo", "web", text="x") == "x"
        waited = await servers.call("web", "wait", {})
        assert isinstance(waited, NoServerAnswer)
        assert "within 3 s" in waited.reason
        assert await _text(servers, "echo", "web", text="y") == "y"


def test_a_server_gets_a_fixed_few_variables_and_those_it_names() -> None:
    settings = McpServerSettings("a", command="a", env={"X": "1", "PATH": "/own"}, env_vars=("TOKEN", "UNSET"))
    environment = {"PATH": "/usr/bin", "HOME": "/h", "TOKEN": "t", "OPENAI_API_KEY": "secret", "FOO": "bar"}
    assert server_environment(settings, environment) == {"PATH": "/own", "HOME": "/h", "TOKEN": "t", "X": "1"}


def test_without_the_package_the_message_names_the_extra() -> None:
    code = """
import asyncio, sys
sys.modules["mcp"] = None
from codexteam.adapters.mcp_servers import McpServers
from codexteam.config.settings import McpPlace, McpServerSettings
servers = McpServers({"a": McpServerSettings("a", command="a", place=McpPlace.HOST)}, {})
print(asyncio.run(servers.start(["a"])).failures[0].message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'codexteam[mcp]'" in done.stdout
