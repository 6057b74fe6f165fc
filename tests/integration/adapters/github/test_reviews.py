"""Review threads, checks and issues over GitHub's API, against a stand-in that executes GraphQL."""

import time
from collections.abc import Iterator

import pytest

from codexteam.adapters.github.api import GitHubApi
from codexteam.adapters.github.checks import CheckResult, annotations_of, branch_head, check_results
from codexteam.adapters.github.issues import read_issue
from codexteam.adapters.github.place import GitHubPlace
from codexteam.adapters.github.reviews import GitHubReviews, RequestedChange
from codexteam.core.ids import JSONObject
from codexteam.errors import LandingError
from tests.support_github import TOKEN, GitHub, serve_github

_HEAD = "a" * 40


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with serve_github() as served:
        yield served


@pytest.fixture
def api(hub: GitHub) -> Iterator[GitHubApi]:
    place = GitHubPlace("github.example", "acme", "tally", hub.url)
    with GitHubApi(place, TOKEN, command="codexteam pr sync") as opened:
        yield opened


def test_threads_are_read_answered_and_resolved(hub: GitHub, api: GitHubApi) -> None:
    hub.comment("A", "alice", "Why?", line=3)
    hub.comment("A", "user", "Because.")
    hub.comment("B", "", "From an account that is gone.")
    hub.threads[0]["comments"].append({"id": "P", "author": "user", "body": "not sent", "state": "PENDING"})
    hub.reviews = [
        {
            "id": "r1",
            "author": {"__typename": "User", "login": "alice"},
            "body": "Split it.",
            "state": "CHANGES_REQUESTED",
        },
        {"id": "r2", "author": None, "body": "Fine.", "state": "APPROVED"},
    ]
    reviews = GitHubReviews(api, 7)
    [first, second], left_out = reviews.threads()
    assert left_out == 0
    assert (first.id, first.path, first.line, first.resolved) == ("A", "tally/markdown.py", 3, False)
    assert [(one.author, one.body, one.mine) for one in first.comments] == [
        ("alice", "Why?", False),
        ("user", "Because.", True),
    ]
    assert second.comments[0].author == ""
    assert reviews.requested_changes() == [RequestedChange("r1", "alice", "Split it.")]

    reviews.reply("A", "Done. MARK", mark="MARK")
    reviews.resolve("A")
    reviews.resolve("A")
    assert hub.said("A")[-1] == "Done. MARK"
    assert reviews.threads()[0][0].resolved


def test_rights_are_asked_for_once_a_person_and_nobody_is_trusted_unasked(hub: GitHub, api: GitHubApi) -> None:
    reviews = GitHubReviews(api, 7)
    assert [reviews.may_write(name) for name in ("alice", "mallory", "ghost", "", "a/b?c", "alice")] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert len(hub.asked) == 4
    hub.refusals = [(403, {"message": "Must have push access to view collaborator permission."}, {})]
    with pytest.raises(LandingError, match="may not do this: Must have push access"):
        reviews.may_write("bob")


def test_thousands_of_comments_are_read_in_pages_and_bounded(hub: GitHub, api: GitHubApi) -> None:
    hub.threads = [
        {"id": f"T{n}", "path": "a.py", "line": 1, "comments": [{"id": f"c{n}", "author": "alice", "body": "x"}]}
        for n in range(251)
    ]
    hub.threads[0]["comments"] = [{"id": f"d{n}", "author": "alice", "body": str(n)} for n in range(3_000)]
    found, left_out = GitHubReviews(api, 7, most_threads=200).threads()
    assert (len(found), left_out) == (200, 51)
    assert len(hub.asked) == 2
    assert [one.body for one in found[0].comments[:2]] == ["0", "2980"]
    assert (len(found[0].comments), found[0].left_out) == (21, 2_979)


def test_a_long_thread_is_read_back_in_pages_and_bounded(hub: GitHub, api: GitHubApi) -> None:
    hub.threads = [{"id": "A", "path": "a.py", "line": 1, "comments": []}]
    hub.threads[0]["comments"] = [{"id": f"c{n}", "author": "bob", "body": str(n)} for n in range(3_000)]
    reviews = GitHubReviews(api, 7)
    [[thread], _] = reviews.threads()
    longer = reviews.with_older(thread)
    assert longer is not None
    assert [one.body for one in longer.comments] == ["0", *map(str, range(2_880, 3_000))]
    assert (longer.left_out, len(longer.newest)) == (2_879, 120)
    pages = 1
    while (more := reviews.with_older(longer)) is not None:
        longer, pages = more, pages + 1
    assert (pages, len(longer.comments)) == (10, 1_021)

    hub.threads[0]["comments"] = hub.threads[0]["comments"][:111]
    [[thread], _] = reviews.threads()
    whole = reviews.with_older(thread)
    assert whole is not None
    assert ([one.body for one in whole.newest], whole.left_out) == ([*map(str, range(111))], 0)
    assert reviews.with_older(whole) is None


def test_an_answer_that_was_lost_is_found_by_its_mark_and_not_given_again(hub: GitHub, api: GitHubApi) -> None:
    hub.comment("A", "alice", "Why?")
    hub.refusals = [(0, None, {})]
    GitHubReviews(api, 7).reply("A", "Done. MARK", mark="MARK")
    assert hub.said("A") == ["Done. MARK"]


@pytest.mark.parametrize(
    ("answer", "words", "hint"),
    [
        (
            (200, {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}, {}),
            "rate limit is reached",
            "nothing is done twice",
        ),
        ((403, {"message": "You have exceeded a secondary rate limit"}, {"retry-after": "90"}), "secondary", "in 90 s"),
        (
            (
                429,
                {"message": "no"},
                {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1_000)},
            ),
            "rate limit",
            " min; nothing",
        ),
        (
            (200, {"data": None, "errors": [{"type": "FORBIDDEN", "message": "Resource not accessible"}]}, {}),
            "token may not do this",
            "pull requests: write",
        ),
        ((200, {"errors": [{"type": "NOT_FOUND", "message": "no thread"}]}, {}), "does not see it: no thread", "check"),
        ((200, {"errors": [{"message": "odd\x1b[31m"}]}, {}), "odd\\x1b[31m", "may be run again"),
        ((200, {}, {}), "answers without data", "GITHUB_API_URL"),
    ],
)
def test_what_graphql_refuses_is_one_error_with_what_to_do(
    hub: GitHub, api: GitHubApi, answer: tuple[int, JSONObject, dict[str, str]], words: str, hint: str
) -> None:
    hub.refuse = lambda _method, path, _body: answer if path == "/graphql" else None
    with pytest.raises(LandingError) as caught:
        GitHubReviews(api, 7).resolve("A")
    assert words in str(caught.value)
    assert hint in caught.value.hint


def test_checks_of_both_kinds_are_read_by_name(hub: GitHub, api: GitHubApi) -> None:
    done: JSONObject = {"status": "completed", "conclusion": "success"}
    many: list[JSONObject] = [{"id": n, "name": f"job {n}", **done} for n in range(150)]
    red: JSONObject = {
        "id": 900,
        "name": "unit",
        "status": "completed",
        "conclusion": "failure",
        "output": {"title": "1 failed"},
    }
    hub.checks = {
        _HEAD: [
            *many,
            red,
            {**red, "id": 901, "conclusion": "success"},
            {"id": 902, "name": "slow", "status": "queued"},
        ]
    }
    hub.statuses = {
        _HEAD: [{"context": "ci/old", "state": "error", "description": "boom"}, {"context": "unit", "state": "success"}]
    }
    hub.annotations = {"900": [{"path": "a.py", "start_line": 3, "message": "E501"}]}
    found = {one.name: one for one in check_results(api, _HEAD)}
    assert len(found) == 153
    assert found["unit"] == CheckResult("unit", ended=True, red=True, says="failure\n1 failed", id=900)
    assert (found["slow"].ended, found["ci/old"].red, found["job 0"].red) == (False, True, False)
    assert annotations_of(api, found["unit"]) == "a.py:3: E501"
    assert annotations_of(api, found["ci/old"]) == ""
    assert branch_head(api, "no/such") == ""


def test_an_issue_is_read_with_its_comments_and_a_pull_request_is_none(hub: GitHub, api: GitHubApi) -> None:
    hub.issues = {"12": {"title": "Bars", "body": "They are wide.", "user": {"login": "mallory"}, "state": "open"}}
    hub.issue_comments = {"12": [{"user": {"login": "alice"}, "body": str(n)} for n in range(620)]}
    issue = read_issue(api, 12)
    assert (issue.title, issue.body, issue.author) == ("Bars", "They are wide.", "mallory")
    assert (len(issue.comments), issue.left_out, issue.comments[-1]) == (220, 400, ("alice", "619"))
    assert len(hub.asked) == 4, "the issue, and the newest pages"
    hub.issues["13"] = {"title": "x", "pull_request": {}}
    with pytest.raises(LandingError, match="13 is a pull request, and no issue"):
        read_issue(api, 13)
    with pytest.raises(LandingError, match="finds no such repository, pull request or issue"):
        read_issue(api, 14)
    hub.refusals = [(410, {"message": "Issues are disabled for this repo"}, {})]
    with pytest.raises(LandingError, match="Issues are disabled for this repo") as caught:
        read_issue(api, 12)
    assert "https://HOST/OWNER/NAME/issues/N" in caught.value.hint
    hub.refusals = [(403, {"message": "Resource not accessible by personal access token"}, {})]
    with pytest.raises(LandingError, match="the token may not do this") as caught:
        read_issue(api, 12)
    assert "issues: read" in caught.value.hint
