"""What `[codexteam]` may hold follows from the dataclasses of its settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from codexteam.config.codexteam_schema import TEAM, build_team, table_of
from codexteam.config.hooks import HookEvent, joined_hooks
from codexteam.config.layers import Layer, LayerKind
from codexteam.config.schema import Number, SizeKind, TableKind, check
from codexteam.core.events import Rules
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.limits import Between, RunLimits


@dataclass(frozen=True)
class Unbounded:
    tries: int = 3


@dataclass(frozen=True)
class Sized:
    name: str
    log_bytes: int = 1024
    tries: Annotated[int, Between(1, 9)] = 3


def test_a_number_without_bounds_is_refused_where_it_is_declared() -> None:
    with pytest.raises(TypeError, match="needs bounds or choices"):
        table_of(Unbounded)


def test_fields_become_keys_with_their_bounds() -> None:
    found = table_of(Sized)
    assert isinstance(found, TableKind)
    assert (found.required, found.closed) == (("name",), True)
    assert (found.keys["log_size"], found.keys["tries"]) == (SizeKind(), Number(1, 9))


@pytest.mark.parametrize(
    ("table", "allowed"),
    [
        ({"limits": {"max_threads": 0}}, "an integer from 1 to 10000"),
        ({"budget": {"run_usd": -1}}, "a number, at least 0 or `none`"),
        ({"gates": {"enabled": ["review"]}}, "one of `ci_runner`"),
        ({"sandbox": {"limits": {"memory_size": 5}}}, "a size such as `512MiB`"),
        ({"approve": ["all"]}, "one of `plan`, `merge`"),
    ],
)
def test_what_does_not_fit_is_told_with_what_is_allowed(table: JSONObject, allowed: str) -> None:
    [problem] = check(table, TEAM).problems
    assert allowed in problem.allowed


def test_none_takes_back_a_limit_and_is_a_word_elsewhere() -> None:
    team = build_team({"budget": {"run_usd": "none", "run_tokens": 7}, "sandbox": {"image": "none"}}, Path())
    assert (team.budget.run_usd, team.budget.run_tokens, team.sandbox.image) == (None, 7, "none")


def test_a_role_s_limits_are_those_of_all_roles_where_it_says_nothing() -> None:
    sandbox: JSONObject = {"limits": {"cpus": 3}, "role_limits": {"implementer": {"memory_size": "1GiB"}}}
    limits = build_team({"sandbox": sandbox}, Path()).sandbox.role_limits["implementer"]
    assert (limits.cpus, limits.memory_bytes) == (3.0, 1 << 30)


def test_paths_start_from_the_folder_of_the_file() -> None:
    team = build_team({"record_file": "r.jsonl", "sandbox": {"engines": [{"name": "a", "cert_path": "c"}]}}, Path("/x"))
    assert (team.record_file, team.sandbox.engines[0].cert_path) == (Path("/x/r.jsonl"), Path("/x/c"))


def test_rules_hold_the_limits_of_the_settings() -> None:
    assert issubclass(Rules, RunLimits)


def test_hooks_of_all_layers_are_joined_in_order() -> None:
    def layer(*commands: str) -> Layer:
        groups: list[JSONValue] = [{"hooks": [{"type": "command", "command": line}]} for line in commands]
        return Layer(LayerKind.USER, "", Path(), {"codexteam": {"hooks": {"PreMerge": groups}}})

    joined = joined_hooks([layer("a"), Layer(LayerKind.USER, "", Path()), layer("b", "c")])
    hooks = build_team({"hooks": joined}, Path()).hooks
    assert [each.command for each in hooks.commands(HookEvent.PRE_MERGE)] == ["a", "b", "c"]
    assert hooks.commands(HookEvent.PRE_MERGE)[0].timeout == 60.0
    assert hooks.commands(HookEvent.RUN_STARTED) == ()


@pytest.mark.parametrize(
    ("hooks", "allowed"),
    [
        ({"PreCommit": []}, "unknown key"),
        ({"PreMerge": [{"hooks": [{"type": "prompt", "command": "x"}]}]}, "`command`"),
        ({"PreMerge": [{"hooks": [{"command": "x", "timeout": 0}]}]}, "from 1 to 3600"),
        ({"PreMerge": [{"hooks": [{"type": "command"}]}]}, "command"),
    ],
)
def test_a_hook_that_cannot_run_is_refused(hooks: JSONObject, allowed: str) -> None:
    found = check({"hooks": hooks}, TEAM)
    [problem] = [*found.problems, *found.unknown]
    assert allowed in f"{problem}"
