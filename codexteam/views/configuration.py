"""What `config show` and `config check` print."""

import json
from collections.abc import Sequence

from codexteam.config.display import ShownValue, unused_keys
from codexteam.config.load import LoadedLayers
from codexteam.config.priced import price_problem, unkept_notice
from codexteam.config.settings import Settings
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean, clean_line, count_of
from codexteam.views.streams import OutputStreams, fit


def print_values(output: OutputStreams, values: Sequence[ShownValue], notices: Sequence[str], *, origin: bool) -> None:
    """Print the values that count, as TOML; for programs always with their origins."""
    if output.json_lines:
        for one in values:
            output.record({"type": "setting", "key": one.key, "value": _plain(one.value), "origin": one.origin})
        output.record({"type": "config.completed", "notices": list(notices)})
        return
    for one in values:
        where = f"  # {one.origin}" if origin else ""
        output.write(clean_line(f"{one.key} = {_toml(one.value)}{where}") + "\n")
    for notice in notices:
        output.note(f"note: {clean_line(notice)}")


def print_check(output: OutputStreams, loaded: LoadedLayers, settings: Settings) -> int:
    """Print every file that counts, and what in them is wrong or not used; return the exit code."""
    unkept = price_problem(settings)
    records: list[JSONObject] = []
    records += [{"type": "file", "path": layer.name, "kind": layer.kind.value} for layer in loaded.layers if layer.file]
    records += [{"type": "error", "message": unkept[0], "hint": unkept[1]}] if unkept else []
    records += [{"type": "warning", "message": warning} for warning in settings.warnings]
    notices = [notice for notice in settings.notices if notice not in settings.warnings]
    notices += [notice] if not unkept and (notice := unkept_notice(settings)) else []
    records += [{"type": "notice", "message": notice} for notice in notices]
    records += [{"type": "unused", "key": one.key, "origin": one.origin} for one in unused_keys(loaded)]
    code = 2 if unkept else 0
    if output.json_lines:
        for record in records:
            output.record(record)
        output.record({"type": "config.completed", "ok": code == 0, "exit_code": code})
        return code
    for record in records:
        output.write(fit(clean(_words(record)), output.out, indent=9) + "\n")
    if not any(layer.file for layer in loaded.layers):
        output.write(f"no configuration file yet in {loaded.sources.codex_home}; codexteam init writes one\n")
    result = "The configuration is fine."
    if unkept:
        result = "A run would be refused: see the error above."
    elif settings.warnings:
        result = f"The configuration can be used, with {count_of(len(settings.warnings), 'warning')}."
    output.write(f"\n{result}\n")
    return code


def _words(record: JSONObject) -> str:
    match record["type"]:
        case "file":
            return f"read     {record['path']}"
        case "error":
            return f"error    {record['message']}\n         {record['hint']}"
        case "warning":
            return f"warning  {record['message']}"
        case "notice":
            return f"note     {record['message']}"
        case _:
            key = f"{record['key']} ({record['origin']})"
            return f"unused   {key}: Codex's; codexteam accepts it and does not use it"


def _plain(value: "JSONValue") -> "JSONValue":
    """Return a value that JSON can say: dates and times, which TOML has, become text."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else str(value)


def _toml(value: "JSONValue") -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f" {json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings, numbers and booleans are TOML's
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float | str) else str(value)
