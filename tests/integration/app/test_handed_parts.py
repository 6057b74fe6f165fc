"""What one job of a pipeline leaves of a run in several repositories, and another job publishes."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.app.ci.handover import HandedOver, publish_parts, read_handover
from codexteam.app.project import Project, find_project
from codexteam.app.pull_request import PullWanted
from codexteam.app.repositories import NamedRepository, find_named
from codexteam.core.ids import JSONObject
from codexteam.errors import LandingError, UsageError
from tests.support_github import TOKEN, GitHub, serve_github

RUN = "20260101-0000-abcd"
BRANCH = f"codexteam/{RUN}"
NAMES = ("api", "web")


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=A", "-c", "user.email=a@example")
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with serve_github() as served:
        served.name, served.beside["web"] = "api", GitHub(name="web")
        yield served


def checkout(folder: Path, name: str) -> Path:
    """Make a repository whose remote its user reaches by ssh; give its folder."""
    work, remote, ssh = folder / name, folder / f"{name}.git", folder / f"{name}.sh"
    git(folder, "init", "-q", "--bare", str(remote))
    git(folder, "init", "-q", "-b", "main", str(work))
    git(work, "commit", "-q", "--allow-empty", "-m", "A")
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\ncd {remote} && exec "${{last%% *}}" .\n')
    ssh.chmod(0o755)
    git(work, "remote", "add", "origin", f"git@github.example:acme/{name}.git")
    git(work, "config", "core.sshCommand", str(ssh))
    return work


def leave(folder: Path, **changes: str) -> Path:
    """Leave a branch of each repository as a job does; `changes` are values of the second part."""
    left, parts = folder / "left", []
    left.mkdir(exist_ok=True)
    for name in NAMES:
        work = checkout(folder, name)
        git(work, "switch", "-q", "-c", BRANCH)
        git(work, "commit", "-q", "--allow-empty", "-m", "B")
        git(work, "bundle", "create", "-q", str(left / f"branch.{name}.bundle"), f"main..{BRANCH}")
        body = "\n".join(f"- {each}: https://codexteam.invalid/pull-request-of/{each}/" for each in NAMES)
        parts.append({"name": name, "head": git(work, "rev-parse", "HEAD"), "body": body})
        git(work, "switch", "-q", "main")
        git(work, "branch", "-q", "-D", BRANCH)
    parts[1] |= changes
    fields = {"type": "codexteam.pull-request", "run": RUN, "head": "c" * 40, "title": "Prices", "body": ""}
    (left / "pull-request.json").write_text(json.dumps({**fields, "draft": False, "repositories": parts}))
    (left / "result.json").write_text(json.dumps({"run": RUN, "exit_code": 0}))
    return left


def publishing(folder: Path, hub: GitHub, left: Path) -> tuple[Project, HandedOver, tuple[NamedRepository, ...]]:
    access = {"GITHUB_TOKEN": TOKEN, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url}
    project = find_project(folder / "api", {"PATH": os.environ["PATH"], "HOME": str(folder), **access})
    handed = read_handover(left)
    assert handed is not None
    return project, handed, find_named({name: folder / name for name in NAMES}, project.environment)


def test_each_repository_gets_its_branch_and_its_pull_request(tmp_path: Path, hub: GitHub) -> None:
    project, handed, named = publishing(tmp_path, hub, leave(tmp_path))

    pulls = publish_parts(project, handed, named, PullWanted())

    assert [pull.repository for pull in pulls] == [*NAMES]
    for pull in (*hub.pulls, *hub.beside["web"].pulls):
        assert "- api: https://github.example/acme/api/pull/7\n" in str(pull["body"])
        assert "- web: https://github.example/acme/web/pull/7\n" in str(pull["body"])
    for part in handed.parts:
        assert git(tmp_path / f"{part.name}.git", "rev-parse", BRANCH) == part.head


def test_nothing_is_pushed_where_one_repository_cannot_take_its_part(tmp_path: Path, hub: GitHub) -> None:
    project, handed, named = publishing(tmp_path, hub, leave(tmp_path, head="d" * 40))

    with pytest.raises(LandingError, match=r"web: .*does not hold .*; nothing was pushed"):
        publish_parts(project, handed, named, PullWanted())
    with pytest.raises(UsageError, match="does not name web"):
        publish_parts(project, handed, named[:1], PullWanted())
    assert hub.pulls == []


@pytest.mark.parametrize("part", [{"name": "../x"}, {"name": "web", "head": "HEAD"}, {"name": "web", "head": "c" * 40}])
def test_parts_that_are_not_as_they_are_left_are_refused(tmp_path: Path, part: JSONObject) -> None:
    fields = {"type": "codexteam.pull-request", "run": RUN, "head": "c" * 40, "title": "", "body": ""}
    (tmp_path / "pull-request.json").write_text(json.dumps({**fields, "repositories": [part]}))
    with pytest.raises(UsageError, match="not what codexteam leaves"):
        read_handover(tmp_path)
