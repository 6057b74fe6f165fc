"""What an event of a workflow asks for, and on whose word."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from codexteam.adapters.github.pulls import PullRequest
from codexteam.app.ci.event import CiEvent, goal_of, read_event
from codexteam.core.ids import JSONObject
from codexteam.errors import UsageError

PULL = PullRequest(7, "url", "main", False, "  Sums as Markdown.  ", "Add a table", author="alice")


def event(folder: Path, name: str, fields: JSONObject, **more: str) -> Mapping[str, str]:
    """Return the variables of a job that an event has started."""
    (folder / "event.json").write_text(json.dumps(fields))
    return {"GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(folder / "event.json"), **more}


def comment(body: str, number: object = 7) -> JSONObject:
    said: JSONObject = {"body": body, "user": {"login": "alice"}}
    return {"sender": {"login": "bob"}, "comment": said, "issue": {"number": number}}  # type: ignore[dict-item]  # wrong ones too


def test_a_comment_gives_the_goal_and_its_people(tmp_path: Path) -> None:
    found = read_event(event(tmp_path, "issue_comment", comment("/codexteam run  Add `x`; $(id)\nwith tests\n")))
    assert found == CiEvent(("bob", "alice"), "Add `x`; $(id)\nwith tests", 7)


@pytest.mark.parametrize("body", ["/codexteam running", "please /codexteam run", "", "/codexteam"])
def test_a_comment_that_only_looks_so_asks_for_nothing(tmp_path: Path, body: str) -> None:
    assert not read_event(event(tmp_path, "issue_comment", comment(body))).asks


def test_a_start_by_hand_names_commit_branch_and_goal(tmp_path: Path) -> None:
    variables = {"GITHUB_SHA": "c" * 40, "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}
    found = read_event(event(tmp_path, "workflow_dispatch", {"inputs": {"goal": "Add x"}}, **variables))
    assert found == CiEvent((), "Add x", head="c" * 40, base="main")
    tagged = read_event(event(tmp_path, "workflow_dispatch", {}, **{**variables, "GITHUB_REF_TYPE": "tag"}))
    assert (tagged.base, tagged.goal) == ("", "")


@pytest.mark.parametrize(
    ("name", "fields"),
    [("push", {}), ("issue_comment", comment("/codexteam run", None)), ("pull_request", {"pull_request": []})],
)
def test_an_event_that_names_no_pull_request_is_refused(tmp_path: Path, name: str, fields: JSONObject) -> None:
    with pytest.raises(UsageError):
        read_event(event(tmp_path, name, fields))


def test_no_event_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no event asks for anything"):
        read_event({})
    (tmp_path / "event.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        read_event({"GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")})


def test_a_pull_request_s_own_words_are_a_goal_on_its_author_s_word() -> None:
    goal, people = goal_of(CiEvent(("bob",), number=7), PULL)
    assert goal == "Complete what this pull request is about: Add a table\n\nSums as Markdown."
    assert people == ("bob", "alice")
    assert goal_of(CiEvent(("bob",), " Add x ", 7), PULL) == ("Add x", ("bob",))
