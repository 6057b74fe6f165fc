"""What the real Codex CLI refuses is refused, and what it takes is taken: one file after the other through both."""

import os
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from codexteam.config.load import load_layers
from codexteam.config.request import LoadRequest
from codexteam.errors import ConfigError
from tests.conftest import codex_binary
from tests.integration.agent.patch.real_program import native_binary

pytestmark = pytest.mark.complete

#: A provider that exists for nobody: Codex reads the whole file, then stops there before it calls anyone.
STOP = "nowhere"

SNIPPETS = [
    *(
        f"{key} = {value}"
        for key in ("model", "model_reasoning_effort", "service_tier")
        for value in ("1", '""', '"x"', "[]")
    ),
    *(
        f"{key} = {value}"
        for key in ("model_verbosity", "web_search", "personality")
        for value in ("true", '"x"', '"none"', '"low"')
    ),
    *(
        f"{key} = {value}"
        for key in ("model_context_window", "tool_output_token_limit")
        for value in ("-1", "0", "1.5", '"1"')
    ),
    *(f"model_post_turn_compact_threshold_percent = {value}" for value in ("0", "100", "300")),
    *(
        f"sandbox_workspace_write = {value}"
        for value in ("{}", "1", "{network_access = 1}", "{writable_roots = ['/a']}")
    ),
    *(f"tools.web_search = {value}" for value in ("true", "{}", "1", '"live"')),
    *(f"features.{value}" for value in ("goals = true", "goals = {}", "nope = true", 'nope = "x"', "sleep_tool = {}")),
    *(f"features.multi_agent_v2 = {{{value}}}" for value in ("", "enabled = true", "enabled = 1", "max_threads = 1")),
    *(
        f"agents.{value}"
        for value in ("max_depth = 0", "max_depth = '1'", "max_threads = -1", "r = 3", "r = {}", "r.x = 1")
    ),
    *(
        f"mcp_servers.a = {{{value}}}"
        for value in ("", "command = 'true'", "url = 'http://x'", "command = 'true', url = 'x'")
    ),
    *(
        f"mcp_servers.a = {{command = 'true', {value}}}"
        for value in ("enabled = 1", "http_headers = {}", "tool_timeout_sec = 1.5")
    ),
    *(
        f"model_providers.p = {{{value}}}"
        for value in ("", "name = 'P'", "name = 'P', wire_api = 'chat'", "name = ' '")
    ),
    *(f"permissions.p = {value}" for value in ("{}", "{description = 1}")),
    *(f"default_permissions = '{value}'" for value in (":workspace", ":nope", "nope")),
    *(
        f"otel.exporter = {value}"
        for value in ('"none"', '"file"', "{otlp-http = {endpoint = 'x', protocol = 'json'}}")
    ),
    *(f"shell_environment_policy = {value}" for value in ("{inherit = 'core'}", "{inherit = 'x'}", "{set = {A = 1}}")),
    *(f"tui = {value}" for value in ("{theme = 1}", "{notifications = true}", "{notifications = 1}", "{bogus = 1}")),
    *(f"approval_policy = {value}" for value in ('"never"', '"untrusted"', '"x"', "{granular = {}}", "{}")),
    "history.persistence = 'some'",
    "project_root_markers = []",
    "notify = 'x'",
    "skills.config = [{name = 'a'}]",
    "skills.config = [{name = 'a', enabled = true}]",
    "desktop.anything = [1, {a = 2}]",
    "bogus = 1",
]

#: What 0.169 does not know: there some of it is refused, and the rest not looked at.
SNIPPETS_SINCE_171 = [
    *(f"features.multi_agent_v2 = {{interrupt_at_item_boundary = {value}}}" for value in ("true", "1")),
    *(
        f"features.rollout_budget = {{{value}}}"
        for value in (
            *("limit_budget = 1.5", 'limit_budget = "x"', "reminder_at_context_start = true"),
            *("reminder_at_context_start = 1", "limit_tokens = 1.5", "enabled = true"),
            *(
                "enabled = true, limit_budget = 100, reminder_at_remaining_tokens = [1]",
                "limit_budget = 1, limit_tokens = 1",
            ),
        )
    ),
    *(f"features.token_budget = {{context_window_as_tool_output = {value}}}" for value in ("true", "1")),
    *(f"features.{name} = true" for name in ("per_environment_context", "multi_environment_mcp")),
    *(f"responses = {value}" for value in ("1", "{}", '{process_mode = "streaming"}', '{process_mode = "x"}')),
    *(f"code_mode = {value}" for value in ("1", "{}", "{heartbeat_interval_s = 1}", "{heartbeat_interval_s = -1}")),
    *(f"rollout_trace = {value}" for value in ("1", "{}", "{max_bytes = 1}", "{max_payload_bytes = -1}")),
    *(f"otel = {{{value}}}" for value in ("headers_helper = 'x'", "headers_helper = 1")),
    *(f"otel.headers_helper_refresh_interval_ms = {value}" for value in ("1", "0")),
]


def _codex_takes(home: Path) -> bool:
    # npm's starter in JavaScript takes several times as long as the verdict
    binary = native_binary() or codex_binary()
    assert binary is not None
    environment = {name: value for name, value in os.environ.items() if "KEY" not in name} | {"CODEX_HOME": str(home)}
    done = subprocess.run(
        [binary, "exec", "--skip-git-repo-check", "hello"],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return f"Model provider `{STOP}` not found" in done.stderr


@pytest.mark.codex
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_file_has_the_verdict_of_the_real_program(snippet: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'model_provider = "{STOP}"\n{snippet}\n')
    codex_takes = _codex_takes(tmp_path)
    # the same file without the stop: nobody calls anyone here
    config.write_text(f"{snippet}\n")
    assert _we_take(tmp_path) == codex_takes


@pytest.mark.codex
@pytest.mark.parametrize("snippet", SNIPPETS_SINCE_171)
def test_what_is_new_since_0_171_has_the_verdict_of_the_real_program(snippet: str, tmp_path: Path) -> None:
    if _codex_version() < (0, 171):
        pytest.skip(f"the Codex CLI here is {'.'.join(map(str, _codex_version()))}; the keys are new in 0.171")
    test_a_file_has_the_verdict_of_the_real_program(snippet, tmp_path)


@pytest.mark.parametrize(
    "snippet",
    [
        "features.multi_agent_v2 = {invented_next_month = 1}",
        "features.rollout_budget = {invented_next_month = 1}",
        "features.token_budget = {invented_next_month = [1]}",
        "features.invented_next_month = true",
        "invented_next_month = {a = 1}",
        "responses.invented_next_month = 1",
    ],
)
def test_a_key_that_only_a_newer_codex_may_know_is_a_warning(snippet: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"{snippet}\n")
    request = LoadRequest(cwd=tmp_path, environment={"CODEX_HOME": str(tmp_path)}, system_folder=tmp_path / "system")
    loaded = load_layers(request)
    assert any("invented_next_month" in notice and "config.toml:1:" in notice for notice in loaded.notices)
    with pytest.raises(ConfigError, match="invented_next_month"):
        load_layers(replace(request, strict=True))


@lru_cache(maxsize=1)
def _codex_version() -> tuple[int, ...]:
    binary = codex_binary()
    assert binary is not None
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in said.split()[-1].split("-")[0].split("."))


def _we_take(home: Path) -> bool:
    try:
        load_layers(LoadRequest(cwd=home, environment={"CODEX_HOME": str(home)}, system_folder=home / "system"))
    except ConfigError as error:
        print(error)
        return False
    return True
