"""Contracts: what the final answer of each purpose must look like, and whether an answer does."""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, cast

from codexteam.agent.agent_kinds import AGENT_KINDS
from codexteam.core.ids import JSONObject, JSONValue, Purpose
from codexteam.ports.model import OutputSchema

#: Keys of a schema that explain and do not bind.
EXPLAINING = frozenset({"$schema", "title", "description"})

#: The most problems reported at once.
_MOST_PROBLEMS = 12


def misfits(value: JSONValue, schema: JSONObject) -> list[str]:
    """Return what does not fit, each with its place, such as `tasks[2].effort: 9 is not one of 1, 2, 3, 4, 5`."""
    problems: list[str] = []
    _check(value, schema, "", problems)
    return problems[:_MOST_PROBLEMS]


def _check(value: JSONValue, schema: JSONObject, place: str, problems: list[str]) -> None:
    if len(problems) >= _MOST_PROBLEMS:
        return
    allowed = _names(schema.get("type"))
    if allowed and not any(_is(value, name) for name in allowed):
        problems.append(f"{place or 'the answer'}: must be {' or '.join(allowed)}, found {_name_of(value)}")
        return
    choices = schema.get("enum")
    if isinstance(choices, list) and not any(_same(value, choice) for choice in choices):
        listed = ", ".join(str(choice) for choice in choices)
        problems.append(f"{place or 'the answer'}: {str(value)[:60]!r} is not one of {listed}")
    if isinstance(value, dict):
        _check_object(value, schema, place, problems)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        for index, element in enumerate(value):
            _check(element, items, f"{place}[{index}]", problems)


def _check_object(value: JSONObject, schema: JSONObject, place: str, problems: list[str]) -> None:
    known = schema.get("properties")
    properties = known if isinstance(known, dict) else {}
    at = f"{place}." if place else ""
    problems += [f"{at}{name}: missing" for name in _names(schema.get("required")) if name not in value]
    for name, element in value.items():
        of_name = properties.get(name)
        if isinstance(of_name, dict):
            _check(element, of_name, f"{at}{name}", problems)
        elif schema.get("additionalProperties") is False:
            problems.append(f"{at}{name[:60]}: not allowed; allowed: {', '.join(properties)}")


def _names(value: JSONValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _is(value: JSONValue, name: str) -> bool:
    match name:
        case "integer":
            # 2.0 is an integer to JSON Schema, and not to those who read the answer
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return _name_of(value) == name


def _name_of(value: JSONValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"


def _same(value: JSONValue, choice: JSONValue) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


#: What some servers leave in the text of models that think.
_THOUGHTS: Final = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_FENCE: Final = re.compile(r"```[a-zA-Z]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fits:
    """An answer that fits its contract."""

    answer: JSONObject


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why the answer was rejected; for the model."""

    reason: str


@cache
def contract_schema(name: str) -> JSONObject:
    """Return a contract as it ships. The one object is shared: nobody may change it."""
    text = resources.files("codexteam.agent").joinpath("contracts", f"{name}.schema.json").read_text(encoding="utf-8")
    return cast("JSONObject", json.loads(text))


@cache
def output_schema(purpose: Purpose) -> OutputSchema | None:
    """Return the schema that goes into requests of a purpose; None for plain text."""
    if purpose not in AGENT_KINDS:
        return None
    name = AGENT_KINDS[purpose].contract
    shipped = contract_schema(name)
    # a strict schema has no place for these two
    return OutputSchema(name, {key: value for key, value in shipped.items() if key not in EXPLAINING - {"description"}})


def read_answer(text: str, schema: OutputSchema) -> Fits | Misfit:
    """Read a final answer; what stands around the JSON is taken off, which servers without strict output need."""
    try:
        value: JSONValue = json.loads(_unfenced(text), parse_constant=_refuse_constant)
    except RecursionError:
        return Misfit("the answer is nested too deeply")
    except ValueError as error:
        return Misfit(f"the answer is not valid JSON: {error}")
    if not isinstance(value, dict):
        return Misfit("the answer must be one JSON object")
    value = cast("JSONObject", _with_nulls(value, schema.schema))
    problems = misfits(value, schema.schema)
    if problems:
        return Misfit(f"the answer does not fit the schema {schema.name}:\n- " + "\n- ".join(problems))
    return Fits(value)


def _with_nulls(value: JSONValue, schema: JSONValue) -> JSONValue:
    """Return an answer with null for every field that may be null and was left out, as servers without strict output do."""
    if not isinstance(schema, dict):
        return value
    known = schema.get("properties")
    if isinstance(value, dict) and isinstance(known, dict):
        absent: JSONObject = {
            name: None
            for name, of_name in known.items()
            if name not in value and isinstance(of_name, dict) and "null" in _names(of_name.get("type"))
        }
        return {**{name: _with_nulls(item, known.get(name)) for name, item in value.items()}, **absent}
    if isinstance(value, list):
        return [_with_nulls(item, schema.get("items")) for item in value]
    return value


def shape_fact(schema: OutputSchema) -> str:
    """Say what the final answer looks like, for servers that do not hold the model to the schema."""
    return f"Your final answer must be one JSON object and nothing else, of this shape:\n{shape_of(schema.schema)}"


def correction(answer: Misfit, schema: OutputSchema | None) -> str:
    """Say why an answer is sent back, and what it must look like."""
    shape = f"\n{shape_fact(schema)}" if schema else ""
    return f"Your final answer was rejected: {answer.reason}\nSend a corrected one.{shape}"


def shape_of(schema: JSONValue) -> str:
    """Return a schema in the fewest words that a model understands: JSON with types in place of values."""
    if not isinstance(schema, dict):
        return "any"
    choices, kinds = schema.get("enum"), schema.get("type")
    if isinstance(choices, list):
        return " | ".join(json.dumps(choice) for choice in choices)
    names = kinds if isinstance(kinds, list) else [kinds]
    return " | ".join(_shape_of_type(str(name), schema) for name in names)


def _shape_of_type(name: str, schema: JSONObject) -> str:
    match name:
        case "object":
            properties = schema.get("properties")
            fields = properties.items() if isinstance(properties, dict) else ()
            return "{" + ", ".join(f'"{key}": {shape_of(value)}' for key, value in fields) + "}"
        case "array":
            return f"[{shape_of(schema.get('items'))}, ...]"
        case _:
            return name


def _unfenced(text: str) -> str:
    """Return the JSON object of an answer that has something around it: a fence, a sentence, the model's thoughts."""
    stripped = _THOUGHTS.sub("", text).strip()
    if stripped.startswith("{"):
        return stripped
    fences = _FENCE.findall(stripped)
    if fences:
        return str(fences[-1])
    start, end = stripped.find("{"), stripped.rfind("}")
    return stripped[start : end + 1] if 0 <= start < end else stripped


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
