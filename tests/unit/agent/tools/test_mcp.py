"""Servers' tools under names and in shapes that the API takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.agent.tools.mcp import make_mcp_tools, tool_name
from codexteam.agent.tools.tool import ToolOutput, ToolProblem
from codexteam.core.ids import JSONObject
from codexteam.ports.tool_servers import ImagePart, NoServerAnswer, ServerAnswer, ServerTool, TextPart
from tests.fakes.fake_tool_server import FakeServer, FakeToolServers


def _tool(server_id: str, name: str) -> ServerTool:
    return ServerTool(server_id, name, "What it does.", {})


def test_a_name_says_server_and_tool() -> None:
    assert tool_name("docs", "search") == "mcp__docs__search"
    assert tool_name("my docs", "search/all") == "mcp__my_docs__search_all"


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_name_is_valid_and_always_the_same(server_id: str, tool: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool_name(server_id, tool))
    assert tool_name(server_id, tool) == tool_name(server_id, tool)


def test_long_names_with_the_same_beginning_stay_apart() -> None:
    names = [tool_name("server", "x" * 80 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert all(len(name) == 64 and name.startswith("mcp__server__xxx") for name in names)


def test_tools_whose_names_would_be_the_same_stay_apart() -> None:
    tools = make_mcp_tools([_tool("a", "x.y"), _tool("a", "x/y")], FakeToolServers({}))
    assert tools[0].name == "mcp__a__x_y"
    assert re.fullmatch("mcp__a__x_y_[0-9a-f]{12}", tools[1].name)


def test_a_definition_is_a_function_of_an_object() -> None:
    (tool,) = make_mcp_tools([_tool("a", "x")], FakeToolServers({}))
    assert tool.definition == {
        "type": "function",
        "name": "mcp__a__x",
        "description": "What it does.",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }


async def _call(answer: ServerAnswer | NoServerAnswer, arguments: str = "{}") -> ToolOutput:
    async def behaviour(_: JSONObject) -> ServerAnswer | NoServerAnswer:
        return answer

    servers = FakeToolServers({"a": FakeServer({"x": behaviour})})
    started = await servers.start(["a"])
    # the arguments are the server's to check, so any object goes through
    (tool,) = make_mcp_tools(started.tools, servers)
    output = await tool.call(arguments, call_id="c1")
    assert servers.calls
    return output


async def test_text_and_images_come_back_in_order() -> None:
    assert await _call(ServerAnswer((TextPart("a"), TextPart("b")))) == ToolOutput("a\nb")
    assert await _call(ServerAnswer((TextPart("a"), ImagePart("QQ==", "image/png")))) == ToolOutput(
        (
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "data:image/png;base64,QQ=="},
        )
    )


async def test_arguments_of_any_name_reach_the_server() -> None:
    assert await _call(ServerAnswer(()), '{"anything": {"deep": [1]}}') == ToolOutput("")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ServerAnswer((TextPart("it can't be done"),), failed=True), "it can't be done"),
        (ServerAnswer((), failed=True), "did not say why"),
        (NoServerAnswer("the server a went away"), "the server a went away"),
    ],
)
async def test_what_went_wrong_is_the_models_to_know(answer: ServerAnswer | NoServerAnswer, said: str) -> None:
    with pytest.raises(ToolProblem, match=said):
        await _call(answer)


async def test_arguments_that_are_no_object_never_reach_the_server() -> None:
    with pytest.raises(ToolProblem, match="must be one JSON object"):
        await _call(ServerAnswer(()), "[1]")
