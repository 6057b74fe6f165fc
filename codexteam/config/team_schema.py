"""The table `[codexteam]`: what it may hold, and the settings it becomes.

Its keys are the fields of `TeamSettings` and what lies in it. Numbers of bytes are written as sizes with a unit
(`memory_size = "4GiB"`), so that nobody counts zeros; all other units stand in the key.
"""

from collections.abc import Set as AbstractSet
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar, cast

from codexteam.config.schema import Choice, Entries, Flag, Items, Number, Schema, Size, Table, Text, parse_size, words
from codexteam.config.settings import (
    BudgetSettings,
    EngineSettings,
    GateSettings,
    LimitSettings,
    SandboxLimits,
    SandboxSettings,
    ScopePolicy,
    TeamSettings,
)
from codexteam.core.findings import GateName
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.usage import Price

_NAME = Text(may_be_empty=False)
_NAMES = Items(_NAME)
_FLAG = Flag()
_COUNT = Number(low=0)
_POSITIVE = Number(low=1)
_MONEY = Number(low=0, high=1e12, fraction=True)
_SECONDS = Number(low=1, high=604_800, fraction=True)
_SHARE = Number(low=0, high=1, fraction=True)

_LIMITS_OF_A_SANDBOX: dict[str, Schema] = {
    "memory_size": Size(),
    "cpus": Number(low=0.1, high=1024, fraction=True),
    "max_processes": Number(low=16, high=1_000_000),
    "workspace_size": Size(),
    "workspace_files": _POSITIVE,
    "tmp_size": Size(),
    "max_file_size": Size(),
    "output_size": Size(),
}

TEAM = Table(
    {
        "approve": Items(Choice(("plan", "merge"))),
        "scope": Choice(tuple(ScopePolicy)),
        "guarded_paths": _NAMES,
        "send_metadata": _FLAG,
        "history_depth": Number(low=1, high=100_000),
        "record_file": _NAME,
        "replay_file": _NAME,
        "replay_speed": Number(low=0, high=1000, fraction=True),
        "budget": Table(
            {
                "run_usd": _MONEY,
                "run_credits": _MONEY,
                "run_tokens": _COUNT,
                "task_tokens": _COUNT,
                "role_tokens": Entries(_COUNT),
                "warn_share": _SHARE,
                "wind_down_share": Number(low=0, high=0.5, fraction=True),
            },
            closed=True,
        ),
        "limits": Table(
            {
                "max_threads": Number(low=1, high=10_000),
                "max_rounds": Number(low=1, high=1000),
                "max_attempts": Number(low=1, high=100),
                "max_resolves": Number(low=0, high=100),
                "batch_size": Number(low=1, high=10_000),
                "max_tasks": Number(low=1, high=100_000),
                "max_turns": Number(low=1, high=100_000),
                "max_output_tokens": Number(low=256, high=10_000_000),
                "agent_minutes": Number(low=0.1, high=100_000, fraction=True),
                "command_seconds": _SECONDS,
                "max_scouts": Number(low=0, high=100),
            },
            closed=True,
        ),
        "sandbox": Table(
            {
                "kind": Choice(("auto", "docker", "bubblewrap")),
                "image": _NAME,
                "dockerfile": _NAME,
                "setup": _NAME,
                "setup_secrets": _NAMES,
                "copy_ignored": _NAMES,
                "runtime": _NAME,
                "environment": _NAMES,
                "allow_hosts": _NAMES,
                "proxy_secrets": Entries(_NAME),
                "limits": Table(_LIMITS_OF_A_SANDBOX, closed=True),
                "role_limits": Entries(Table(_LIMITS_OF_A_SANDBOX, closed=True)),
                "engines": Items(
                    Table(
                        {
                            "name": _NAME,
                            "host": _NAME,
                            "context": _NAME,
                            "tls_verify": _FLAG,
                            "cert_path": _NAME,
                            "slots": Number(low=1, high=10_000),
                        },
                        required=("name",),
                        closed=True,
                    )
                ),
            },
            closed=True,
        ),
        "gates": Table(
            {
                "commands": _NAMES,
                "enabled": Items(Choice(tuple(GateName))),
                "timeout_seconds": _SECONDS,
                "flaky_reruns": Number(low=0, high=20),
                "security_triggers": _NAMES,
                "protected_tests": _NAMES,
            },
            closed=True,
        ),
        "prices": Entries(Table(dict.fromkeys((field.name for field in fields(Price)), _MONEY), closed=True)),
    },
    closed=True,
)

#: What a project's file may not set: it would send the user's secrets or work somewhere else.
FORBIDDEN_TO_PROJECTS = (
    ("sandbox", "engines"),
    ("sandbox", "environment"),
    ("sandbox", "proxy_secrets"),
    ("sandbox", "setup_secrets"),
    ("record_file",),
    ("replay_file",),
)

_T = TypeVar("_T", BudgetSettings, LimitSettings, SandboxLimits, SandboxSettings, GateSettings, TeamSettings)


def build_team(table: JSONObject, base: Path) -> TeamSettings:
    """Give the settings of a `[codexteam]` table that `TEAM` has accepted.

    Args:
        table: The merged table.
        base: What relative paths of files start from.
    """
    sandbox = _table(table, "sandbox")
    limits = _fill(SandboxLimits(), _sizes(_table(sandbox, "limits")))
    own_limits = _table(sandbox, "role_limits")
    budget = _table(table, "budget")
    prices = _table(table, "prices")
    team = _fill(TeamSettings(), table, _NESTED)
    return replace(
        team,
        scope=ScopePolicy(str(table.get("scope", team.scope))),
        record_file=_path(table.get("record_file"), base),
        replay_file=_path(table.get("replay_file"), base),
        budget=_fill(BudgetSettings(), budget),
        limits=_fill(LimitSettings(), _table(table, "limits")),
        sandbox=replace(
            _fill(SandboxSettings(), sandbox, {"limits", "role_limits", "engines"}),
            limits=limits,
            role_limits={role: _fill(limits, _sizes(_table(own_limits, role))) for role in own_limits},
            engines=tuple(_engine(engine, base) for engine in _tables(sandbox, "engines")),
        ),
        gates=_gates(_table(table, "gates")),
        prices={model: _price(_table(prices, model)) for model in prices},
    )


_NESTED = {"scope", "record_file", "replay_file", "budget", "limits", "sandbox", "gates", "prices"}
_FRACTIONS = frozenset(
    words(
        "replay_speed run_usd run_credits warn_share wind_down_share agent_minutes command_seconds timeout_seconds cpus"
    )
)


def _fill(default: _T, table: JSONObject, skip: AbstractSet[str] = frozenset()) -> _T:
    """Give the default with the fields that the table sets; the schema has checked their types."""
    names = {field.name for field in fields(default)} - skip
    changes: dict[str, object] = {}
    for name in names & table.keys():
        value = table[name]
        if isinstance(value, list):
            changes[name] = tuple(value)
        else:
            # a whole number stands for a fraction too: 5 is 5.0
            changes[name] = float(value) if isinstance(value, int) and name in _FRACTIONS else value
    return replace(default, **changes)  # type: ignore[arg-type]  # the schema has checked each of them


def _gates(table: JSONObject) -> GateSettings:
    gates = _fill(GateSettings(), table, {"enabled"})
    if "enabled" not in table:
        return gates
    chosen = cast("list[str]", table["enabled"])
    return replace(gates, enabled=tuple(GateName(name) for name in chosen))


def _price(table: JSONObject) -> Price:
    return Price(**{name: float(cast("float", value)) for name, value in table.items()})


def _engine(table: JSONObject, base: Path) -> EngineSettings:
    known = {name: value for name, value in table.items() if name != "cert_path"}
    return EngineSettings(**known, cert_path=_path(table.get("cert_path"), base))  # type: ignore[arg-type]  # checked


def _sizes(table: JSONObject) -> JSONObject:
    """Give `memory_size = "4GiB"` as `memory_bytes = 4294967296`."""
    return {
        name.removesuffix("_size") + "_bytes" if name.endswith("_size") else name: parse_size(value)
        if name.endswith("_size") and isinstance(value, str)
        else value
        for name, value in table.items()
    }


def _path(value: JSONValue, base: Path) -> Path | None:
    return base / Path(value).expanduser() if isinstance(value, str) else None


def _table(table: JSONObject, key: str) -> JSONObject:
    value = table.get(key, {})
    return value if isinstance(value, dict) else {}


def _tables(table: JSONObject, key: str) -> list[JSONObject]:
    value = table.get(key, [])
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
