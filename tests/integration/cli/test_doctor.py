"""`codexteam doctor`: says what is missing and what to do, in any surroundings, and shows no credential."""

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli, Outcome

PROVIDER = """
model_provider = "mine"
[model_providers.mine]
name = "Mine"
base_url = "http://127.0.0.1:9/v1"
env_key = "MINE_KEY"
env_key_instructions = "ask the team for a key"
"""


@pytest.fixture
def configured(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Codex home whose provider takes its key from MINE_KEY; no container engine."""
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(PROVIDER)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.setenv("MINE_KEY", "canary-canary")
    return home / ".codex/config.toml"


def records(done: Outcome) -> dict[str, dict[str, str]]:
    found = [json.loads(line) for line in done.out.splitlines()]
    assert found[-1]["type"] == "doctor.completed"
    assert found[-1]["exit_code"] == done.code
    return {record["name"]: record for record in found[:-1]}


@pytest.mark.bubblewrap
def test_one_working_sandbox_is_enough_for_a_run(cli: Cli, configured: Path, repository: Path) -> None:
    done = cli("-C", str(repository), "doctor", "--json")

    found = records(done)
    assert done.code == 0, done.out
    assert found["docker"]["status"] == "warn"
    assert found["docker"]["advice"] != ""
    assert found["bubblewrap"]["status"] == "ok"
    assert found["state folder"]["found"] == str(repository / ".git/codexteam")
    assert not (repository / ".git/codexteam").exists()


def test_no_sandbox_at_all_is_exit_6(cli: Cli, configured: Path, repository: Path) -> None:
    done = cli("-C", str(repository), "-c", 'codexteam.sandbox.kind="docker"', "doctor", "--json")

    assert done.code == 6
    assert records(done)["docker"]["status"] == "fail"
    assert "bubblewrap" not in records(done)


@pytest.mark.docker
def test_an_engine_that_answers_says_its_version(
    cli: Cli, configured: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")

    done = cli("-C", str(repository), "-c", 'codexteam.sandbox.kind="docker"', "doctor", "--json")

    assert done.code == 0, done.out
    assert records(done)["docker"]["found"].startswith("engine ")


def test_a_missing_key_is_exit_6_with_the_provider_s_own_advice(
    cli: Cli, configured: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINE_KEY")

    done = cli("-C", str(repository), "doctor", "--json")

    assert done.code == 6
    found = records(done)["credentials for mine"]
    assert (found["status"], found["found"], found["advice"]) == (
        "fail",
        "MINE_KEY is not set",
        "ask the team for a key",
    )


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_credential_is_ever_shown(form: tuple[str, ...], cli: Cli, configured: Path, repository: Path) -> None:
    done = cli("-C", str(repository), "doctor", *form)

    assert "MINE_KEY is set" in done.out
    assert "canary" not in done.out + done.err


def test_a_broken_configuration_is_exit_2_and_the_rest_is_still_looked_at(
    cli: Cli, configured: Path, repository: Path
) -> None:
    configured.write_text("model = \n")

    done = cli("-C", str(repository), "doctor", "--json")

    assert done.code == 2
    found = records(done)
    assert found["config"]["status"] == "fail"
    assert str(configured) in found["config"]["found"]
    assert found["git"]["status"] == "ok"
    assert "repository" in found


@pytest.mark.bubblewrap
def test_outside_a_repository_the_machine_is_judged(cli: Cli, configured: Path) -> None:
    done = cli("doctor", "--json")

    found = records(done)
    assert done.code == 0, done.out
    assert found["repository"]["status"] == "warn"
    assert "-C DIR" in found["repository"]["advice"]
    assert "disk" in found


def test_a_repository_without_a_commit_is_said(cli: Cli, configured: Path, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)

    done = cli("-C", str(tmp_path / "empty"), "doctor", "--json")

    assert done.code == 6
    assert records(done)["repository"]["advice"] == "make a first commit"


def test_without_git_doctor_still_answers(
    cli: Cli, configured: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    done = cli("-C", str(repository), "doctor", "--json")

    assert done.code == 6
    assert records(done)["git"]["found"] == "git is not installed"
    assert "2.38" in records(done)["git"]["advice"]


def test_the_text_form_says_ready_or_not(cli: Cli, configured: Path, repository: Path) -> None:
    done = cli("-C", str(repository), "-c", 'codexteam.sandbox.kind="docker"', "doctor")

    assert "fail  docker: no Docker engine answers" in done.out
    assert done.out.endswith("Not ready: see the lines marked fail.\n")
