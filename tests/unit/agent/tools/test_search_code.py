"""`search_code`: what it answers, and what it says of calls that cannot be done."""

import json

import pytest

from codexteam.agent.tools.search_code import SearchCode
from codexteam.agent.tools.tool import ToolProblem
from codexteam.ports.symbol_index import CodeMatch, CodePart


def part(path: bytes, name: str, first: int, last: int) -> CodePart:
    return CodePart(first, 1, path, name, "function_definition", first, last, f"def {name}()")


class Code:
    """Knows two parts."""

    async def text(self, words: str, under: str) -> list[CodePart]:
        return [part(b"src/a.py", "load", number, number) for number in range(1, 60)] if "load" in words else []

    async def symbol(self, name: str, under: str) -> tuple[list[CodePart], list[CodePart]]:
        if name != "load":
            return [], []
        return [part(b"src/a.py", "load", 3, 9)], [part(b"src/b\x1b.py", "main", 1, 2)]

    async def pattern(self, pattern: str, under: str) -> list[CodeMatch] | str:
        return "no such language" if pattern == "(" else [CodeMatch(b"src/a.py", 4, 4, f"open(p) {under}")]


async def asked(**arguments: str) -> str:
    output = await SearchCode(Code()).call(json.dumps(arguments), call_id="c")
    assert isinstance(output.content, str)
    return output.content


async def test_a_name_is_found_where_it_is_defined_and_used() -> None:
    assert await asked(query="load", kind="symbol") == (
        "defined:\nsrc/a.py:3-9 def load()\nused in:\nsrc/b\\x1b.py:1-2 def main()"
    )


async def test_what_is_found_is_a_bounded_list_of_places() -> None:
    assert len((await asked(query="load it", kind="text")).splitlines()) == 40
    assert await asked(query="open($P)", kind="pattern", path="src") == "src/a.py:4-4 open(p) src"


async def test_nothing_found_is_said() -> None:
    assert await asked(query="other", kind="symbol") == "nothing is called other"
    assert await asked(query="other", kind="text") == "no part of the code has these words"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"query": " ", "kind": "text"}, "query is empty"),
        ({"query": "x", "kind": "regex"}, "kind must be one of text, symbol, pattern"),
        ({"query": "(", "kind": "pattern"}, "no such language"),
        ({"query": "x", "kind": "text", "where": "src"}, "has no argument where"),
    ],
)
async def test_what_is_wrong_with_a_call_is_said(arguments: dict[str, str], problem: str) -> None:
    with pytest.raises(ToolProblem, match=problem):
        await asked(**arguments)
