"""`codexteam init` as a user types it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.config.request import LoadRequest
from codexteam.core.ids import JSONObject
from tests.integration.cli.conftest import Cli
from tests.scripted_api import HttpError, serve_in_thread


def model_of(folder: Path, role: str) -> str:
    """Give the model that a role would really ask for, in a Codex home."""
    request = LoadRequest(folder, {"CODEX_HOME": str(folder), "HOME": str(folder)}, system_folder=folder / "system")
    return load_settings(request).roles[role].model.model


def test_a_fresh_home_gets_settings_and_ten_roles(cli: Cli, home: Path) -> None:
    done = cli("init")

    assert (done.code, done.err) == (0, "")
    assert {path.stem for path in (home / ".codex/agents").iterdir()} == set(BUNDLED_ROLES)
    assert done.out.count("wrote") == len(BUNDLED_ROLES) + 2
    assert done.out.endswith("Next: codexteam doctor\n")
    assert max(map(len, done.out.splitlines())) <= 80


def test_the_codex_home_is_where_its_variable_points(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))

    assert cli("init", "--tier", "pro").code == 0
    assert model_of(tmp_path / "elsewhere", "ci_runner") == "gpt-5.3-codex-spark"
    assert not (tmp_path / "home/.codex").exists()


@pytest.mark.parametrize("arguments", [("-m", "mine", "init"), ("init", "-m", "mine"), ("init", "--model", "mine")])
def test_a_model_may_be_named_before_or_after_the_command(arguments: tuple[str, ...], cli: Cli, home: Path) -> None:
    assert cli(*arguments).code == 0
    assert model_of(home / ".codex", "orchestrator") == "mine"


def test_what_the_user_changed_is_kept_and_said(cli: Cli, home: Path) -> None:
    cli("init")
    (home / ".codex/agents/explorer.toml").write_text("mine\n")

    done = cli("init")
    assert "kept       ~/.codex/agents/explorer.toml  (yours; --force replaces it)\n" in done.out
    forced = cli("init", "--force")
    assert "replaced   ~/.codex/agents/explorer.toml  (backup: explorer.toml.bak)\n" in forced.out
    assert (home / ".codex/agents/explorer.toml.bak").read_text() == "mine\n"


def test_a_project_gets_its_own_folder_and_is_told_of_trust(cli: Cli, home: Path, repository: Path) -> None:
    deep = repository / "src"
    deep.mkdir()

    done = cli("-C", str(deep), "init", "--project")

    assert done.code == 0
    assert (repository / ".codex/agents/reviewer.toml").is_file()
    assert not (home / ".codex").exists()
    assert f'[projects."{repository}"]\n  trust_level = "trusted"\n' in done.out


def test_a_link_out_of_the_project_is_refused(cli: Cli, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (repository / ".codex").symlink_to(tmp_path / "outside")

    done = cli("-C", str(repository), "init", "--project", "--force")

    assert done.code == 2
    assert "a link leads out of" in done.err
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "--tier", "gold"), "gold"),
        (("init", "--model", ""), "not a model name"),
        (("init", "--fast-model", "a\nb"), "not a model name"),
        (("-C", "nowhere", "init"), "there is no such directory"),
    ],
)
def test_what_cannot_be_meant_is_one_error_and_exit_2(
    arguments: tuple[str, ...], said: str, cli: Cli, home: Path
) -> None:
    done = cli(*arguments)

    assert done.code == 2
    assert said in done.err
    assert done.out == ""
    assert list(home.iterdir()) == []


def test_a_file_instead_of_a_home_is_one_error(cli: Cli, home: Path) -> None:
    (home / ".codex").write_text("in the way\n")

    done = cli("init")

    assert (done.code, done.out) == (2, "")
    assert "nothing was changed" in done.err
    assert (home / ".codex").read_text() == "in the way\n"


def test_an_unwritable_home_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    command = [sys.executable, "-m", "codexteam", "init"]
    if os.geteuid() == 0:
        # root may write everywhere, unless it gives that up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root needs setpriv to give up writing everywhere")
        command = [setpriv, "--bounding-set", "-dac_override", "--inh-caps", "-all", *command]
    environment = {"PATH": os.environ["PATH"], "CODEX_HOME": str(locked), "HOME": "/"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {locked}")
    assert "Permission denied" in error
    assert hint.startswith("hint: ")
    assert list(locked.iterdir()) == []


def test_what_the_provider_lists_is_offered(cli: Cli, home: Path) -> None:
    listed: JSONObject = {"data": [{"id": "gpt-5.9"}, {"id": "gpt-5.4-mini"}]}
    with serve_in_thread(lambda call: HttpError(500), models=listed) as api:
        (home / ".codex").mkdir()
        (home / ".codex/config.toml").write_text(
            'model_provider = "mine"\n[model_providers.mine]\nname = "Mine"\n' + f'base_url = "{api.base_url}"\n'
        )
        done = cli("init")
        assert "Mine lists these models: gpt-5.4-mini, gpt-5.9\n" in done.out
        assert "`gpt-5.4` is not among them: nearest are gpt-5.9, gpt-5.4-mini\n" in done.out
        assert "[codexteam.models]" in done.out
        again = cli("init", "--force", "--model", "gpt-5.9")
        assert "is not among them" not in again.out
    assert model_of(home / ".codex", "reviewer") == model_of(home / ".codex", "explorer") == "gpt-5.9"


def test_a_server_that_is_down_keeps_nobody_from_beginning(cli: Cli, home: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(
        'model_provider = "mine"\n[model_providers.mine]\nname = "Mine"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    done = cli("init")
    assert (done.code, done.err) == (0, "")
    assert "lists" not in done.out
