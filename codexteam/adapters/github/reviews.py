"""What people say of a pull request's lines: review threads, read, answered and resolved over GitHub's GraphQL API.

Whether a thread is resolved is known to GraphQL alone. All texts are foreign, and so are the names of people.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from codexteam.adapters.github.api import GitHubApi
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import LandingError

#: Threads of one answer, and of one pull request: what is beyond is said, not read.
_PAGE: Final = 100
MAX_THREADS: Final = 3_000
#: Comments of one thread that are read at first: its first, and its newest.
_COMMENTS: Final = 20
#: Of one thread, and pages of all threads together, that are read where these do not hold what is looked for.
_MOST_COMMENTS: Final = 1_000
_MOST_PAGES: Final = 200
#: People whose rights are asked for.
_MOST_PEOPLE: Final = 100

_COMMENT = "id body viewerDidAuthor state author { login }"
_BEFORE = "totalCount pageInfo { hasPreviousPage startCursor }"
_THREAD = (
    "id isResolved path line originalLine "
    f"comments(last: {_COMMENTS}) {{ {_BEFORE} nodes {{ {_COMMENT} }} }} "
    f"first: comments(first: 1) {{ nodes {{ {_COMMENT} }} }}"
)
_THREADS = (
    "query($owner: String!, $name: String!, $number: Int!, $after: String) { "
    "repository(owner: $owner, name: $name) { pullRequest(number: $number) { "
    f"reviewThreads(first: {_PAGE}, after: $after) {{ totalCount pageInfo {{ hasNextPage endCursor }} "
    f"nodes {{ {_THREAD} }} }} }} }} }}"
)
_REVIEWS = (
    "query($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) { "
    "pullRequest(number: $number) { latestOpinionatedReviews(first: 50) { nodes { "
    "id state body author { login } } } } } }"
)
_ONE = f"query($id: ID!) {{ node(id: $id) {{ ... on PullRequestReviewThread {{ {_THREAD} }} }} }}"
_OLDER = (
    "query($id: ID!, $before: String!) { node(id: $id) { ... on PullRequestReviewThread { "
    f"comments(last: {_PAGE}, before: $before) {{ {_BEFORE} nodes {{ {_COMMENT} }} }} }} }} }}"
)
_REPLY = (
    "mutation($thread: ID!, $body: String!) { addPullRequestReviewThreadReply(input: "
    "{pullRequestReviewThreadId: $thread, body: $body}) { comment { id } } }"
)
_RESOLVE = "mutation($thread: ID!) { resolveReviewThread(input: {threadId: $thread}) { thread { id isResolved } } }"


@dataclass(frozen=True, slots=True)
class ReviewComment:
    """One comment of a thread."""

    id: str
    author: str
    """Their login; empty where the account is gone."""
    body: str
    mine: bool = False
    """Whether the token's own user wrote it."""


@dataclass(frozen=True, slots=True)
class ReviewThread:
    """A thread on a line, oldest comment first; of a long one the first and the newest."""

    id: str
    path: str
    line: int | None
    resolved: bool
    comments: tuple[ReviewComment, ...]
    left_out: int = 0
    """Comments between the first and the newest that were not read."""
    before: str = ""
    """Where the newest ones begin; empty where none was left out."""

    @property
    def newest(self) -> tuple[ReviewComment, ...]:
        """Return the comments behind which none is unknown."""
        return self.comments[1:] if self.before else self.comments


@dataclass(frozen=True, slots=True)
class RequestedChange:
    """A review that asks for changes, as its author's newest; what it says as a whole."""

    id: str
    author: str
    body: str


class GitHubReviews:
    """The reviews of one pull request."""

    def __init__(self, api: GitHubApi, number: int, *, most_threads: int = MAX_THREADS) -> None:
        """Take the pull request's number, and how many threads may be read."""
        self._api = api
        self._most = most_threads
        self._variables: JSONObject = {"owner": api.place.owner, "name": api.place.name, "number": number}
        self._writers: dict[str, bool] = {}
        self._pages = _MOST_PAGES

    def threads(self) -> tuple[list[ReviewThread], int]:
        """Return the threads, oldest first, and how many were left out.

        Raises:
            LandingError: they cannot be asked for.
        """
        found: list[ReviewThread] = []
        total, after = 0, None
        while len(found) < self._most:
            data = self._api.ask_graph(_THREADS, {**self._variables, "after": after})
            page = _at(data, "repository", "pullRequest", "reviewThreads")
            found += [_thread(one) for one in _nodes(page)]
            total = max(_number(page.get("totalCount")) or 0, len(found))
            cursor = _at(page, "pageInfo")
            if cursor.get("hasNextPage") is not True or not cursor.get("endCursor") or cursor["endCursor"] == after:
                break
            after = cursor["endCursor"]
        return found[: self._most], max(0, total - self._most)

    def with_older(self, thread: ReviewThread) -> ReviewThread | None:
        """Return a long thread with more of its comments, the newest that were left out; None if no more are read.

        Raises:
            LandingError: they cannot be asked for.
        """
        if not thread.before or len(thread.comments) >= _MOST_COMMENTS or self._pages <= 0:
            return None
        self._pages -= 1
        data = self._api.ask_graph(_OLDER, {"id": thread.id, "before": thread.before})
        listed = _at(data, "node", "comments")
        first, newest = thread.comments[:1], thread.comments[1:]
        known = {one.id for one in thread.comments}
        older = [one for one in _comments(_nodes(listed)) if one.id not in known]
        before = _before(listed)
        if before == thread.before:
            return None
        comments = (*first, *older, *newest)
        left_out = max(0, (_number(listed.get("totalCount")) or 0) - len(comments)) if before else 0
        return replace(thread, comments=comments, left_out=left_out, before=before)

    def requested_changes(self) -> list[RequestedChange]:
        """Return the reviews that ask for changes and say more than their comments do.

        Raises:
            LandingError: they cannot be asked for.
        """
        data = self._api.ask_graph(_REVIEWS, self._variables)
        nodes = _nodes(_at(data, "repository", "pullRequest", "latestOpinionatedReviews"))
        asked = (one for one in nodes if one.get("state") == "CHANGES_REQUESTED")
        return [
            RequestedChange(str(one.get("id") or ""), _login(one), body)
            for one in asked
            if (body := str(one.get("body") or "").strip())
        ]

    def may_write(self, login: str) -> bool:
        """Return whether a person may write to the repository; of too many people the later ones count as others.

        Raises:
            LandingError: the token may not ask for that.
        """
        if not login:
            return False
        if login not in self._writers:
            if len(self._writers) >= _MOST_PEOPLE:
                return False
            where = f"{self._api.repository}/collaborators/{quote(login, safe='')}/permission"
            answer = self._api.ask("GET", where, missing=True)
            permission = answer.get("permission") if isinstance(answer, dict) else None
            self._writers[login] = permission in {"admin", "write"}
        return self._writers[login]

    def reply(self, thread_id: str, body: str, *, mark: str) -> None:
        """Answer a thread, once: what a lost answer may have written is looked for by its mark.

        Raises:
            LandingError: GitHub does not take it.
        """
        try:
            self._api.ask_graph(_REPLY, {"thread": thread_id, "body": body}, changes=True)
        except LandingError:
            if not self._has(thread_id, mark):
                raise

    def _has(self, thread_id: str, mark: str) -> bool:
        try:
            data = self._api.ask_graph(_ONE, {"id": thread_id})
        except LandingError:
            return False
        return any(one.mine and mark in one.body for one in _thread(_at(data, "node")).comments)

    def resolve(self, thread_id: str) -> None:
        """Resolve a thread; one that is resolved stays so.

        Raises:
            LandingError: GitHub does not take it.
        """
        self._api.ask_graph(_RESOLVE, {"thread": thread_id}, changes=True)


def _thread(value: Mapping[str, JSONValue]) -> ReviewThread:
    listed = _at(value, "comments")
    first = [*_comments(_nodes(_at(value, "first")))]
    newest = [*_comments(_nodes(listed))]
    known = {one.id for one in newest}
    comments = (*(one for one in first if one.id not in known), *newest)
    left_out = max(0, (_number(listed.get("totalCount")) or 0) - len(comments))
    before = _before(listed) if len(comments) > len(newest) else ""
    line = _number(value.get("line")) or _number(value.get("originalLine"))
    resolved = value.get("isResolved") is True
    path = str(value.get("path") or "")
    return ReviewThread(str(value.get("id") or ""), path, line, resolved, comments, left_out, before)


def _before(listed: JSONObject) -> str:
    """Return where a page of comments begins; empty if it begins with the first."""
    cursor = _at(listed, "pageInfo")
    return str(cursor.get("startCursor") or "") if cursor.get("hasPreviousPage") is True else ""


def _comments(nodes: Iterator[JSONObject]) -> Iterator[ReviewComment]:
    for one in nodes:
        if one.get("state") == "PENDING":  # of a review that was not sent yet
            continue
        mine = one.get("viewerDidAuthor") is True
        yield ReviewComment(str(one.get("id") or ""), _login(one), str(one.get("body") or ""), mine)


def _login(value: JSONObject) -> str:
    return str(_at(value, "author").get("login") or "")


def _nodes(value: JSONObject) -> Iterator[JSONObject]:
    nodes = value.get("nodes")
    for one in nodes if isinstance(nodes, list) else []:
        if isinstance(one, dict):
            yield one


def _at(value: Mapping[str, JSONValue], *names: str) -> JSONObject:
    """Return an object inside of others; an empty one where there is none."""
    found: JSONValue = dict(value)
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: JSONValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
