"""A pull request that people hold for ready, and a run that is not."""

import os
import subprocess
from pathlib import Path

import pytest

from codexteam.adapters.github.pulls import PullRequest
from codexteam.app.project import find_project
from codexteam.app.pull_request import Proposal, PullWanted, publish_proposal, refuse_ready
from codexteam.core.ids import RunId, branch_name
from codexteam.errors import LandingError
from tests.support_github import TOKEN, serve_github

RUN = RunId("20260101-0000-abcd")
NOT_GREEN = Proposal(RUN, "Add x", "words", draft=True, green=False)


def test_what_is_not_green_is_not_pushed_to_a_pull_request_that_is_ready(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    git("remote", "add", "origin", "https://github.example/acme/tally.git")
    with serve_github() as hub:
        hub.pulls.append({"number": 7, "state": "open", "draft": False, "head": {"ref": branch_name(RUN)}})
        server = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": hub.url, "GITHUB_TOKEN": TOKEN}
        project = find_project(tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server})
        with pytest.raises(LandingError, match="pull request 7 is ready for review, and run .* is not green") as caught:
            publish_proposal(project, NOT_GREEN, PullWanted(not_green=True))
        assert "gh pr ready --undo 7" in caught.value.hint
        assert {method for method, _ in hub.asked} == {"GET"}


def test_a_draft_takes_what_is_not_green_and_what_is_green_goes_anywhere() -> None:
    ready, draft = (PullRequest(7, "", "main", is_draft, "") for is_draft in (False, True))
    refuse_ready(draft, NOT_GREEN)
    refuse_ready(None, NOT_GREEN)
    refuse_ready(ready, Proposal(RUN, "Add x", "words", draft=True))
