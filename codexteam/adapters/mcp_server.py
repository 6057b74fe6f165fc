"""codexteam's commands as tools of a Model Context Protocol server, for agents that are at work somewhere else.

Each tool is one command of the command line, in a process of its own, and answers with what that prints for programs: an
agent is told what a person at a terminal would be told, and an error is the command's own. A run is started in a session of
its own and outlives the server.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from codexteam.core.ids import JSONObject

Call = Callable[[Sequence[str]], Awaitable[str]]
"""Runs a command to its end and returns its output; raises `CommandFailed`."""

_INSTRUCTIONS = """\
codexteam plans a goal, implements it with a team of agents in sandboxes, merges and tests it, until every gate is green.
`plan` and `run` return at once; ask `status` now and then (minutes, not seconds) until its `state` is no longer `running`. A
plan is then in plan.md at the repository's root. What waits for a person is in `inbox`: show it to your user, and pass on
their answer, not your own. `diff` shows what was changed, `apply` merges it into the checked-out branch."""


class CommandFailed(Exception):  # noqa: N818 - what happened, in the command's words
    """A command ended with an error; the text says why and what to do."""


def serve(call: Call, begin: Call, *, version: str) -> None:  # noqa: C901 - a function a tool, no logic
    """Serve on standard input and output until that is closed.

    Args:
        call: runs a command to its end.
        begin: starts a run and returns its id as soon as it has one.
        version: codexteam's own.
    """
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations
    from pydantic import Field

    server = MCPServer("codexteam", instructions=_INSTRUCTIONS, version=version)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    spends = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
    changes = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
    run_id = Annotated[str, Field(description="A run id or the start of one; empty for the newest run.")]
    budget = Annotated[
        str, Field(description="The most that may be spent, such as 5usd, 2000k (tokens) or 300credits.")
    ]

    async def done(run: Call, *words: str) -> str:
        try:
            return await run(words)
        except CommandFailed as error:
            raise ToolError(str(error)) from None

    def limited(budget: str) -> str:
        if budget.strip().lower() in {"", "none"}:
            raise ToolError("a budget is needed, such as 5usd: ask your user how much may be spent")
        return budget

    @server.tool(
        description="Begin to plan a goal, without implementing it, and return the run's id at once.",
        annotations=spends,
    )
    async def plan(goal: str, budget: budget) -> str:
        return await done(begin, "plan", "--quiet", "--budget", limited(budget), "--", goal)

    @server.tool(description="Start a run and return its id at once.", annotations=spends)
    async def run(goal: str, budget: budget) -> str:
        return await done(begin, "run", "--quiet", "--budget", limited(budget), "--", goal)

    @server.tool(description="Say how a run is: state, tasks, gates, findings, cost, what waits.", annotations=reads)
    async def status(run: run_id = "") -> str:
        return await done(call, "status", "--json", *_named(run))

    @server.tool(description="List what waits for a person, and how to answer it.", annotations=reads)
    async def inbox(run: run_id = "") -> str:
        return await done(call, "inbox", "--json", *(("--run", run) if run else ()))

    @server.tool(
        description="Give a person's answer to something in the inbox: a text, or `approve`, or `decline`.",
        annotations=changes,
    )
    async def answer(
        item: str,
        text: str = "",
        approve: bool = False,  # noqa: FBT001, FBT002 - the protocol's form
        decline: bool = False,  # noqa: FBT001, FBT002
        run: run_id = "",
    ) -> str:
        named = ("--run", run) if run else ()
        if decline:
            return await done(call, "answer", "--json", "--no", *named, "--", item)
        if approve:
            return await done(call, "approve", "--json", *named, "--", item)
        return await done(call, "answer", "--json", *named, "--", item, *((text,) if text else ()))

    @server.tool(description="Show what a run, or one of its tasks, changed, as a patch.", annotations=reads)
    async def diff(task: str = "", run: run_id = "") -> str:
        return await done(call, "diff", *(("--run", run) if run else ()), *(("--", task) if task else ()))

    @server.tool(description="Merge a green run's branch into the checked-out branch.", annotations=changes)
    async def apply(run: run_id = "") -> str:
        return await done(call, "apply", "--json", *_named(run))

    server.run("stdio")


def _named(run: str) -> tuple[str, ...]:
    return ("--", run) if run else ()


def tool_answer(fields: JSONObject) -> str:
    """Return an answer of a tool that is not a command's own output."""
    return json.dumps(fields)
