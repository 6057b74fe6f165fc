"""Strict reading of a function call's arguments: what does not fit is said, never guessed."""

import json
from collections.abc import Collection

from codexteam.agent.tools.tool import ToolProblem
from codexteam.core.ids import JSONObject, JSONValue


def parse_arguments(tool: str, text: str, *, known: Collection[str] | None = None) -> JSONObject:
    """Read the arguments of a call; without `known` any name is taken.

    Raises:
        ToolProblem: no JSON, no object, or a name that is not in `known`.
    """
    try:
        value: JSONValue = json.loads(text or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ToolProblem(f"the arguments of {tool} are not valid JSON: {error}. Send one JSON object.") from None
    if not isinstance(value, dict):
        raise ToolProblem(f"the arguments of {tool} must be one JSON object, found {_kind(value)}.")
    unknown = [] if known is None else sorted(set(value) - set(known))
    if unknown and known:
        raise ToolProblem(f"{tool} has no argument {', '.join(unknown)[:200]}; it takes {', '.join(sorted(known))}.")
    return value


def text_argument(arguments: JSONObject, name: str, *, default: str | None = None) -> str:
    """Return a text argument; without a default it is required.

    Raises:
        ToolProblem: missing, no text, or with a NUL character.
    """
    value = arguments.get(name)
    if value is None:
        if default is None:
            raise ToolProblem(f"the argument {name} is missing.")
        return default
    if not isinstance(value, str):
        raise ToolProblem(f"the argument {name} must be a string, found {_kind(value)}.")
    if "\0" in value:
        raise ToolProblem(f"the argument {name} must not contain a NUL character.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ToolProblem(f"the argument {name} is not valid Unicode (a lone surrogate).") from None
    return value


def number_argument(arguments: JSONObject, name: str, *, default: float, least: float, most: float) -> float:
    """Return a number argument, moved into its bounds.

    Raises:
        ToolProblem: no number.
    """
    value = arguments.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolProblem(f"the argument {name} must be a number, found {_kind(value)}.")
    return float(min(max(value, least), most))


def flag_argument(arguments: JSONObject, name: str, *, default: bool) -> bool:
    """Return a flag.

    Raises:
        ToolProblem: neither true nor false.
    """
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ToolProblem(f"the argument {name} must be true or false, found {_kind(value)}.")
    return value


def _kind(value: JSONValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
