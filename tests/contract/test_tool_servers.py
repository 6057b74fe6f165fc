"""What all tool servers do: real processes through the official package, and the fake."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codexteam.adapters.mcp_servers import McpServers
from codexteam.config.settings import McpPlace, McpServerSettings
from codexteam.core.ids import JSONObject
from codexteam.errors import SurroundingsError
from codexteam.ports.tool_servers import ImagePart, NoServerAnswer, ServerAnswer, ServerFailure, TextPart, ToolServers
from tests.fakes.fake_tool_server import FakeServer, FakeToolServers

SAMPLE = str(Path(__file__).parents[1] / "integration" / "adapters" / "mcp" / "sample_server.py")
_TOOLS = ["die", "echo", "environment", "fail", "picture", "process", "wait"]


def _real() -> ToolServers:
    host = McpPlace.HOST
    sample = McpServerSettings("sample", command=sys.executable, args=(SAMPLE,), startup_timeout_seconds=60, place=host)
    missing = McpServerSettings("missing", command="/nowhere/server", place=host)
    needed = McpServerSettings("needed", command="/nowhere/server", required=True, place=host)
    return McpServers({server.id: server for server in (sample, missing, needed)}, {"PATH": "/usr/bin:/bin"})


def _fake() -> ToolServers:
    async def echo(arguments: JSONObject) -> ServerAnswer:
        return ServerAnswer((TextPart(str(arguments["text"])),))

    async def picture(_: JSONObject) -> ServerAnswer:
        return ServerAnswer((TextPart("a picture"), ImagePart("aGVsbG8=", "image/png")))

    async def fail(_: JSONObject) -> ServerAnswer:
        return ServerAnswer((TextPart("it can't be done"),), failed=True)

    tools = dict.fromkeys(_TOOLS, echo) | {"picture": picture, "fail": fail}
    return FakeToolServers(
        {
            "sample": FakeServer(tools, read_only=["echo"]),
            "missing": FakeServer(problem="FileNotFoundError: /nowhere/server"),
            "needed": FakeServer(problem="FileNotFoundError: /nowhere/server", required=True),
        }
    )


@pytest.fixture(params=["real", "fake"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[ToolServers]:
    made = _real() if request.param == "real" else _fake()
    yield made
    await made.close()
    await made.close()


async def test_tools_are_told_and_called(servers: ToolServers) -> None:
    started = await servers.start(["sample"])
    assert [tool.name for tool in started.tools] == _TOOLS
    assert {tool.server_id for tool in started.tools} == {"sample"}
    assert [tool.name for tool in started.tools if tool.only_reads] == ["echo"]
    assert started.failures == ()
    assert await servers.call("sample", "echo", {"text": "héllo"}) == ServerAnswer((TextPart("héllo"),))
    pictured = await servers.call("sample", "picture", {})
    assert pictured == ServerAnswer((TextPart("a picture"), ImagePart("aGVsbG8=", "image/png")))
    failed = await servers.call("sample", "fail", {})
    assert isinstance(failed, ServerAnswer)
    assert failed.failed
    assert "it can't be done" in str(failed.parts[0])
    # the same again: nothing is started twice, the order is the same
    assert (await servers.start(["sample", "sample"])).tools == started.tools


async def test_a_server_that_fails_is_told_and_the_others_work(servers: ToolServers) -> None:
    started = await servers.start(["missing", "unknown"])
    assert started.tools == ()
    assert [failure.server_id for failure in started.failures] == ["missing", "unknown"]
    assert "/nowhere/server" in started.failures[0].message
    assert started.failures[1] == ServerFailure("unknown", "there is no [mcp_servers] entry")


async def test_a_required_server_that_fails_stops_everything(servers: ToolServers) -> None:
    with pytest.raises(SurroundingsError, match="required MCP servers could not be started: needed: "):
        await servers.start(["needed"])


async def test_a_tool_that_nobody_offered_is_not_called(servers: ToolServers) -> None:
    for server_id in ("missing", "unknown"):
        answer = await servers.call(server_id, "echo", {"text": "x"})
        assert answer == NoServerAnswer(f"there is no tool echo on the server {server_id}")
