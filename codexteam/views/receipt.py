"""Renders a receipt in 80 columns: one line per value, with its origin."""

import re
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):\d+")
_LABEL_WIDTH = 14
_STARTED_WIDTH = 16

#: What a receipt has only once an agent was started.
_OF_AGENT = frozenset(
    {
        "agent",
        "base_text_sha256",
        "started_sandbox",
        "environment",
        "plan_windows",
        "plan_credits",
        "project_docs",
        "started_by",
    }
)

_Row = tuple[str, str, str]
"""Label, value, origin."""


def receipt_text(found: JSONObject, home: Path) -> str:
    """Return the lines. Files are listed at the end and referred to by number."""
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
        lines.extend(f"[{number}] {tilde(file, home)}" for number, file in enumerate(files, start=1))
    return "".join(f"{clean_line(line)}\n" for line in lines)


def agent_receipt_text(found: JSONObject, home: Path) -> str:
    """Return the lines of one agent's receipt: its role as it was configured, then what it was really started with."""
    of_role = {key: value for key, value in found.items() if key not in _OF_AGENT}
    rows = [(key, value) for key, value in found.items() if key in _OF_AGENT and value]
    started = [f"{key.replace('_', ' '):<{_STARTED_WIDTH}}  {_joined(value)}" for key, value in rows]
    return receipt_text(of_role, home) + "".join(f"{clean_line(line)}\n" for line in ("", *started))


def _joined(value: JSONValue) -> str:
    match value:
        case list():
            return ", ".join(map(_joined, value))
        case dict():
            shown = {key: part for key, part in value.items() if key != "type" and part not in (None, "", False, [])}
            return ", ".join(f"{key} {_joined(part)}" for key, part in shown.items())
        case _:
            return str(value)


def _wrapped(text: str) -> list[str]:
    columns = shutil.get_terminal_size().columns
    return textwrap.wrap(clean_line(text), max(columns, 40), initial_indent="  ", subsequent_indent="  ")


def _short(origin: str, files: list[str]) -> str:
    """Return a number for a file, adding it to `files`, and the line; other origins stay as they are."""
    match = _PLACE.fullmatch(origin)
    file, line = (match["file"], f":{match['line']}") if match else (origin, "")
    if "/" not in file:
        return origin if match is None else f"{file}{line}"
    if file not in files:
        files.append(file)
    return f"[{files.index(file) + 1}]{line}"


def tilde(file: str, home: Path) -> str:
    """Return a path, or a place in a file, with `~` for the home folder."""
    return f"~/{Path(file).relative_to(home)}" if Path(file).is_relative_to(home) else file


def _rows(key: str, value: JSONValue) -> list[_Row]:
    """Return the rows of one entry of a receipt."""
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
            place = "in the sandbox" if value.get("place") == "sandbox" else "outside"
            return [(label, f"{value['id']} ({value['transport']}, {place}: {value['where']})", origin)]
        case "price":
            return _prices(label, value, origin)
        case "skills":
            return [row for name, inner in value.items() for row in _skill_rows(label, name, inner)]
        case _:
            return [(label, _word(value["value"]) + _hosts(value.get("hosts")), origin), *_reasons(label, value)]


def _reasons(label: str, value: Mapping[str, JSONValue]) -> list[_Row]:
    """Return what was asked for, if the value differs from it, and what capped it."""
    asked, cap = value.get("asked"), value.get("capped_by")
    rows = []
    if isinstance(asked, Mapping):
        is_switch = asked["value"] in {"true", "false"}
        what = f"{_last(asked['key'])} {asked['value']}" if is_switch else str(asked["value"])
        rows.append((label, f"asked {what}", str(asked["origin"])))
    if isinstance(cap, Mapping):
        rows.append((label, f"capped by {_last(cap['key'])}", str(cap["origin"])))
    return rows


def _last(key: JSONValue) -> str:
    return str(key).rpartition(".")[2]


def _skill_rows(label: str, name: str, value: JSONValue) -> list[_Row]:
    if isinstance(value, list):
        return [
            (label, f"{entry['skill']} {'on' if entry['enabled'] else 'off'}", str(entry["origin"]))
            for entry in value
            if isinstance(entry, Mapping)
        ]
    if not isinstance(value, Mapping):
        return []
    on = value["value"] is True
    if name == "include_instructions":
        text = f"{'' if on else 'not '}listed in the instructions"
    else:
        text = f"bundled ones {'on' if on else 'off'}"
    return [(label, text, str(value["origin"])), *_reasons(label, value)]


def _prices(label: str, value: Mapping[str, JSONValue], origin: str) -> list[_Row]:
    """Return the prices per million tokens, one per line."""
    kinds = {"input_usd": "input", "cached_input_usd": "cached", "output_usd": "output"}
    rows = [(label, f"${value[key]:g} {word}", origin) for key, word in kinds.items() if key in value]
    if "long_above_tokens" in value:
        rows.append((label, f"more above {value['long_above_tokens']:,}", origin))
    return rows or [(label, "unknown", "")]


def _hosts(hosts: JSONValue) -> str:
    return f": {', '.join(map(str, hosts))}" if isinstance(hosts, list) and hosts else ""


def _word(value: JSONValue) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else str(value)
