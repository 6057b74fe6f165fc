"""Whether a value fits a schema: the part of JSON Schema that the contracts use, and nothing more.

An own hundred lines instead of a dependency: the contracts are ours and closed, a validator for all of JSON Schema
takes 80 ms to import, and the message has to be one that a model can act on. A test holds it to the real library.
"""

from codexteam.core.json_types import JSONObject, JSONValue

#: What a schema may say. `description` and the like explain and do not bind.
BINDING = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum"})
EXPLAINING = frozenset({"$schema", "title", "description"})

#: The most problems that are worth telling at once.
_MOST_PROBLEMS = 12


def misfits(value: JSONValue, schema: JSONObject) -> list[str]:
    """Give what does not fit, each with its place, such as `tasks[2].effort: 9 is not one of 1, 2, 3, 4, 5`."""
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
