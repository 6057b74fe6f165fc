"""What the command lines of a run said about its settings: each is kept, and what was said last counts.

The line that a run was begun with stands in its record, those of `resume` beside it, in order. A line is kept before
anything follows from it, and once it is known that it can be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.app.project import Project
from codexteam.app.requests import StoredValue
from codexteam.app.secret_values import secret_values
from codexteam.config.load import load_settings
from codexteam.config.request import BUDGET_FLAGS, LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.redaction import Redactor
from codexteam.core.steering_events import RunBudgetSet
from codexteam.errors import CodexteamError, ConfigError
from codexteam.ports.store import RunRecord, Store


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class _CommandLine:
    """What one command line says, as it is kept: options of `LoadRequest`, and nothing of the environment."""

    cwd: str = ""
    profile: str | None = None
    overrides: tuple[str, ...] = ()
    model: str | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    strict: bool = False
    oss: bool = False
    flags: JSONObject = field(default_factory=dict)


def said(load: LoadRequest) -> JSONObject:
    """Return what a command line says, as it is kept."""
    line = _CommandLine(
        cwd=str(load.cwd),
        profile=load.profile,
        overrides=load.overrides,
        model=load.model,
        enable=load.enable,
        disable=load.disable,
        strict=load.strict,
        oss=load.oss,
        flags=dict(load.flags),
    )
    return encode_object(line)


async def lines_of(store: Store, record: RunRecord) -> tuple[JSONObject, ...]:
    """Return what each command line of a run said, oldest first: `run` or `plan`, then every `resume` that said anything."""
    return (record.settings, *[line for _, line in await store.list(_space(record.run_id))])


async def keep_line(store: Store, run_id: RunId, load: LoadRequest) -> None:
    """Keep what a `resume` says, for those after it. The caller holds the repository's lock."""
    line = said(load)
    kept = await store.list(_space(run_id))
    nothing = line == said(LoadRequest(load.cwd, load.environment))
    if not nothing and (not kept or kept[-1][1] != line):
        await store.put(_space(run_id), f"{len(kept) + 1:06}", line)


async def copied_lines(store: Store, source: RunId, run_id: RunId) -> list[StoredValue]:
    """Return what gives a run the command lines of another one, beside the line that is in its record."""
    return [(_space(run_id), key, line) for key, line in await store.list(_space(source))]


async def budget_line(store: Store, record: RunRecord, event: RunBudgetSet) -> StoredValue:
    """Return what keeps limits that a person set as the command line `--budget` would; others of the run stay."""
    lines = await lines_of(store, record)
    before = with_lines(LoadRequest(Path("/"), {}), lines).flags
    kept = {name: value for name, value in before.items() if name in BUDGET_FLAGS}
    said_now = {"usd": event.usd, "credits": event.credits, "tokens": event.tokens}
    changed = {f"codexteam.budget.run_{unit}": limit for unit, limit in said_now.items() if limit is not None}
    return _space(record.run_id), f"{len(lines):06}", {"flags": {**kept, **changed}}


def with_lines(load: LoadRequest, lines: Sequence[JSONObject]) -> LoadRequest:
    """Return the load request of a run that continues: what its command lines said, overridden by what is given now."""
    earlier: list[LoadRequest] = []
    later = dict(load.flags)
    newest_first = [decode(_CommandLine, line, "a command line of the run") for line in reversed(lines)]
    for line in newest_first:
        flags = line.flags
        if any(name in later for name in BUDGET_FLAGS):
            flags = {name: value for name, value in flags.items() if name not in BUDGET_FLAGS}
        # those of later lines again, as an `--oss` of then means the local provider that is named since
        later = {**flags, **later}
        earlier.append(
            replace(
                load,
                cwd=_folder(line, load.cwd),
                overrides=line.overrides,
                model=line.model,
                enable=line.enable,
                disable=line.disable,
                oss=line.oss,
                flags=later,
            )
        )
    profiles = [load.profile, *(line.profile for line in newest_first)]
    return replace(
        load,
        profile=next((name for name in profiles if name), None),
        strict=load.strict or any(line.strict for line in newest_first),
        earlier=tuple(reversed(earlier)),
    )


def load_with_lines(load: LoadRequest, lines: Sequence[JSONObject]) -> Settings:
    """Load the settings of a run that continues.

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


def run_redactor(project: Project, lines: Sequence[JSONObject]) -> Redactor:
    """Return what takes a run's secrets out of text; `lines` are its command lines."""
    load = with_lines(LoadRequest(cwd=project.cwd, environment=project.environment), lines)
    try:
        return Redactor(secret_values(load_settings(load), project.environment))
    except CodexteamError:
        # a configuration that does not load is said at `resume`; what it names as secret cannot be known here, what
        # looks like one is taken out all the same
        return Redactor()


_SAID_BEFORE = (
    "an earlier command line of this run said it; what is given now counts over it: codexteam resume -c KEY=VALUE"
)


def _folder(line: _CommandLine, now: Path) -> Path:
    """Return where a command line was given, which its relative paths start from; a folder that is gone is now's."""
    return Path(line.cwd) if line.cwd and Path(line.cwd).is_dir() else now


def _space(run_id: RunId) -> str:
    return f"{run_id}/command-lines"
