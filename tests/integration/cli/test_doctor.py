"""`codexteam doctor`: says what is missing and what to do, in any surroundings, and shows no credential."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.core.ids import JSONValue
from tests.integration.cli.conftest import Cli, Outcome
from tests.scripted_api import HttpError, ScriptedApi, serve_in_thread

PROVIDER = """
model_provider = "mine"
[model_providers.mine]
name = "Mine"
base_url = "{url}"
env_key = "MINE_KEY"
env_key_instructions = "ask the team for a key"
"""


DOCKER = ("-c", 'codexteam.sandbox.kind="docker"')


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """A provider that lists the model of the roles that ship."""
    with serve_in_thread(
        lambda call: HttpError(500), models={"data": [{"id": "gpt-5.4"}, {"id": "gpt-5.4-mini"}]}
    ) as api:
        yield api


@pytest.fixture
def configured(home: Path, api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Codex home whose provider takes its key from MINE_KEY; no container engine."""
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(PROVIDER.format(url=api.base_url))
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

    done = cli(
        "-C", str(repository), *DOCKER, "-c", 'codexteam.sandbox.image="codexteam-sandbox:test"', "doctor", "--json"
    )

    assert done.code == 0, done.out
    assert records(done)["docker"]["found"].startswith("engine ")
    image = records(done)["image"]
    assert image["found"] == "codexteam-sandbox:test ([codexteam.sandbox] image), on the engine"


@pytest.mark.docker
@pytest.mark.parametrize("kind", ["docker", "auto"])
def test_an_image_that_is_nowhere_is_exit_6(
    cli: Cli, configured: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    named = ("-c", f'codexteam.sandbox.kind="{kind}"', "-c", 'codexteam.sandbox.image="127.0.0.1:9/none:1"')

    done = cli("-C", str(repository), *named, "doctor", "--json")

    assert done.code == 6
    image = records(done)["image"]
    assert image["status"] == "fail"
    assert "127.0.0.1:9/none:1 ([codexteam.sandbox] image) is not on the engine, and cannot be pulled" in image["found"]
    assert "docker pull" in image["advice"]


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


def test_outside_a_repository_no_run_could_start(cli: Cli, configured: Path) -> None:
    done = cli("doctor", "--json")

    found = records(done)
    assert done.code == 6
    assert found["repository"]["status"] == "fail"
    assert "-C DIR" in found["repository"]["advice"] or "repository" in found["repository"]["advice"]
    assert "disk" in found


def test_a_repository_without_a_commit_is_said(cli: Cli, configured: Path, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)

    done = cli("-C", str(tmp_path / "empty"), "doctor", "--json")

    assert done.code == 6
    assert "no commit" in records(done)["repository"]["found"]
    assert "commit" in records(done)["repository"]["advice"]


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


def _fails(cli: Cli, repository: Path, name: str, *arguments: str) -> dict[str, str]:
    """Give the line of a check that keeps a run from starting."""
    done = cli("-C", str(repository), *arguments, "doctor", "--json")
    assert done.code == 6, done.out
    found = records(done)[name]
    assert found["status"] == "fail"
    assert found["advice"]
    return found


def test_a_server_that_is_down_is_named(cli: Cli, configured: Path, repository: Path, api: ScriptedApi) -> None:
    api.take_down()
    found = _fails(cli, repository, "server of mine")
    assert api.base_url in found["found"]
    api.bring_back()


def test_a_server_without_a_list_of_models_is_good_enough(
    cli: Cli, configured: Path, repository: Path, api: ScriptedApi
) -> None:
    api.models = None
    found = records(cli("-C", str(repository), "doctor", "--json"))
    assert found["server of mine"]["status"] == "ok"
    assert found["models of mine"]["status"] == "ok"
    assert "not known before a run asks" in found["models of mine"]["found"]


def test_each_role_s_model_and_effort_are_shown_and_a_missing_one_is_named(
    cli: Cli, configured: Path, repository: Path
) -> None:
    found = records(cli("-C", str(repository), "doctor", "--json"))["models of mine"]
    assert found["status"] == "ok"
    assert "gpt-5.4, effort xhigh: orchestrator" in found["found"]
    found = _fails(cli, repository, "models of mine", "-m", "gpt-5.4-mino")
    assert "lists no model `gpt-5.4-mino`" in found["found"]
    assert "nearest are gpt-5.4-mini, gpt-5.4" in found["found"]
    assert "[codexteam.models]" in found["advice"]


def test_an_effort_that_a_model_does_not_have_is_named(
    cli: Cli, configured: Path, repository: Path, api: ScriptedApi
) -> None:
    levels: list[JSONValue] = [{"effort": "low"}, {"effort": "medium"}, {"effort": "high"}]
    api.models = {"models": [{"slug": "gpt-5.4", "supported_reasoning_levels": levels}]}
    found = _fails(cli, repository, "models of mine")
    assert (
        "`gpt-5.4` has no effort `xhigh`, which orchestrator, reviewer ask for; it has low, medium, high"
        in found["found"]
    )


def test_a_profile_without_a_file_is_a_warning(cli: Cli, configured: Path, repository: Path) -> None:
    (configured.parent / "work.config.toml").write_text("")
    done = cli("-C", str(repository), "-p", "wrok", "doctor")
    assert "warn  config: -p/--profile wrok: there is no " in done.out
    assert "did you mean `work`?" in done.out
    strict = cli("-C", str(repository), "-p", "wrok", "--strict-config", "doctor")
    assert strict.code == 2
    assert "fail  config: -p/--profile wrok" in strict.out


def test_a_chatgpt_login_without_codex_is_named(
    cli: Cli, home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (home / ".codex").mkdir()
    (home / ".codex/auth.json").write_text('{"auth_mode": "chatgpt", "tokens": {"access_token": "canary-canary"}}')
    found = _fails(cli, repository, "engine")
    assert found["found"].startswith("the engine is codex (signed in with ChatGPT (")
    assert found["found"].endswith("and there is no `codex` on the PATH")
    assert "CODEX_API_KEY" in found["advice"]
    run = cli("-C", str(repository), "run", "a goal")
    assert run.code == 6
    assert "there is no `codex` on the PATH" in run.err
    assert "CODEX_API_KEY" in run.err
    assert "canary" not in found["found"] + run.err
