"""`search_code`: finds text, definitions and structure in the commit that an agent's workspace began with."""

from collections.abc import Sequence
from typing import Protocol

from codexteam.agent.tools.arguments import parse_arguments, text_argument
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject
from codexteam.core.paths import show
from codexteam.core.text import clean_line
from codexteam.ports.symbol_index import CodeMatch, CodePart

_KINDS = ("text", "symbol", "pattern")
_MOST_LISTED = 40


class CodeSearch(Protocol):
    """The code of one commit."""

    async def text(self, words: str, under: str) -> list[CodePart]:
        """Return the parts in which the words stand, best first."""
        ...

    async def symbol(self, name: str, under: str) -> tuple[list[CodePart], list[CodePart]]:
        """Return where a name is defined, and where it is used."""
        ...

    async def pattern(self, pattern: str, under: str) -> list[CodeMatch] | str:
        """Return where a structural pattern matches; else why it cannot be used."""
        ...


class SearchCode:
    """Searches the code; a `Tool`."""

    def __init__(self, code: CodeSearch) -> None:
        self._code = code

    @property
    def name(self) -> str:
        """The tool's name."""
        return "search_code"

    @property
    def only_reads(self) -> bool:
        return True

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        return function_definition(
            self.name,
            "Finds code in your base commit: a symbol's definitions and uses, words, or a pattern such as open($A, $$$).",
            {
                "query": {"type": "string"},
                "kind": {"type": "string", "enum": list(_KINDS)},
                "path": {"type": "string"},
            },
            ("query", "kind"),
            closed=False,
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - nothing is kept of a call
        """Return what was found, a line each.

        Raises:
            ToolProblem: nothing to search for, an unknown kind, or a pattern that cannot be used.
        """
        values = parse_arguments(self.name, arguments, known=("query", "kind", "path"))
        query = text_argument(values, "query").strip()
        kind = text_argument(values, "kind", default="text")
        under = text_argument(values, "path", default="")
        if not query:
            raise ToolProblem("the argument query is empty.")
        match kind:
            case "symbol":
                defined, used = await self._code.symbol(query, under)
                return ToolOutput(_symbol_text(defined, used) or f"nothing is called {clean_line(query)}")
            case "text":
                found = await self._code.text(query, under)
                return ToolOutput("\n".join(map(_line, found[:_MOST_LISTED])) or "no part of the code has these words")
            case "pattern":
                matches = await self._code.pattern(query, under)
                if isinstance(matches, str):
                    raise ToolProblem(f"the pattern cannot be used: {clean_line(matches)}")
                lines = [_place(one.path, one.first_line, one.last_line, one.text) for one in matches]
                return ToolOutput(_listed(lines) or "nothing matches the pattern")
            case _:
                raise ToolProblem(f"kind must be one of {', '.join(_KINDS)}, found {clean_line(kind)!r}.")


def _symbol_text(defined: Sequence[CodePart], used: Sequence[CodePart]) -> str:
    parts = [f"defined:\n{_listed([_line(part) for part in defined])}"] if defined else []
    parts += [f"used in:\n{_listed([_line(part) for part in used])}"] if used else []
    return "\n".join(parts)


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _MOST_LISTED} more; narrow it with `path`"] if len(lines) > _MOST_LISTED else []
    return "\n".join([*lines[:_MOST_LISTED], *more])


def _line(part: CodePart) -> str:
    return _place(part.path, part.first_line, part.last_line, part.signature)


def _place(path: bytes, first: int, last: int, text: str) -> str:
    return f"{show(path)}:{first}-{last} {clean_line(text)}"
