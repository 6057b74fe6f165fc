"""Pull requests over GitHub's API, against a stand-in on loopback; and where a remote's address points."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.adapters.github.place import GitHubPlace, place_of, token_for
from codexteam.adapters.github.pulls import GitHubPulls, PullRequest
from codexteam.errors import LandingError
from tests.support_github import TOKEN, GitHub, serve_github


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with serve_github() as served:
        yield served


def _opened(hub: GitHub, *, token: str = TOKEN, name: str = "tally") -> PullRequest:
    with GitHubPulls(GitHubPlace("github.example", "acme", name, hub.url), token) as pulls:
        base = pulls.default_branch()
        return pulls.open(branch="codexteam/x", base=base, title="A title", body="A body", draft=True)


def test_a_pull_request_is_opened_found_and_changed(hub: GitHub) -> None:
    opened = _opened(hub)
    with GitHubPulls(GitHubPlace("github.example", "acme", "tally", hub.url), TOKEN) as pulls:
        assert pulls.find("codexteam/x") == opened
        assert pulls.find("codexteam/y") is None
        assert pulls.get(7) == opened
        assert pulls.may_push()
        hub.may_push = False
        assert not pulls.may_push()
        changed = pulls.change(opened.number, body="Another", title="New", base="next")
    assert (opened.number, opened.base, opened.draft) == (7, "main", True)
    assert (changed.body, changed.base, hub.pulls[0]["title"]) == ("Another", "next", "New")


def test_an_answer_that_was_lost_opens_nothing_twice(hub: GitHub) -> None:
    hub.refusals = [(200, {"default_branch": "main"}, {}), (0, None, {})]
    assert _opened(hub).number == 7
    assert len(hub.pulls) == 1


def test_a_question_is_asked_again_where_the_server_fails(hub: GitHub) -> None:
    hub.refusals = [(502, {"message": "Bad gateway"}, {})]
    assert _opened(hub).number == 7


@pytest.mark.parametrize(
    ("refusal", "words", "hint"),
    [
        ((403, {"message": "Resource not accessible by integration"}, {}), "may not do this", "pull requests: write"),
        ((403, {"message": "slow down"}, {"retry-after": "60"}), "rate limit is reached: slow down", "in 60 s"),
        ((403, {"message": "API rate limit exceeded"}, {"x-ratelimit-remaining": "0"}), "rate limit", "again"),
        (
            (422, {"message": "Validation Failed", "errors": [{"message": "No commits between"}]}),
            "No commits",
            "--base",
        ),
        ((500, {"message": "\x1b[31mred"}, {}), "\\x1b[31mred", "nothing is done twice"),
        ((301, {"message": "Moved Permanently"}, {}), "the repository has moved", "git remote set-url"),
        ((200, [], {}), "names no pull request", "again"),
    ],
)
def test_what_github_refuses_is_one_error_with_what_to_do(
    hub: GitHub, refusal: tuple[object, ...], words: str, hint: str
) -> None:
    status, said, *headers = refusal
    hub.refusals = [(200, {"default_branch": "main"}, {}), (status, said, *(headers or [{}]))]  # type: ignore[list-item]  # as written above
    with pytest.raises(LandingError) as caught:
        _opened(hub)
    assert words in str(caught.value)
    assert hint in str(caught.value.hint)
    assert hub.pulls == []


def test_a_wrong_token_and_an_unseen_repository_are_told_apart(hub: GitHub) -> None:
    with pytest.raises(LandingError, match="the token is not accepted: Bad credentials"):
        _opened(hub, token="wrong")
    with pytest.raises(LandingError, match="no such repository, pull request or issue, or the token"):
        _opened(hub, name="other")


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://github.com/acme/tally.git", "https://api.github.com"),
        ("https://user:secret@github.com/acme/tally", "https://api.github.com"),
        ("git@github.com:acme/tally.git", "https://api.github.com"),
        ("ssh://git@ghe.example:2222/acme/tally", "https://ghe.example/api/v3"),
        ("https://ghe.example:8443/acme/tally", "https://ghe.example:8443/api/v3"),
        ("ssh://git@ssh.github.com:443/acme/tally.git", "https://api.github.com"),
        ("https://acme.ghe.com/acme/tally", "https://api.acme.ghe.com"),
    ],
)
def test_an_address_says_where_the_repository_is(url: str, api: str) -> None:
    place = place_of(url, {})
    assert (place.owner, place.name, place.api_url) == ("acme", "tally", api)
    assert place_of(url, {"GITHUB_API_URL": "http://127.0.0.1:1/"}).api_url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "url",
    [
        "/srv/git/tally.git",
        "https://user:secret@github.com/tally",
        "file:///a/b/c",
        "",
        "ssh://git:secret@github.com:acme/tally.git",
        "https://github.com:abc/acme/tally",
        "https://github.com:99999/acme/tally",
        "https://[github.com/acme/tally",
    ],
)
def test_an_address_of_no_repository_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LandingError, match="names no repository on GitHub") as caught:
        place_of(url, {})
    assert "secret" not in str(caught.value)


def test_the_token_is_that_of_the_environment_or_of_gh(tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/sh\n[ "$4" = ghe.example ] && echo from-gh\n')
    gh.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert token_for("ghe.example", environment) == "from-gh"
    public, own = {"GITHUB_TOKEN": "two", "GH_TOKEN": "one"}, {"GITHUB_ENTERPRISE_TOKEN": "four"}
    assert token_for("github.com", {**environment, **public}) == "one"
    assert token_for("github.com", {**environment, "GITHUB_TOKEN": "two"}) == "two"
    # what is meant for github.com goes to no server that a remote happens to name
    assert token_for("ghe.example", {**environment, **public}) == "from-gh"
    assert token_for("ghe.example", {**environment, **public, **own}) == "four"
    server = {"GITHUB_SERVER_URL": "https://ghe.example"}
    assert token_for("ghe.example", {**environment, **public, **server}) == "one"
    for path in (environment["PATH"], "/nowhere"):
        with pytest.raises(LandingError, match=r"no token for github\.com"):
            token_for("github.com", {"PATH": path})
