"""`mcp`: the commands as tools for other agents."""

import typer

from codexteam.cli.options import global_options, load_request, option_words


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(ctx: typer.Context) -> int:
    """Serve plan, run, status and more to other agents (MCP).

    The server speaks the Model Context Protocol on standard input and output, and works in this repository. Tools: plan,
    run (returns at once), status, inbox, answer, diff, apply. To add it to Codex: codex mcp add codexteam -- codexteam mcp
    """
    from codexteam.app.mcp_server import serve_commands

    request = load_request(ctx)
    serve_commands(request.cwd, request.environment, option_words(global_options(ctx)))
    return 0
