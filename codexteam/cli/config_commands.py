"""`codexteam config`: what would really be used, and what is wrong with it."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from codexteam.cli.options import load_request

if TYPE_CHECKING:
    from codexteam.config.load import LoadedLayers
    from codexteam.core.json_types import JSONObject, JSONValue

config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.add_typer(config_app, name="config")


@config_app.command("show")
def show(
    ctx: typer.Context,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Say of each value which file and line set it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines for programs, origins included.")] = False,
) -> None:
    """Show the values that count, as TOML; secrets are hidden."""
    from codexteam.config.display import effective_values
    from codexteam.config.load import load_layers, load_settings
    from codexteam.core.text import clean_line

    request = load_request(ctx)
    settings = load_settings(request)
    values = effective_values(load_layers(request), settings)
    if as_json:
        for one in values:
            _line({"type": "setting", "key": one.key, "value": _plain(one.value), "origin": one.origin})
        _line({"type": "config.completed", "notices": list(settings.notices)})
        return
    for one in values:
        where = f"  # {one.origin}" if origin else ""
        sys.stdout.write(clean_line(f"{one.key} = {_toml(one.value)}{where}") + "\n")
    for notice in settings.notices:
        sys.stderr.write(f"note: {clean_line(notice)}\n")


@config_app.command("check")
def check(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines for programs.")] = False,
) -> int:
    """Check every file, and name keys that are not used.

    Those that nobody knows, and those that Codex uses and codexteam does not.
    """
    from codexteam.config.display import unused_keys
    from codexteam.config.load import load_layers, load_settings

    request = load_request(ctx)
    settings = load_settings(request)
    loaded = load_layers(request)
    dropped = [problem for problem in loaded.roles.problems if problem.name is not None]
    records: list[JSONObject] = []
    records += [{"type": "file", "path": layer.name, "kind": layer.kind.value} for layer in loaded.layers if layer.file]
    records += [{"type": "role_error", "role": problem.name, "message": str(problem.error)} for problem in dropped]
    records += [{"type": "notice", "message": notice} for notice in settings.notices]
    records += [{"type": "unused", "key": one.key, "origin": one.origin} for one in unused_keys(loaded)]
    code = 2 if dropped else 0
    if as_json:
        for record in records:
            _line(record)
        _line({"type": "config.completed", "ok": code == 0, "exit_code": code})
    else:
        _tell(records, loaded)
    return code


def _tell(records: "list[JSONObject]", loaded: "LoadedLayers") -> None:
    from codexteam.core.text import clean

    for record in records:
        match record["type"]:
            case "file":
                text = f"read     {record['path']}"
            case "role_error":
                text = f"error    role `{record['role']}`: {record['message']}"
            case "notice":
                text = f"note     {record['message']}"
            case _:
                text = (
                    f"unused   {record['key']} ({record['origin']}): Codex's; codexteam accepts it and does not use it"
                )
        sys.stdout.write(clean(text) + "\n")
    if not any(layer.file for layer in loaded.layers):
        sys.stdout.write(
            clean(f"no configuration file yet in {loaded.sources.codex_home}; codexteam init writes one\n")
        )
    errors = sum(record["type"] == "role_error" for record in records)
    sys.stdout.write(f"\n{f'{errors} errors: see above.' if errors else 'The configuration is fine.'}\n")


def _line(record: "JSONObject") -> None:
    sys.stdout.write(json.dumps(record, ensure_ascii=True) + "\n")


def _plain(value: "JSONValue") -> "JSONValue":
    """Give a value that JSON can say: dates and times, which TOML has, become text."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else str(value)


def _toml(value: "JSONValue") -> str:
    """Give a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f" {json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings, numbers and booleans are TOML's
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float | str) else str(value)
