"""Bad input is one message with file, line, key, what was found and what is allowed; and exit code 2."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Checked:
    """What `codexteam config check` came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[], Checked]:
    """Checks the configuration in the test's folder, which is Codex's home too."""
    from codexteam.cli.main import run

    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}.items():
        monkeypatch.setenv(name, value)

    def call() -> Checked:
        capfd.readouterr()
        code = run(("-C", str(tmp_path), "config", "check"))
        return Checked(code, *capfd.readouterr())

    return call


Check = Callable[[], Checked]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("model = ", "config.toml:1:9: not TOML: invalid value", "strings need quotes"),
        ("a = 1\n[x\n", "config.toml:2:3: not TOML:", "toml.io"),
        (
            'model = "a"\nmodel = "b"',
            'config.toml:2:12: not TOML: duplicate key: cannot overwrite a value, in `model = "b"`; the first is at ',
            "remove one of the two",
        ),
        (
            "[tui]\n[tui]\n",
            "config.toml:2:5: not TOML: duplicate key: cannot declare `tui` twice, in `[tui]`; the first is at ",
            "remove one of the two",
        ),
        ('model = "\\q"', "config.toml:1:12: not TOML:", ""),
        (
            '[codexteam]\napprove = ["apply"]',  # nothing is applied but by the command of that name
            'config.toml:2:12: codexteam.approve[0]: found the string "apply"; allowed: one of `plan`, `merge`',
            "",
        ),
        (
            '[codexteam.sandbox]\nallow_hosts = ["*.example.org:8443", "https://example.org/"]',
            'config.toml:2:38: codexteam.sandbox.allow_hosts[1]: found the string "https://example.org/"; allowed: `host`',
            "",
        ),
        (
            '[codexteam.sandbox]\nallow_hosts = ["example.org:99999"]',
            'config.toml:2:16: codexteam.sandbox.allow_hosts[0]: found the string "example.org:99999"',
            "",
        ),
        ("model = 5", "config.toml:1:9: model: found the number 5; allowed: a string", ""),
        (
            'sandbox_mode = "read-onyl"',
            'config.toml:1:16: sandbox_mode: found the string "read-onyl"; allowed: one of `read-only`, '
            "`workspace-write`, `danger-full-access`",
            "did you mean `read-only`?",
        ),
        (
            "[sandbox_workspace_write]\n\nnetwork_access = 'yes'",
            'config.toml:3:18: sandbox_workspace_write.network_access: found the string "yes"; allowed: true or false',
            "",
        ),
        (
            "[codexteam.limits]\nmax_rounds = 0",
            "config.toml:2:14: codexteam.limits.max_rounds: found the number 0; allowed: an integer from 1 to 1000",
            "",
        ),
        (
            "[codexteam.limits]\nmax_turn = 3",
            "config.toml:2:12: codexteam.limits.max_turn: unknown key",
            "did you mean `max_turns`?",
        ),
        (
            "[codexteam.budget]\nrun_usd = nan",
            "config.toml:2:11: codexteam.budget.run_usd: found the number nan; allowed: a number, at least 0",
            "",
        ),
        (
            '[codexteam.sandbox.limits]\nmemory_size = "4G"',
            'config.toml:2:15: codexteam.sandbox.limits.memory_size: found the string "4G"; allowed: a size',
            "",
        ),
        (
            "[codexteam.budget.role_tokens]\nreviwer = 5",
            "config.toml:2:11: codexteam.budget.role_tokens.reviwer: found a role that does not exist",
            "did you mean `reviewer`?",
        ),
        (
            "[agents]\nmax_threads = 0",
            "config.toml:2:15: agents.max_threads: found the number 0; allowed: an integer, at least 1",
            "",
        ),
        (
            "[[mcp_servers.x.env_vars]]\nname = 'A'\n[mcp_servers.y]\nenabled = 1",
            "config.toml:4:11: mcp_servers.y.enabled: found the number 1; allowed: true or false",
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
def test_a_bad_file_is_one_message_with_its_place(
    text: str, message: str, hint: str, tmp_path: Path, check: Check
) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = check()
    assert done.code == 2
    assert done.out == ""
    assert f"error: {tmp_path}/{message}" in done.err
    assert hint in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_not_utf_8_names_its_first_bad_byte(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_bytes(b'# caf\xc3\xa9\nmodel = "\xff"\n')
    done = check()
    assert (done.code, "config.toml:2:10: found the byte 0xff, UTF-8 is expected" in done.err) == (2, True)


def test_a_byte_order_mark_is_no_part_of_a_file_and_moves_no_place(tmp_path: Path, check: Check) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "mine.toml").write_bytes(
        b'\xef\xbb\xbfname = "mine"\ndescription = "d"\ndeveloper_instructions = "i"\n'
    )
    (tmp_path / "config.toml").write_bytes(b'\xef\xbb\xbfmodel = "gpt-5.4"\n')
    assert (done := check()).code == 0, done.err
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbfmodel = 5\n")
    done = check()
    assert (done.code, "config.toml:1:9: model: found the number 5" in done.err) == (2, True)
    (tmp_path / "config.toml").write_bytes(b'\xef\xbb\xbf\xef\xbb\xbfmodel = "gpt-5.4"\n')
    assert check().code == 2


def test_a_directory_where_a_file_should_be_is_said(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").mkdir()
    done = check()
    assert (done.code, "found a directory, a file is expected" in done.err) == (2, True)


def test_a_huge_file_is_not_read(tmp_path: Path, check: Check) -> None:
    with (tmp_path / "config.toml").open("wb") as file:
        file.truncate(1 << 30)
    done = check()
    assert (done.code, "found 1073741824 bytes" in done.err) == (2, True)


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_text("x = " + "[" * 5000 + "]" * 5000)
    done = check()
    assert (done.code, "nested too deep" in done.err) == (2, True)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_text('"\\u001b]52;c;x\\u0007" = 1\nmodel = 5\n')
    done = check()
    assert "\x1b" not in done.err + done.out


def test_a_cycle_of_config_files_is_spelled_out(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_text('[agents.reviewer]\ndescription = "d"\nconfig_file = "a.toml"\n')
    (tmp_path / "a.toml").write_text('[agents.b]\ndescription = "d"\nconfig_file = "b.toml"\n')
    (tmp_path / "b.toml").write_text('[agents.a]\ndescription = "d"\nconfig_file = "a.toml"\n')
    done = check()
    assert done.code == 2
    assert f"{tmp_path}/a.toml -> {tmp_path}/b.toml -> {tmp_path}/a.toml" in done.err


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a = 1\n\nb = 2\na = 3\n", "1:5"),
        ("[x]\nk = 1\n[y]\nk = 1\n[x]\n", "1:1"),
        ("[x]\na.b = 1\na.c = 2\na.b = 3\n", "2:7"),
        ("x = { a = 1 }\n[y]\n[x.a]\n", ""),
    ],
)
def test_a_key_that_is_there_twice_is_one_error_with_both_places(
    text: str, first: str, tmp_path: Path, check: Check
) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = check()
    assert done.code == 2
    assert len(done.err.splitlines()) == 2, "the message and its hint"
    assert not first or f"; the first is at {tmp_path}/config.toml:{first}\n" in done.err


def test_a_broken_role_that_no_run_needs_is_one_warning(tmp_path: Path, check: Check) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "mine.toml").write_text('name = "mine"\ndescription = "d"\ndeveloper_instructions = " "\n')
    done = check()
    assert (done.code, done.err) == (0, "")
    [warning] = [line for line in done.out.splitlines() if "mine" in line]
    assert warning.startswith("warning  role `mine` is ignored: ")
    assert "mine.toml:3:26: developer_instructions is blank" in warning
    assert done.out.endswith("The configuration can be used, with 1 warning.\n")


def test_a_file_that_is_not_toml_is_warned_of_on_one_line(tmp_path: Path, check: Check) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "reviewer.toml").write_text('sandbox_mode = "read-only"\n[x\n')
    done = check()
    assert done.code == 0
    [warning] = [line for line in done.out.splitlines() if "reviewer" in line]
    assert (
        ":2:3: not TOML: expected ']' at the end of a table declaration, in `[x`; no config.toml registers" in warning
    )


@pytest.mark.parametrize("role", ["reviewer", "painter"])
def test_two_tables_for_one_role_are_an_error_whoever_needs_it(role: str, tmp_path: Path, check: Check) -> None:
    (tmp_path / "role.toml").write_text(f'name = "{role}"\ndescription = "d"\n')
    tables = "".join(f'[agents.{name}]\nconfig_file = "role.toml"\n' for name in ("one", "two"))
    (tmp_path / "config.toml").write_text(tables)
    done = check()
    assert done.code == 2
    assert f"config.toml:3:1: the role `{role}` is registered a second time" in done.err
    assert "config.toml:1:1" in done.err


def test_a_second_file_of_a_role_is_a_warning_with_both_as_in_codex(tmp_path: Path, check: Check) -> None:
    (tmp_path / "agents").mkdir()
    for name in ("a", "b"):
        text = f'name = "reviewer"\ndescription = "{name}"\ndeveloper_instructions = "i"\n'
        (tmp_path / "agents" / f"{name}.toml").write_text(text)
    done = check()
    assert done.code == 0
    agents = tmp_path / "agents"
    assert f"warning  {agents}/b.toml: a second role `reviewer`, not used: {agents}/a.toml comes first" in done.out


UNPRICED = 'model = "gpt-nobody-priced"\n'


def test_the_check_says_that_no_limit_in_dollars_could_be_kept(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_text(UNPRICED)
    done = check()
    assert done.code == 0
    [note] = [line for line in done.out.splitlines() if "gpt-nobody-priced (" in line]
    assert note.startswith("note ")
    assert "a limit in USD would end a run before it begins (exit 2); set input_usd" in note


@pytest.mark.parametrize(
    ("budget", "unit"),
    [("run_usd = 5\n", "USD"), ('run_credits = 5\ncredit = "0.01usd"\n', "credits"), ("task_usd = 1\n", "USD")],
)
def test_a_limit_that_cannot_be_kept_is_an_error_of_the_check(
    budget: str, unit: str, tmp_path: Path, check: Check
) -> None:
    (tmp_path / "config.toml").write_text(UNPRICED)
    (tmp_path / "codexteam.config.toml").write_text(f"[codexteam.budget]\n{budget}")
    done = check()
    assert done.code == 2
    assert f"error    the limit in {unit} cannot be kept: no price is known for gpt-nobody-priced (" in done.out
    assert "set input_usd and output_usd, for a million tokens" in done.out, "a credit is money here"


def test_a_sound_configuration_passes_with_what_is_not_used(tmp_path: Path, check: Check) -> None:
    (tmp_path / "config.toml").write_text('model = "m"\nnotify = ["x"]\n[tui]\ntheme = "t"\n[agents]\nmax_depth = 3\n')
    done = check()
    assert done.code == 0
    unused = [line.split()[1] for line in done.out.splitlines() if line.startswith("unused")]
    assert unused == ["tui.theme", "agents.max_depth"]
    assert done.out.endswith("The configuration is fine.\n")
