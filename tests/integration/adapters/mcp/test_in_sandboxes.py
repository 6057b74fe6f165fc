"""Servers inside a sandbox: on its workspace, with its limits, each agent its own; and what comes out of them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.mcp_servers import McpServers
from codexteam.agent.tools.mcp import make_mcp_tools
from codexteam.config.settings import McpPlace, McpServerSettings
from codexteam.errors import SurroundingsError
from codexteam.ports.sandbox import Sandbox
from codexteam.ports.tool_servers import NoServerAnswer, ServerAnswer, TextPart, ToolServers
from tests.integration.adapters.mcp.bare import bare_sandbox
from tests.integration.adapters.mcp.real_servers import real_server

_PLAIN = McpServerSettings(
    "plain",
    command=sys.executable,
    args=(str(Path(__file__).with_name("plain_server.py")),),
    startup_timeout_seconds=60,
)
_ROOT = Path("/home/user/repository")


def _inside(sandbox: Sandbox, *settings: McpServerSettings) -> ToolServers:
    async def enter() -> Sandbox:
        return sandbox

    return McpServers({server.id: server for server in settings}, dict(os.environ), root=_ROOT).inside(enter)


async def _text(servers: ToolServers, server_id: str, tool: str, **arguments: str) -> str:
    answer = await servers.call(server_id, tool, dict(arguments))
    assert isinstance(answer, ServerAnswer), answer
    return "\n".join(part.text for part in answer.parts if isinstance(part, TextPart))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


async def test_a_server_works_on_the_workspace_and_one_bad_tool_costs_no_other(work: Path) -> None:
    async with bare_sandbox(work) as sandbox:
        servers = _inside(sandbox, _PLAIN)
        started = await servers.start(["plain"])
        assert [tool.name for tool in started.tools] == ["fail", "look", "none", "odd", "write"]
        assert [tool.name for tool in started.tools if tool.only_reads] == ["look"]
        assert all(tool.input_schema["type"] == "object" for tool in started.tools)
        assert started.instructions["plain"].startswith("Use write for files.")
        assert await _text(servers, "plain", "write", path="a.txt", text="x" * 200_000) == f"wrote {work}/a.txt"
        # more than the sandbox lets a command print in all its life
        assert len(await _text(servers, "plain", "look", path="a.txt")) == 200_000
        await servers.close()
    assert (work / "a.txt").read_text() == "x" * 200_000


async def test_an_error_of_a_tool_is_told_and_loses_no_server(work: Path) -> None:
    async with bare_sandbox(work) as sandbox:
        servers = _inside(sandbox, _PLAIN)
        await servers.start(["plain"])
        answer = await servers.call("plain", "fail", {})
        assert answer == NoServerAnswer("the server plain refused the call: the quota is spent")
        answer = await servers.call("plain", "look", {"path": "nowhere"})
        assert isinstance(answer, ServerAnswer)
        assert answer.failed
        await servers.close()


async def test_secrets_and_the_hosts_variables_stay_out(work: Path) -> None:
    settings = replace(_PLAIN, env={"PLAIN": "1", "HUB_TOKEN": "secret"}, env_vars=("PATH_OF_MINE",))
    async with bare_sandbox(work) as sandbox:
        servers = _inside(sandbox, settings)
        await servers.start(["plain"])
        seen = (await _text(servers, "plain", "odd")).split(",")
        await servers.close()
    assert "PLAIN" in seen
    assert "HUB_TOKEN" not in seen
    assert "PATH_OF_MINE" not in seen


async def test_what_is_missing_in_a_sandbox_is_told_with_what_to_do(work: Path) -> None:
    missing = McpServerSettings("missing", command="no-such-program", env={"HUB_TOKEN": "x"})
    async with bare_sandbox(work) as sandbox:
        servers = _inside(sandbox, missing, replace(missing, id="needed", required=True))
        (failure,) = (await servers.start(["missing"])).failures
        with pytest.raises(SurroundingsError, match="required MCP servers could not be started: needed: "):
            await servers.start(["needed"])
        await servers.close()
    assert "no-such-program: not found" in failure.message
    assert "HUB_TOKEN was not passed" in failure.message
    assert "must be in the image" in failure.message
    assert '`place = "host"` in [codexteam.mcp_servers.missing]' in failure.message


@pytest.mark.slow
async def test_the_next_agent_waits_for_no_server_whose_tools_are_known(work: Path) -> None:
    async def enter() -> Sandbox:
        return sandbox

    async with bare_sandbox(work) as sandbox:
        slow = replace(_PLAIN, args=(*_PLAIN.args, "--slow", "3"))
        shared = McpServers({"plain": slow}, dict(os.environ), root=_ROOT)
        first, second = shared.inside(enter), shared.inside(enter)
        offered = await first.start(["plain"])
        began = time.monotonic()
        assert await second.start(["plain"]) == offered
        assert time.monotonic() - began < 3, "less than any server takes to start"
        assert await _text(second, "plain", "write", path="b.txt", text="y")  # started now
        await asyncio.gather(first.close(), second.close(), shared.close())


async def test_a_host_server_starts_in_an_empty_folder(tmp_path: Path) -> None:
    host = replace(_PLAIN, place=McpPlace.HOST)
    within = replace(host, id="within", cwd=tmp_path / "repository" / "tools")
    servers = McpServers({"plain": host, "within": within}, dict(os.environ), root=tmp_path / "repository")
    started = await servers.start(["plain", "within"])
    path = (await _text(servers, "plain", "write", path="a.txt", text="x")).removeprefix("wrote ")
    folder = Path(path).parent
    assert [found.name for found in folder.iterdir()] == ["a.txt"]
    assert folder.name.startswith("codexteam-mcp-")
    await servers.close()
    assert not folder.exists()
    assert "lies in your checkout" in started.failures[0].message


_CALLS: Mapping[str, tuple[tuple[str, ...], str, Mapping[str, str], str]] = {
    "filesystem": ((str(_ROOT),), "write_file", {"path": "a.txt", "content": "b"}, "Successfully wrote to a.txt"),
    "memory": ((), "read_graph", {}, '"entities": []'),
    "everything": ((), "echo", {"message": "hello"}, "Echo: hello"),
    "git": (("--repository", str(_ROOT)), "git_status", {"repo_path": "WORK"}, "On branch"),
    "fetch": ((), "fetch", {"url": "http://127.0.0.1:1/"}, ""),
}


@pytest.mark.parametrize("name", _CALLS)
async def test_the_servers_that_people_use_work_inside(work: Path, name: str) -> None:
    """Where their arguments name the user's checkout, they get the workspace."""
    real = real_server(name)
    subprocess.run(("git", "init", "-q", str(work)), check=True)
    more, tool, arguments, expected = _CALLS[name]
    settings = McpServerSettings(name, command=real.command, args=(*real.args, *more), startup_timeout_seconds=60)
    async with bare_sandbox(work) as sandbox:
        servers = _inside(sandbox, settings)
        started = await servers.start([name])
        assert started.failures == ()
        answer = await servers.call(
            name, tool, {key: value.replace("WORK", str(work)) for key, value in arguments.items()}
        )
        await servers.close()
    assert isinstance(answer, ServerAnswer)
    assert expected in str(answer.parts)
    assert answer.failed is (name == "fetch")  # there is nothing at that address; the answer is the tool's


async def test_a_roles_own_server_is_not_taken_for_another_of_its_name(work: Path) -> None:
    own = replace(_PLAIN, enabled_tools=("look",))
    (work / "a.txt").write_text("a")

    async def enter() -> Sandbox:
        return sandbox

    async with bare_sandbox(work) as sandbox:
        servers = McpServers({"plain": _PLAIN, "reviewer:plain": own}, dict(os.environ)).inside(enter)
        started = await servers.start(["reviewer:plain"])
        assert [(tool.server_id, tool.name) for tool in started.tools] == [("reviewer:plain", "look")]
        assert [tool.name for tool in make_mcp_tools(started.tools, servers)] == ["mcp__plain__look"]
        assert await _text(servers, "reviewer:plain", "look", path="a.txt") == "a"
        await servers.close()
