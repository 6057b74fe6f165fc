"""What the real Codex CLI refuses is refused, and what it takes is taken: one file after the other through both."""

import os
import subprocess
from pathlib import Path

import pytest

from codexteam.config.load import load_layers
from codexteam.config.request import LoadRequest
from codexteam.errors import ConfigError
from tests.conftest import codex_binary

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
    *(f"features.multi_agent_v2 = {{{value}}}" for value in ("", "enabled = true", "enabled = 1", "bogus = 1")),
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


def _codex_takes(home: Path) -> bool:
    binary = codex_binary()
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


def _we_take(home: Path) -> bool:
    try:
        load_layers(LoadRequest(cwd=home, environment={"CODEX_HOME": str(home)}, system_folder=home / "system"))
    except ConfigError as error:
        print(error)
        return False
    return True
