"""A run whose agents have MCP servers: in the sandboxes on their work, outside in no checkout; and what is told of them."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import edits
from tests.demo.script import patch
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World, fingerprint
from tests.integration.adapters.mcp.real_servers import real_server
from tests.scripted_api.script import Call, Played, function_call

pytestmark = pytest.mark.slow

_SERVER = Path(__file__).parents[1] / "integration" / "adapters" / "mcp" / "plain_server.py"
_INSIDE = '[mcp_servers.files]\ncommand = "python3"\nargs = ["tools/server.py"]\nstartup_timeout_sec = 60\n'


def _with_server(world: World) -> None:
    """Put the server into the repository, for sandboxes to have it."""
    (world.repository / "tools").mkdir()
    (world.repository / "tools" / "server.py").write_text(_SERVER.read_text())
    world.git("add", "tools")
    world.git("-c", "user.name=u", "-c", "user.email=u@example.org", "commit", "-qm", "Add a server", "--", "tools")


def _configure(world: World, text: str, team: str = "") -> None:
    home = world.home / ".codex"
    config = home / "config.toml"
    config.write_text(config.read_text() + text)
    own = home / "codexteam.config.toml"
    own.write_text((own.read_text() if own.exists() else "") + team)


def _calling(seen: list[Call], path: str = "tally/markdown.py", server: str = "files") -> Callable[[Call], Played]:
    """Play one task whose agent writes a file by a server's tool: of the work itself, unless another path is given."""

    def play(call: Call) -> Played:
        if call.purpose != "implement":
            return one_task.play(call)
        seen.append(call)
        if call.turn > 1:
            return one_task.play(call)
        arguments: JSONObject = {"path": path, "text": edits.MARKDOWN}
        files = {"tests__test_markdown": edits.TEST_MARKDOWN}
        if path != "tally/markdown.py":
            files["tally__markdown"] = edits.MARKDOWN
        return [function_call(f"mcp__{server}__write", arguments, call_id="call_mcp"), patch(call, edits.add(**files))]

    return play


def _output(call: Call) -> object:
    """Give what the model was told of the server's answer."""
    items = call.body["input"]
    assert isinstance(items, list)
    return next(
        item["output"]
        for item in items
        if isinstance(item, dict) and item.get("call_id") == "call_mcp" and "output" in item
    )


def _notices(lines: list[JSONObject]) -> str:
    return "\n".join(str(line["text"]) for line in lines if line["kind"] == "notice")


def _tools(call: Call) -> dict[str, Any]:
    tools = call.body["tools"]
    assert isinstance(tools, list)
    return {str(tool["name"]): tool for tool in tools if isinstance(tool, dict) and "name" in tool}


def test_a_file_server_works_in_the_sandbox_and_not_in_the_checkout(make: MakeWorld) -> None:
    seen: list[Call] = []
    world, _ = make(one_task.TEAM, _calling(seen))
    _with_server(world)
    _configure(world, _INSIDE)
    before = fingerprint(world)
    ended = world.run("run", one_task.GOAL, "--json")
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert fingerprint(world) == before
    assert not [line for line in ended.lines if line["kind"] == "checkout.changed"]
    assert "outside" not in _notices(ended.lines)
    assert _output(seen[-1]) == "wrote /work/tally/markdown.py"
    # one bad tool costs no other, and what the server says of itself is data
    assert {"mcp__files__write", "mcp__files__odd", "mcp__files__none"} <= _tools(seen[-1]).keys()
    said = json.dumps(seen[-1].body["input"])
    assert "nobody's orders" in said
    assert "Use write for files." in said
    assert "Use write for files." not in str(seen[-1].body["instructions"])


def test_a_slow_server_delays_no_call_and_is_there_when_it_is_called(make: MakeWorld) -> None:
    seen: list[Call] = []
    world, _ = make(one_task.TEAM, _calling(seen))
    _with_server(world)
    _configure(world, _INSIDE.replace('"tools/server.py"', '"tools/server.py", "--slow", "8"'))
    ended = world.run("run", one_task.GOAL, "--json")
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert "mcp__files__write" not in _tools(seen[0])
    assert "mcp__files__write" in _tools(seen[-1])
    assert _output(seen[-1]) == "wrote /work/tally/markdown.py"


def test_a_host_server_is_named_and_its_changes_to_the_checkout_reported(make: MakeWorld, tmp_path: Path) -> None:
    seen: list[Call] = []
    target = tmp_path / "machine" / "tally" / "README.md"
    world, _ = make(one_task.TEAM, _calling(seen, str(target), "away"))
    assert world.repository / "README.md" == target
    server = f"[mcp_servers.away]\ncommand = {json.dumps(sys.executable)}\nargs = [{json.dumps(str(_SERVER))}]\n"
    _configure(world, server, '[codexteam.mcp_servers.away]\nplace = "host"\n')
    ended = world.run("run", one_task.GOAL, "--json")
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert f"MCP servers outside the sandboxes: away ({sys.executable}, in an empty folder)" in _notices(ended.lines)
    (changed,) = [line for line in ended.lines if line["kind"] == "checkout.changed"]
    assert changed["text"] == "1 file changed: README.md"
    assert changed["suspects"] == ["away"]
    assert ended.lines[-1]["kind"] == "run.finished"


def test_a_server_that_is_missing_inside_is_told_once_and_the_run_goes_on(make: MakeWorld) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    _configure(world, '[mcp_servers.files]\ncommand = "no-such-program"\n')
    ended = world.run("run", one_task.GOAL, "--json")
    assert ended.code == 0, ended.out[-3000:] + ended.err
    told = [line for line in _notices(ended.lines).splitlines() if line.startswith("MCP server files is not used: ")]
    assert len(told) == 1
    assert "no-such-program: not found" in told[0]
    assert '`place = "host"` in [codexteam.mcp_servers.files]' in told[0]


@pytest.mark.parametrize("place", ["sandbox", "elsewhere"])
def test_a_place_that_cannot_be_is_refused(make: MakeWorld, place: str) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    _configure(
        world, '[mcp_servers.web]\nurl = "http://127.0.0.1:1/"\n', f'[codexteam.mcp_servers.web]\nplace = "{place}"\n'
    )
    ended = world.run("config", "check")
    assert ended.code == 2
    assert "codexteam.mcp_servers.web.place: found" in ended.err


_REAL = """
[mcp_servers.filesystem]
command = "node"
args = ["servers/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js", "{root}"]
startup_timeout_sec = 120
[mcp_servers.memory]
command = "node"
args = ["servers/node_modules/@modelcontextprotocol/server-memory/dist/index.js"]
startup_timeout_sec = 120
[mcp_servers.everything]
command = "node"
args = ["servers/node_modules/@modelcontextprotocol/server-everything/dist/index.js"]
startup_timeout_sec = 120
[mcp_servers.git]
command = "/usr/bin/python3"
args = ["-m", "mcp_server_git", "--repository", "."]
env = {{ PYTHONPATH = "{root}/servers/packages" }}
startup_timeout_sec = 120
[mcp_servers.fetch]
command = "{fetch}"
startup_timeout_sec = 120
"""
_REAL_TEAM = '[codexteam.mcp_servers.fetch]\nplace = "host"\n'
_REAL_CALLS: tuple[tuple[str, JSONObject, str], ...] = (
    ("filesystem__write_file", {"path": "tally/markdown.py", "content": edits.MARKDOWN}, "Successfully wrote to"),
    ("git__git_create_branch", {"repo_path": "/work", "branch_name": "aside"}, "Created branch 'aside'"),
    ("git__git_checkout", {"repo_path": "/work", "branch_name": "aside"}, "Switched to branch 'aside'"),
    ("memory__read_graph", {}, '"entities"'),
    ("everything__echo", {"message": "hello"}, "Echo: hello"),
    ("fetch__fetch", {"url": "http://127.0.0.1:1/"}, "to fetch http://127.0.0.1:1/"),
)


@pytest.mark.timeout(400)  # eight thousand files go into the sandbox
def test_popular_servers_leave_the_checkout_byte_for_byte_as_it_was(make: MakeWorld) -> None:
    seen: list[Call] = []

    def play(call: Call) -> Played:
        if call.purpose != "implement":
            return one_task.play(call)
        seen.append(call)
        if call.turn > 1:
            return one_task.play(call)
        calls = [function_call(f"mcp__{tool}", arguments, call_id=f"call_{tool}") for tool, arguments, _ in _REAL_CALLS]
        return [*calls, patch(call, edits.add(tests__test_markdown=edits.TEST_MARKDOWN))]

    fetch = real_server("fetch").command
    modules = Path(real_server("filesystem").args[0]).parents[3]
    world, _ = make(one_task.TEAM.replace('bubblewrap"\n', 'bubblewrap"\ncopy_ignored = ["servers/**"]\n'), play)
    # what a sandbox needs is in its system, or comes with the workspace
    shutil.copytree(modules, world.repository / "servers" / "node_modules", symlinks=True)
    [packages] = Path(fetch).parents[1].glob("lib/python*/site-packages")
    shutil.copytree(
        packages, world.repository / "servers" / "packages", ignore=shutil.ignore_patterns("pip", "__pycache__")
    )
    with (world.repository / ".git" / "info" / "exclude").open("a") as file:
        file.write("/servers/\n")
    _configure(world, _REAL.format(root=world.repository, fetch=fetch), _REAL_TEAM)
    before = fingerprint(world)
    ended = world.run("run", one_task.GOAL, "--json")
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert fingerprint(world) == before
    assert not [line for line in ended.lines if line["kind"] == "checkout.changed"]
    outputs = {
        str(item["call_id"]): str(item["output"])
        for item in cast("list[JSONObject]", seen[-1].body["input"])
        if "output" in item
    }
    for tool, _, expected in _REAL_CALLS:
        assert expected in outputs[f"call_{tool}"]
    assert "MCP servers outside the sandboxes: fetch (" in _notices(ended.lines)
    # whichever comes after the first few has no room left for whole definitions
    assert re.search(r"MCP server \w+: the definitions of \d+ tools have", _notices(ended.lines))
