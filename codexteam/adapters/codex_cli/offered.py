"""Our tools in the form in which an app-server offers them, and their outputs in the form in which it takes them."""

from typing import Final

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.ports.harness import OfferedTool

#: The beginning of names that Codex keeps for servers it starts itself.
_RESERVED: Final = "mcp__"


def offered_name(tool: OfferedTool) -> str:
    """Return the name under which Codex offers a tool."""
    return str(tool.definition.get("name", "")).removeprefix(_RESERVED)


def dynamic_tool(tool: OfferedTool) -> JSONObject:
    """Return a tool's entry in `dynamicTools`."""
    return {
        "type": "function",
        "name": offered_name(tool),
        "description": tool.definition.get("description") or "",
        "inputSchema": tool.definition.get("parameters") or {"type": "object"},
    }


def content_items(content: str | tuple[JSONObject, ...]) -> list[JSONValue]:
    """Return an output as an app-server takes it: texts, and pictures by their data."""
    if isinstance(content, str):
        return [{"type": "inputText", "text": content}]
    items: list[JSONValue] = []
    for part in content:
        if part.get("type") == "input_image":
            items.append({"type": "inputImage", "imageUrl": part.get("image_url")})
        else:
            items.append({"type": "inputText", "text": part.get("text")})
    return items
