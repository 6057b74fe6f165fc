"""`--ci` through the real command: what a job of a pipeline shows and leaves, and that it asks nobody."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.test_pull_request import branches, with_remote
from tests.e2e.world import ROOT, Ended, World
from tests.support_github import TOKEN, serve_github

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]


def runner(folder: Path, workspace: Path) -> dict[str, str]:
    """The variables of GitHub's runner."""
    folder.mkdir()
    for name in ("summary", "output"):
        (folder / name).touch()
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(workspace),
        "RUNNER_TEMP": str(folder),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "GITHUB_OUTPUT": str(folder / "output"),
    }


def act(world: World, variables: dict[str, str], **inputs: str) -> Ended:
    """Run the last step of the action, as its runner does."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    given = {name: str(known["default"]) for name, known in action["inputs"].items()} | inputs
    named = {key: given[value.removeprefix("${{ inputs.").removesuffix(" }}")] for key, value in step["env"].items()}
    program = Path(variables["RUNNER_TEMP"], "codexteam-venv", "bin", "codexteam")
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m codexteam "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        check=False,
        cwd=variables["GITHUB_WORKSPACE"],
        env=world.environment(**variables, **named),
        capture_output=True,
        text=True,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_one_job_runs_and_another_publishes_what_it_left(make: MakeWorld, tmp_path: Path) -> None:
    world, api = make(one_task.TEAM, one_task.play)
    (world.repository / "AGENTS.md").write_text("Words of the pull request.\n")
    world.git("add", "AGENTS.md")
    world.git("commit", "-q", "-m", "Say more", "--", "AGENTS.md")
    remote = with_remote(world)
    variables = runner(tmp_path / "runner", world.folder)
    base = tmp_path / "base"
    shutil.copytree(world.home / ".codex", base / ".codex")
    (base / "AGENTS.md").write_text("Words of the base branch.\n")
    # what the pull request would configure and instruct
    (world.repository / ".codex").mkdir()
    (world.repository / ".codex" / "config.toml").write_text('model = "of-the-pull-request"\n')

    ended = act(
        world,
        variables,
        command="run",
        goal=one_task.GOAL,
        budget="9000k",
        configuration=str(base),
        **{"working-directory": world.repository.name},
    )

    assert ended.code == 0, ended.err
    groups = [line for line in ended.err.splitlines() if line.startswith("::")]
    assert groups[:4] == ["::group::preparing", "::endgroup::", "::group::scouting", "::endgroup::"]
    assert groups.count("::endgroup::") * 2 == len(groups)
    folder = tmp_path / "runner" / "codexteam"
    files = "branch.bundle events.jsonl findings.sarif junit.xml plan.md pull-request.json report.html result.json"
    assert sorted(file.name for file in folder.iterdir()) == [*files.split(), "summary.md"]
    result = json.loads((folder / "result.json").read_text())
    assert (result["result"], result["branch"], result["over_limits"]) == ("green", world.branch, "")
    outputs = dict(line.split("=", 1) for line in (tmp_path / "runner" / "output").read_text().splitlines())
    assert (outputs["exit-code"], outputs["run-id"]) == ("0", world.run_folder.name)
    assert (tmp_path / "runner" / "summary").read_text() == (folder / "summary.md").read_text()
    # later turns hold what agents have read as data
    asked = [json.dumps(request.call.body) for request in api.requests if request.call.turn == 1]
    assert all("Words of the base branch." in said for said in asked)
    assert not [said for said in asked if "Words of the pull request." in said or "of-the-pull-request" in said]
    assert "with --ci only those in" in ended.err

    branch, head = world.branch, result["commit"]
    world.git("branch", "-D", branch)
    shutil.rmtree(world.state)
    with serve_github() as hub:
        token = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
        published = world.run("ci", "publish", str(folder), "--base", "main", **token)
        again = world.run("ci", "publish", str(folder), **token)
    assert (published.code, again.code) == (0, 0), published.err + again.err
    [pull] = hub.pulls
    assert (pull["head"], pull["base"], pull["draft"]) == ({"ref": branch}, {"ref": "main"}, False)
    assert "- [x] **T1** Write a Markdown table" in str(pull["body"])
    assert branches(remote) == [branch, "main"]
    assert world.git("rev-parse", branch).strip() == head


def test_a_plan_over_its_limit_fails_its_job(make: MakeWorld, tmp_path: Path) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    variables = runner(tmp_path / "runner", world.repository)

    ended = world.run("plan", one_task.GOAL, "--ci", "--budget", "100k", **variables)

    assert ended.code == 4, ended.err
    assert "::error title=codexteam%3A over the limit::" in ended.err
    assert "result=over_limit\nexit-code=4\n" in (tmp_path / "runner" / "output").read_text()
    summary = (tmp_path / "runner" / "summary").read_text()
    assert "**Over the limit**: " in summary
    assert "| T1 | Write a Markdown table | implementer (`gpt-5.4`) | 1 |" in summary
    assert "| whole run |" in summary
