"""What the command lines of a run said about its settings: each is kept, and what was said last counts.

The line that a run was begun with stands in its record, those of `resume` beside it, in order. A line is kept before
anything follows from it, and once it is known that it can be used.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.errors import ConfigError
from codexteam.ports.store import RunRecord, Store


def said(load: LoadRequest) -> JSONObject:
    """Give what a command line says, as it is kept: flags, never values of the environment."""
    flags: dict[str, JSONValue] = dict(load.flags)
    return {
        "cwd": str(load.cwd),
        "profile": load.profile,
        "overrides": list(load.overrides),
        "model": load.model,
        "enable": list(load.enable),
        "disable": list(load.disable),
        "strict": load.strict,
        "oss": load.oss,
        "flags": flags,
    }


async def lines_of(store: Store, record: RunRecord) -> tuple[JSONObject, ...]:
    """Give what each command line of a run said, oldest first: `run` or `plan`, then every `resume` that said anything."""
    return (record.settings, *[line for _, line in await store.list(_space(record.run_id))])


async def keep_line(store: Store, run_id: RunId, load: LoadRequest) -> None:
    """Keep what a `resume` says, for those after it. The caller holds the repository's lock."""
    line = said(load)
    kept = await store.list(_space(run_id))
    nothing = line == said(LoadRequest(load.cwd, load.environment))
    if not nothing and (not kept or kept[-1][1] != line):
        await store.put(_space(run_id), f"{len(kept) + 1:06}", line)


def with_lines(load: LoadRequest, lines: Sequence[JSONObject]) -> LoadRequest:
    """Give the load request of a run that goes on: what its command lines said, and over it what is said now."""
    earlier: list[LoadRequest] = []
    later = dict(load.flags)
    for line in reversed(lines):
        flags = line.get("flags")
        # those of later lines again, as an `--oss` of then means the local provider that is named since
        later = {**(flags if isinstance(flags, dict) else {}), **later}
        earlier.append(
            replace(
                load,
                cwd=_folder(line, load.cwd),
                overrides=_strings(line.get("overrides")),
                model=_text(line.get("model")),
                enable=_strings(line.get("enable")),
                disable=_strings(line.get("disable")),
                oss=line.get("oss") is True,
                flags=later,
            )
        )
    profiles = [load.profile, *(_text(line.get("profile")) for line in reversed(lines))]
    return replace(
        load,
        profile=next((name for name in profiles if name), None),
        strict=load.strict or any(line.get("strict") is True for line in lines),
        earlier=tuple(reversed(earlier)),
    )


def load_with_lines(load: LoadRequest, lines: Sequence[JSONObject]) -> Settings:
    """Load the settings of a run that goes on.

    Raises:
        ConfigError: something cannot be used; where an earlier command line said it, the hint says how to say it anew.
    """
    try:
        return load_settings(with_lines(load, lines))
    except ConfigError as error:
        try:
            load_settings(load)
        except ConfigError:
            raise error from None  # what is said now, or configured, is at fault too
        raise ConfigError(str(error), hint="; ".join(filter(None, (error.hint, _SAID_BEFORE)))) from error


_SAID_BEFORE = (
    "an earlier command line of this run said it; what is given now counts over it: codexteam resume -c KEY=VALUE"
)


def _folder(line: JSONObject, now: Path) -> Path:
    """Give where a command line was given, which its relative paths start from; a folder that is gone is now's."""
    told = _text(line.get("cwd"))
    return Path(told) if told and Path(told).is_dir() else now


def _space(run_id: RunId) -> str:
    return f"{run_id}/command-lines"


def _text(value: JSONValue) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: JSONValue) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
