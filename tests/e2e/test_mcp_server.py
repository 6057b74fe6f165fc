"""`mcp`: another agent plans nothing itself, starts a run through the tools, and takes its result."""

import asyncio
import json
import sys

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]


async def talk(world: World) -> None:
    """Use the tools as an agent does."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "codexteam", "mcp", "-c", "codexteam.limits.max_threads=2"],
        env=world.environment(),
        cwd=world.repository,
    )
    async with Client(stdio_client(server), mode="legacy", cache=None) as client:

        async def call(tool: str, **arguments: object) -> tuple[bool, str]:
            answer = await client.call_tool(tool, arguments)
            return bool(answer.is_error), "".join(getattr(part, "text", "") for part in answer.content)

        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {"plan", "run", "status", "inbox", "answer", "diff", "apply"}
        writing = {tool.name for tool in tools if tool.annotations and not tool.annotations.read_only_hint}
        assert writing == {"plan", "run", "answer", "apply"}

        failed, said = await call("status")
        assert (failed, "there are no runs here yet" in said) == (True, True)
        failed, said = await call("run", goal="Do it.", budget="5 apples")
        assert (failed, "found no amount with its unit" in said) == (True, True)

        failed, said = await call("run", goal=one_task.GOAL, budget="5usd")
        assert not failed, said
        run = json.loads(said)["run"]
        while (state := json.loads((await call("status", run=run))[1].splitlines()[0])["state"]) == "running":
            await asyncio.sleep(0.5)
        assert state == "green"
        assert "+++ b/tally/markdown.py" in (await call("diff", run=run))[1]
        assert (await call("inbox"))[0] is False
        world.git("stash", "-q")  # what the user has under way would be in the way
        failed, said = await call("apply", run=run)
        assert not failed, said


def test_an_agent_runs_a_goal_by_tools_and_takes_the_result(make: MakeWorld) -> None:
    world, _ = make(one_task.TEAM, one_task.play)

    asyncio.run(talk(world))

    assert (world.repository / "tally" / "markdown.py").is_file()
    skill = world.run("init", "--skill")
    assert skill.code == 0, skill.err
    text = (world.repository / ".agents" / "skills" / "codexteam" / "SKILL.md").read_text()
    assert text.startswith("---\nname: codexteam\ndescription: ")
