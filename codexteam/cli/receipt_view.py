"""How a receipt is shown: one line a value, with where it comes from, in 80 columns."""

import re
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.text import clean_line

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):\d+")
_LABEL_WIDTH = 14

_Row = tuple[str, str, str]
"""Label, value, origin."""


def receipt_text(found: JSONObject, home: Path) -> str:
    """Give the lines. Files stand in a list at the end, and a number for them where they are meant."""
    files: list[str] = []
    rows = [
        row for key, value in found.items() if key not in ("schema", "role", "description") for row in _rows(key, value)
    ]
    shown = [(label, value, _short(origin, files)) for label, value, origin in rows]
    # hashes fill a line of their own and would push every origin to the right
    width = max((len(value) for _, value, origin in shown if origin), default=0)
    lines = [str(found["role"]), *_wrapped(str(found["description"])), ""]
    before = ""
    for label, value, origin in shown:
        name = "" if label == before else label
        lines.append(f"{name:<{_LABEL_WIDTH}}{value:<{width}}  {origin}".rstrip())
        before = label
    if files:
        lines.append("")
        lines.extend(f"[{number}] {_tilde(file, home)}" for number, file in enumerate(files, start=1))
    return "".join(f"{clean_line(line)}\n" for line in lines)


def _wrapped(text: str) -> list[str]:
    columns = shutil.get_terminal_size().columns
    return textwrap.wrap(clean_line(text), max(columns, 40), initial_indent="  ", subsequent_indent="  ")


def _short(origin: str, files: list[str]) -> str:
    """Give a number for a file, adding it to `files`, and the line; other origins stay as they are."""
    match = _PLACE.fullmatch(origin)
    file, line = (match["file"], f":{match['line']}") if match else (origin, "")
    if "/" not in file:
        return origin if match is None else f"{file}{line}"
    if file not in files:
        files.append(file)
    return f"[{files.index(file) + 1}]{line}"


def _tilde(file: str, home: Path) -> str:
    return f"~/{Path(file).relative_to(home)}" if Path(file).is_relative_to(home) else file


def _rows(key: str, value: JSONValue) -> list[_Row]:
    """Give the rows of one entry of a receipt."""
    label = key.replace("_", " ")
    if isinstance(value, list):
        return [row for entry in value for row in _rows(key, entry)] or [(label, "none", "")]
    if not isinstance(value, Mapping):
        return [(label, _word(value), "")]
    origin = str(value.get("origin", ""))
    match key:
        case "role_file":
            return [(label, "", str(value["path"])), ("  sha256", str(value["sha256"]), "")]
        case "instructions":
            return [(label, f"{value['bytes']} bytes", origin), ("  sha256", str(value["sha256"]), "")]
        case "tools":
            return [(label, str(value["name"]), origin)]
        case "mcp_servers":
            return [(label, f"{value['id']} ({value['transport']}: {value['where']})", origin)]
        case "skills":
            return [
                (label, f"{'' if value['include_instructions'] else 'not '}listed in the instructions", origin),
                (label, f"bundled ones {'on' if value['bundled'] else 'off'}", origin),
                *_overrides(label, value["overrides"], origin),
            ]
        case _:
            return [(label, _word(value["value"]) + _hosts(value.get("hosts")), origin)]


def _overrides(label: str, overrides: JSONValue, origin: str) -> list[_Row]:
    entries = overrides if isinstance(overrides, list) else []
    return [
        (label, f"{entry['skill']} {'on' if entry['enabled'] else 'off'}", origin)
        for entry in entries
        if isinstance(entry, dict)
    ]


def _hosts(hosts: JSONValue) -> str:
    return f": {', '.join(map(str, hosts))}" if isinstance(hosts, list) and hosts else ""


def _word(value: JSONValue) -> str:
    return "-" if value is None else str(value)
