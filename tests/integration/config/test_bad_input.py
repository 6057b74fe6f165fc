"""Bad input is one message with file, line, key, what was found and what is allowed; and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def check(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "codexteam", "-C", str(home), "config", "check", *arguments],
        cwd=ROOT,
        env={"CODEX_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("model = ", "config.toml:1:9: not TOML: invalid value", "strings need quotes"),
        ("a = 1\n[x\n", "config.toml:2:3: not TOML:", "toml.io"),
        ('model = "a"\nmodel = "b"', "config.toml:2:12: not TOML: duplicate key", "remove one of the two"),
        (
            "[tui]\n[tui]\n",
            "config.toml:2:5: not TOML: duplicate key: cannot declare `tui` twice",
            "remove one of the two",
        ),
        ('model = "\\q"', "config.toml:1:12: not TOML:", ""),
        (
            '[codexteam]\napprove = ["apply"]',  # nothing is applied but by the command of that name
            'config.toml:2:12: codexteam.approve[0]: found the string "apply", allowed is one of `plan`, `merge`',
            "",
        ),
        ("model = 5", "config.toml:1:9: model: found the number 5, allowed is a string", ""),
        (
            'sandbox_mode = "read-onyl"',
            'config.toml:1:16: sandbox_mode: found the string "read-onyl", allowed is one of `read-only`, '
            "`workspace-write`, `danger-full-access`",
            "did you mean `read-only`?",
        ),
        (
            "[sandbox_workspace_write]\n\nnetwork_access = 'yes'",
            'config.toml:3:18: sandbox_workspace_write.network_access: found the string "yes", allowed is true or false',
            "",
        ),
        (
            "[codexteam.limits]\nmax_rounds = 0",
            "config.toml:2:14: codexteam.limits.max_rounds: found the number 0, allowed is an integer from 1 to 1000",
            "",
        ),
        (
            "[codexteam.limits]\nmax_turn = 3",
            "config.toml:2:12: codexteam.limits.max_turn: found a key that nobody knows",
            "did you mean `max_turns`?",
        ),
        (
            "[codexteam.budget]\nrun_usd = nan",
            "config.toml:2:11: codexteam.budget.run_usd: found the number nan, allowed is a number, at least 0",
            "",
        ),
        (
            '[codexteam.sandbox.limits]\nmemory_size = "4G"',
            'config.toml:2:15: codexteam.sandbox.limits.memory_size: found the string "4G", allowed is a size',
            "",
        ),
        (
            "[codexteam.budget.role_tokens]\nreviwer = 5",
            "config.toml:2:11: codexteam.budget.role_tokens.reviwer: found a role that does not exist",
            "did you mean `reviewer`?",
        ),
        (
            "[agents]\nmax_threads = 0",
            "config.toml:2:15: agents.max_threads: found the number 0, allowed is an integer, at least 1",
            "",
        ),
        (
            "[[mcp_servers.x.env_vars]]\nname = 'A'\n[mcp_servers.y]\nenabled = 1",
            "config.toml:4:11: mcp_servers.y.enabled: found the number 1, allowed is true or false",
            "",
        ),
        ('model_provider = "opnai"', "config.toml:1:18: model_provider: found `opnai`", "did you mean `openai`?"),
        (
            '[agents.reviewer]\ndescription = "d"\nconfig_file = "nope.toml"',
            "config.toml:3:15: agents.reviewer.config_file: there is no file",
            "relative paths start from the folder",
        ),
        (
            '[model_providers.openai]\nname = "x"',
            "config.toml:1:1: model_providers.openai: found the id of a built-in",
            "rename",
        ),
        ('model_instructions_file = "gone.md"', "config.toml:1:27: model_instructions_file: there is no file", ""),
        ("d = 2024-13-45", "config.toml:", ""),
    ],
)
def test_a_bad_file_is_one_message_with_its_place(text: str, message: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = check(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"error: {tmp_path}/{message}" in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_utf_8_names_its_first_bad_byte(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b'# caf\xc3\xa9\nmodel = "\xff"\n')
    done = check(tmp_path)
    assert (done.returncode, "config.toml:2:10: found the byte 0xff, UTF-8 is expected" in done.stderr) == (2, True)


def test_a_directory_where_a_file_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    done = check(tmp_path)
    assert (done.returncode, "found a directory, a file is expected" in done.stderr) == (2, True)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.toml").open("wb") as file:
        file.truncate(1 << 30)
    done = check(tmp_path)
    assert (done.returncode, "found 1073741824 bytes" in done.stderr) == (2, True)


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("x = " + "[" * 5000 + "]" * 5000)
    done = check(tmp_path)
    assert (done.returncode, "nested too deep" in done.stderr) == (2, True)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('"\\u001b]52;c;x\\u0007" = 1\nmodel = 5\n')
    done = check(tmp_path)
    assert "\x1b" not in done.stderr + done.stdout


def test_a_cycle_of_config_files_is_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[agents.reviewer]\ndescription = "d"\nconfig_file = "a.toml"\n')
    (tmp_path / "a.toml").write_text('[agents.b]\ndescription = "d"\nconfig_file = "b.toml"\n')
    (tmp_path / "b.toml").write_text('[agents.a]\ndescription = "d"\nconfig_file = "a.toml"\n')
    done = check(tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}/a.toml -> {tmp_path}/b.toml -> {tmp_path}/a.toml" in done.stderr


def test_a_broken_role_that_no_run_needs_is_named_by_the_check_alone(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "mine.toml").write_text('name = "mine"\ndescription = "d"\ndeveloper_instructions = " "\n')
    done = check(tmp_path)
    assert done.returncode == 2
    assert "role `mine`" in done.stdout
    assert "mine.toml:3:26: developer_instructions is blank" in done.stdout
    assert done.stderr == ""


def test_a_sound_configuration_passes_with_what_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('model = "m"\nnotify = ["x"]\n[tui]\ntheme = "t"\n[agents]\nmax_depth = 3\n')
    done = check(tmp_path)
    assert done.returncode == 0
    unused = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("unused")]
    assert unused == ["notify", "tui.theme", "agents.max_depth"]
    assert done.stdout.endswith("The configuration is fine.\n")
