"""What a tool is: a definition for the request, and a call that gives an output or says what was wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.ids import JSONObject, JSONValue

#: How every output that reports a wrong call starts; the loop recognises such outputs by it.
PROBLEM_PREFIX = "Error: "


class ToolProblem(Exception):  # noqa: N818 - it is the model's problem, not ours
    """A call that cannot be done as asked; its text goes back to the model, so it says what to do instead."""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What goes back to the model: text, or content parts of the Responses API (`input_text`, `input_image`)."""

    content: str | tuple[JSONObject, ...]


class Tool(Protocol):
    """One tool of one agent."""

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        ...

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`: of type `function`, or `custom` for free text."""
        ...

    @property
    def only_reads(self) -> bool:
        """Whether a call changes nothing.

        Such a call may start before the answer is complete, run beside others, and be thrown away.
        """
        ...

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Do it. `arguments` is the model's text as it came: JSON for a function, anything for a custom tool.

        Cancelling stops whatever it started.

        Raises:
            ToolProblem: the arguments cannot be used, or what they ask for cannot be done.
            SandboxLost: the sandbox went away.
        """
        ...


def function_definition(
    name: str, description: str, properties: JSONObject, required: Sequence[str], *, closed: bool = True
) -> JSONObject:
    """Return the entry in a request's `tools` of a function; `closed` says that it takes no other arguments.

    The schema is not strict: what models really send is understood by the tool itself.
    """
    named: list[JSONValue] = [*required]
    parameters: JSONObject = {"type": "object", "properties": properties, "required": named}
    if closed:
        parameters["additionalProperties"] = False
    return {"type": "function", "name": name, "description": description, "strict": False, "parameters": parameters}
