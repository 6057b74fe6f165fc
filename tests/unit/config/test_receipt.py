"""The receipt says what an agent is started with, and never a secret."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from codexteam.config.receipt import receipt, tool_names
from codexteam.config.settings import (
    LimitSettings,
    McpServerSettings,
    ModelSettings,
    NetworkKind,
    NetworkPolicy,
    ProjectDocSettings,
    RoleSettings,
    SandboxMode,
    Settings,
    ShellEnvironmentSettings,
    SkillSettings,
    TeamSettings,
)

ROLE = RoleSettings(
    name="reviewer",
    description="Reviews.",
    instructions="Review the change.",
    model=ModelSettings(provider_id="openai", model="gpt-5.4", effort="high"),
    sandbox_mode=SandboxMode.READ_ONLY,
    network=NetworkPolicy(),
    source="/home/user/.codex/agents/reviewer.toml",
    source_hash="abc",
    origins={"model": "/home/user/.codex/agents/reviewer.toml", "sandbox_mode": "-c"},
)


def settings(**changes: object) -> Settings:
    plain = Settings(
        repository=Path("/repository"),
        codex_home=Path("/home/user/.codex"),
        trusted=None,
        projects={},
        model=ROLE.model,
        sandbox_mode=SandboxMode.WORKSPACE_WRITE,
        network=NetworkPolicy(),
        providers={},
        roles={"reviewer": ROLE},
        mcp_servers={},
        skills=SkillSettings(),
        shell_environment=ShellEnvironmentSettings(),
        project_doc=ProjectDocSettings(),
        team=TeamSettings(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields by their names


def test_a_receipt_names_the_file_the_hashes_and_each_origin() -> None:
    found = receipt(ROLE, settings())

    assert found["role_file"] == {"path": ROLE.source, "sha256": "abc"}
    assert found["instructions"] == {
        "sha256": hashlib.sha256(b"Review the change.").hexdigest(),
        "bytes": 18,
        "origin": "built-in",
    }
    assert found["model"] == {"value": "gpt-5.4", "origin": ROLE.source}
    assert found["sandbox"] == {"value": "read-only", "origin": "-c"}
    assert found["effort"] == {"value": "high", "origin": "built-in"}


def test_a_receipt_is_json_and_the_same_every_time() -> None:
    assert json.dumps(receipt(ROLE, settings())) == json.dumps(receipt(ROLE, settings()))


def test_who_may_not_write_is_not_offered_patches() -> None:
    writer = replace(ROLE, name="implementer", sandbox_mode=SandboxMode.WORKSPACE_WRITE)
    judge = replace(writer, name="qa_test_author")

    assert tool_names(ROLE, settings()) == ("exec_command", "write_stdin", "view_image", "search_code")
    assert {"leave_note", "look_up"}.isdisjoint(tool_names(judge, settings()))  # what it has to say is a finding
    assert tool_names(writer, settings()) == (
        "exec_command",
        "write_stdin",
        "apply_patch",
        "view_image",
        "leave_note",
        "look_up",
        "search_code",
    )


def test_nobody_may_ask_explorers_where_none_are_wanted() -> None:
    writer = replace(ROLE, name="implementer", sandbox_mode=SandboxMode.WORKSPACE_WRITE)
    for limits in (LimitSettings(max_lookups=0), LimitSettings(max_scouts=0)):
        assert "look_up" not in tool_names(writer, settings(team=TeamSettings(limits=limits)))


def test_tools_are_as_the_configuration_switches_them() -> None:
    silent = replace(ROLE, shell_tool=False)

    assert tool_names(silent, settings(update_plan_tool=True)) == ("view_image", "search_code", "update_plan")


def test_of_a_server_only_what_is_no_secret_is_shown() -> None:
    servers = {
        "docs": McpServerSettings(
            id="docs", url="https://user:canary@docs.example.org/mcp?key=canary", http_headers={"X-Key": "canary"}
        ),
        "local": McpServerSettings(id="local", command="serve", args=("--token", "canary"), env={"KEY": "canary"}),
        "unused": McpServerSettings(id="unused", command="never"),
    }
    found = receipt(replace(ROLE, mcp_servers=("docs", "local")), settings(mcp_servers=servers))

    assert "canary" not in json.dumps(found)
    shown = found["mcp_servers"]
    assert isinstance(shown, list)
    assert [(entry["id"], entry["transport"], entry["where"]) for entry in shown if isinstance(entry, dict)] == [
        ("docs", "http", "https://docs.example.org"),
        ("local", "stdio", "serve"),
    ]


def test_an_allowlist_is_shown_with_its_hosts() -> None:
    online = replace(ROLE, network=NetworkPolicy(NetworkKind.ALLOWLIST, ("pypi.example.org",)))

    assert receipt(online, settings())["network"] == {
        "value": "allowlist",
        "hosts": ["pypi.example.org"],
        "origin": "built-in",
    }


def test_the_receipt_of_an_agent_of_codex_says_how_its_budget_is_kept() -> None:
    assert "budget" not in receipt(ROLE, settings(team=TeamSettings(engine="codexteam")))
    found = receipt(ROLE, settings(team=TeamSettings(engine="codex")))
    assert found["budget"] == {"value": "metered: one request over at most", "origin": "engine codex"}
