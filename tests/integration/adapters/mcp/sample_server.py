"""A server with one tool of each kind, on stdio or on a loopback port: `sample_server.py [PORT]`."""

import asyncio
import os
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ImageContent, TextContent, ToolAnnotations

server = MCPServer("sample")


@server.tool(description="Gives the text back.", annotations=ToolAnnotations(read_only_hint=True))
def echo(text: str) -> str:
    return text


@server.tool(structured_output=False)
def picture() -> list[TextContent | ImageContent]:
    return [
        TextContent(type="text", text="a picture"),
        ImageContent(type="image", data="aGVsbG8=", mime_type="image/png"),
    ]


@server.tool()
def fail() -> str:
    message = "it can't be done"
    raise ToolError(message)


@server.tool()
def environment() -> str:
    return ",".join(sorted(os.environ))


@server.tool()
def process() -> str:
    return str(os.getpid())


@server.tool()
async def wait() -> str:
    await asyncio.sleep(60)
    return "done"


@server.tool()
def die() -> str:
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
