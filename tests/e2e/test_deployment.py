"""`deploy` through the real command: only what is green, only once a person has approved that very commit, and once."""

from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.deployment import do_deployment, find_deployment
from codexteam.app.project import find_project
from codexteam.config.settings import DeploySettings
from codexteam.core.ids import CommitId
from codexteam.errors import LandingError, UsageError
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.test_pull_request import with_remote
from tests.support_github import TOKEN, serve_github

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]


def test_a_green_run_is_deployed_once_it_is_approved(make: MakeWorld, tmp_path: Path) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    with_remote(world)
    assert world.run("run", one_task.GOAL, "-q").code == 0
    commit = world.git("rev-parse", world.branch).strip()
    notes = next(world.run_folder.rglob("release-notes.md"), None)
    told = tmp_path / "told"
    command = f'printf "%s %s %s" "$CODEXTEAM_COMMIT" "$CODEXTEAM_BRANCH" "$CODEXTEAM_RELEASE_NOTES" > {told}'
    sets = ("-c", f"codexteam.deploy.command={command!r}")

    unset = world.run("deploy", "--approve", commit)
    assert (unset.code, "needs a command or a workflow: neither is set" in unset.err) == (2, True), unset.err
    away = world.run("deploy", "-c", 'codexteam.deploy.workflow="deploy.yml"', "--approve", commit)
    assert (away.code, "no token for github.example" in away.err) == (7, True), away.err
    project = find_project(world.repository, world.environment())
    settings = DeploySettings(command=f"touch {tmp_path / 'twice'}")
    asked = find_deployment(project, settings, None)
    assert asked.before == "", "nothing was begun without a token"
    waits = world.run("deploy", *sets)
    assert (waits.code, f"--approve {commit[:12]}" in waits.err, told.exists()) == (5, True, False), waits.err
    other = world.run("deploy", *sets, "--approve", "0" * 40)
    assert (other.code, "an approval names that commit" in other.err, told.exists()) == (2, True, False), other.err
    fails = world.run("deploy", "-c", 'codexteam.deploy.command="exit 9"', "--approve", commit)
    assert (fails.code, "ended with exit code 9" in fails.err) == (7, True), fails.err
    begun = world.run("deploy", *sets, "--approve", commit)
    assert (begun.code, "did not end well" in begun.err, told.exists()) == (2, True, False), begun.err

    done = world.run("deploy", *sets, "--approve", commit[:12], "--again")

    assert done.code == 0, done.err
    assert done.out.startswith(f"deployed {commit} of run {world.run_folder.name}")
    assert told.read_text() == f"{commit} {world.branch} {notes or ''}"
    twice = world.run("deploy", *sets, "--approve", commit)
    assert (twice.code, "was deployed" in twice.err) == (2, True), twice.err
    # a person who was asked before that, and says yes after it
    with pytest.raises(UsageError, match="was deployed"):
        do_deployment(project, settings, asked, again=False)
    with pytest.raises(LandingError, match="the run went on meanwhile"):
        do_deployment(project, settings, replace(asked, commit=CommitId("0" * 40)), again=True)
    assert not (tmp_path / "twice").exists()

    with serve_github() as hub:
        token = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
        asks = ("-c", 'codexteam.deploy.workflow="deploy.yml"', "--approve", commit, "--again", "--json")
        sent = world.run("deploy", *asks, **token)
        assert (sent.code, sent.lines[-1]["type"]) == (0, "deployment.done"), sent.err
        inputs = {"commit": commit, "run": world.run_folder.name}
        assert hub.dispatched == [("deploy.yml", {"ref": "main", "inputs": inputs})]


def test_a_project_s_own_file_deploys_nothing(make: MakeWorld) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    own = world.repository / ".codex" / "codexteam.config.toml"
    own.parent.mkdir(exist_ok=True)
    own.write_text('[codexteam.deploy]\ncommand = "touch deployed"\n')

    refused = world.run("deploy", "--approve", "0" * 40)

    assert refused.code == 2, refused.err
    assert not (world.repository / "deployed").exists()
