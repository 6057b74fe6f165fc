"""`pr` through the real command: a green run is pushed with the user's git and proposed, once."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World
from tests.support_github import TOKEN, serve_github

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(300)]


def with_remote(world: World) -> Path:
    """Give the repository a remote on a server that its user reaches by ssh; return what is behind it."""
    remote = world.folder / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    ssh = world.folder / "ssh.sh"
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\ncd {remote} && exec "${{last%% *}}" .\n')
    ssh.chmod(0o755)
    world.git("remote", "add", "origin", "git@github.example:acme/tally.git")
    world.git("config", "core.sshCommand", str(ssh))
    world.git("push", "-q", "origin", "main")
    return remote


def branches(remote: Path) -> list[str]:
    """The remote's branches."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname:short)"], cwd=remote, check=True, capture_output=True, text=True
    )
    return listed.stdout.split()


def test_a_green_run_becomes_one_pull_request_that_is_kept_up_to_date(make: MakeWorld) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    remote = with_remote(world)
    refused = world.run("run", one_task.GOAL, "--pr", "-q")
    assert (refused.code, "no token for github.example" in refused.err) == (7, True)
    assert not (world.state / "runs").exists()
    assert world.run("run", one_task.GOAL, "-q").code == 0

    with serve_github() as hub:
        token = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
        nobody = world.run("pr", GITHUB_TOKEN=TOKEN, GITHUB_API_URL=hub.url)
        assert (nobody.code, branches(remote)) == (7, ["main"])
        assert "no token for github.example" in nobody.err
        wrong = world.run("pr", **{**token, "GITHUB_TOKEN": "wrong"})
        assert (wrong.code, branches(remote)) == (7, ["main"])
        assert "the token is not accepted" in wrong.err

        shown = world.run("pr", "--dry-run", **token)
        assert "- [x] **T1** Write a Markdown table" in shown.out
        assert (hub.pulls, branches(remote)) == ([], ["main"])

        opened = world.run("resume", "--pr", **token)
        assert (opened.code, opened.out.splitlines()[-1]) == (0, "https://github.example/acme/tally/pull/7"), opened.err
        assert "opened pull request 7" in opened.err
        assert branches(remote) == [world.branch, "main"]
        [pull] = hub.pulls
        assert (pull["base"], pull["draft"]) == ({"ref": "main"}, False)
        assert str(pull["title"]).startswith("Add tally/markdown.py, which writes sums")
        body = str(pull["body"])
        assert body.startswith(f"<!-- codexteam run={world.run_folder.name} -->\n")
        for heading in ("## Plan", "## Evidence", "## Acceptance", "## Cost by role", "## Reproduce"):
            assert heading in body
        assert "| T1 |" in body
        assert TOKEN not in body

        pull["body"] = f"A word of mine before.\n\n{body}\n\nAnd one after."
        again = world.run("pr", "--json", **token)
        line = json.loads(again.out)
        assert (line["type"], line["number"], line["created"]) == ("pr.completed", 7, False)
        [pull] = hub.pulls
        assert str(pull["body"]) == f"A word of mine before.\n\n{body}\n\nAnd one after."

    unknown = world.run("pr", "--remote", "upstream", **token)
    assert (unknown.code, "there is no remote 'upstream'; there are: origin" in unknown.err) == (7, True)
