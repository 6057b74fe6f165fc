"""What the jobs of a workflow ask of GitHub: who may ask for a run, and one comment that is kept up to date."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.app.ci.plan_comment import MARK, put_plan_comment
from codexteam.app.ci.request import CiRequest, NobodyAsks, leave_request, read_request
from codexteam.cli.main import run
from codexteam.core.ids import JSONObject
from codexteam.errors import LandingError, UsageError
from tests.support_github import TOKEN, GitHub, serve_github

HEAD = "c" * 40


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with serve_github() as served:
        head: JSONObject = {"ref": "feature", "sha": HEAD, "repo": {"full_name": "acme/tally"}}
        pull: JSONObject = {
            "number": 7,
            "state": "open",
            "title": "Add a table",
            "body": "",
            "user": {"login": "alice"},
        }
        served.pulls.append({**pull, "head": head, "base": {"ref": "main"}})
        yield served


def job(folder: Path, hub: GitHub, name: str = "issue_comment", **event: JSONObject) -> dict[str, str]:
    """The variables of a job of a repository's workflow."""
    (folder / "event.json").write_text(json.dumps(event))
    return {
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "acme/tally",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_API_URL": hub.url,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_OUTPUT": str(folder / "outputs"),
        "RUNNER_TEMP": str(folder),
    }


def asked(folder: Path, hub: GitHub, login: str, body: str = "/codexteam run Add x") -> dict[str, str]:
    said: JSONObject = {"body": body, "user": {"login": login}}
    return job(folder, hub, sender={"login": login}, comment=said, issue={"number": 7})


class TestRequests:
    def test_who_may_write_is_heard(self, tmp_path: Path, hub: GitHub) -> None:
        variables = asked(tmp_path, hub, "alice", "/codexteam run Add x\n`id`")

        found = read_request(variables)
        assert isinstance(found, CiRequest)
        file = leave_request(found, variables)

        assert (found.head, found.base, found.number) == (HEAD, "feature", 7)
        assert file.read_text() == "Add x\n`id`\n"
        outputs = (tmp_path / "outputs").read_text().splitlines()
        assert outputs == [f"head={HEAD}", "base=feature", "number=7", f"goal-file={file}"]

    @pytest.mark.parametrize("login", ["mallory", "nobody", "", "alice/../bob"])
    def test_who_may_not_write_is_refused(self, tmp_path: Path, hub: GitHub, login: str) -> None:
        found = read_request(asked(tmp_path, hub, login))

        assert isinstance(found, NobodyAsks)
        assert "may not write to this repository" in found.why
        assert [method for method, path in hub.asked if path.endswith("/pulls/7")] == []

    def test_a_comment_that_is_no_command_asks_for_nothing(self, tmp_path: Path, hub: GitHub) -> None:
        assert isinstance(read_request(asked(tmp_path, hub, "alice", "/codexteam running late")), NobodyAsks)
        assert hub.asked == []

    def test_who_may_not_ask_fails_no_job_that_only_looks(
        self, tmp_path: Path, hub: GitHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in asked(tmp_path, hub, "mallory").items():
            monkeypatch.setenv(name, value)

        assert run(["ci", "request", "--if-asked"]) == 0
        assert not (tmp_path / "outputs").exists()
        assert run(["ci", "request"]) == 2

    def test_a_stranger_s_words_are_no_goal_by_a_label(self, tmp_path: Path, hub: GitHub) -> None:
        hub.pulls[0]["user"] = {"login": "mallory"}
        event: JSONObject = {"number": 7}
        variables = job(tmp_path, hub, "pull_request", sender={"login": "alice"}, pull_request=event)
        with pytest.raises(UsageError, match="mallory may not write"):
            read_request(variables)

    @pytest.mark.parametrize("source", ["mallory/tally", ""])
    def test_a_fork_s_pull_request_is_not_worked_on(self, tmp_path: Path, hub: GitHub, source: str) -> None:
        repo: JSONObject = {"full_name": source}
        hub.pulls[0]["head"] = {"ref": "feature", "sha": HEAD, "repo": repo if source else None}
        with pytest.raises(UsageError, match="not from this repository"):
            read_request(asked(tmp_path, hub, "alice"))

    def test_a_closed_pull_request_is_not_worked_on(self, tmp_path: Path, hub: GitHub) -> None:
        hub.pulls[0]["state"] = "closed"
        with pytest.raises(UsageError, match="is closed"):
            read_request(asked(tmp_path, hub, "alice"))


@pytest.mark.parametrize("viewer", ["user", "github-actions[bot]"])
def test_there_is_one_comment_which_is_kept_up_to_date(tmp_path: Path, hub: GitHub, viewer: str) -> None:
    hub.viewer = viewer
    variables = job(tmp_path, hub)
    planted: JSONObject = {"id": 1, "body": f"{MARK}\nnot ours", "user": {"login": "mallory"}}
    noise: list[JSONObject] = [{"id": n, "body": "words", "user": {"login": "bob"}} for n in range(2, 250)]
    hub.issue_comments["7"] = [planted, *noise]
    summary = tmp_path / "summary.md"

    summary.write_text("# Plan: one\n")
    first = put_plan_comment(variables, summary, 7)
    summary.write_text("# Plan: two\n" + "long line\n" * 10_000)
    second = put_plan_comment(variables, summary, 7)

    assert (first.created, second.created, first.url) == (True, False, second.url)
    own = [str(one["body"]) for one in hub.issue_comments["7"] if one["user"] == {"login": viewer}]
    assert len(own) == 1
    assert own[0].startswith(f"{MARK}\n# Plan: two\n")
    assert own[0].endswith("The rest is in summary.md of the artifacts.\n")
    assert len(own[0]) < 65_536
    assert planted["body"] == f"{MARK}\nnot ours"


def test_a_comment_that_is_refused_is_one_error(tmp_path: Path, hub: GitHub) -> None:
    (tmp_path / "summary.md").write_text("# Plan\n")
    variables = {**job(tmp_path, hub), "GITHUB_TOKEN": "wrong"}
    with pytest.raises(LandingError, match="the token is not accepted"):
        put_plan_comment(variables, tmp_path / "summary.md", 7)
    with pytest.raises(UsageError, match="cannot be read"):
        put_plan_comment(variables, tmp_path / "none", 7)
