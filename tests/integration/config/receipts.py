"""Whether a receipt tells the truth: each place that it names as an origin has the value on its line."""

import json
from collections.abc import Iterator
from pathlib import Path

from codexteam.core.ids import JSONObject, JSONValue

SHIPPED = Path(__file__).parents[3] / "agents"


def places(value: JSONValue) -> Iterator[tuple[JSONValue, str]]:
    """Give every value of a receipt that has an origin."""
    if isinstance(value, dict):
        if "origin" in value and "value" in value:
            yield value["value"], str(value["origin"])
        for inner in value.values():
            yield from places(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from places(inner)


def lies(found: JSONObject) -> list[tuple[JSONValue, str]]:
    """Give the values of a receipt that their lines do not have."""
    wrong = []
    for value, origin in places(found):
        file, _, rest = origin.partition(":") if origin.startswith("built-in:") else (origin, "", "")
        named, *numbers = (str(SHIPPED / rest) if file == "built-in" else origin).rsplit(":", 2)
        if not named.endswith(".toml"):
            continue
        line = Path(named).read_text(encoding="utf-8").splitlines()[int(numbers[0]) - 1]
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        if text not in line.replace('"', ""):
            wrong.append((value, origin))
    return wrong
