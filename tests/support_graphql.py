"""The part of GitHub's GraphQL API that review threads need, executed for real: the schema is an excerpt of the public one."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from graphql import GraphQLError, build_schema, graphql_sync

from codexteam.core.ids import JSONObject

SCHEMA = build_schema(
    """
    scalar URI
    interface Node { id: ID! }
    interface Actor { login: String! }
    type User implements Actor { login: String! }
    type PageInfo { endCursor: String hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String }
    type Query { node(id: ID!): Node repository(owner: String!, name: String!, followRenames: Boolean = true): Repository }
    type Repository { pullRequest(number: Int!): PullRequest }
    type PullRequest {
      reviewThreads(after: String, before: String, first: Int, last: Int): PullRequestReviewThreadConnection!
      latestOpinionatedReviews(after: String, first: Int, writersOnly: Boolean = false): PullRequestReviewConnection
    }
    enum PullRequestReviewState { APPROVED CHANGES_REQUESTED COMMENTED DISMISSED PENDING }
    type PullRequestReviewConnection { nodes: [PullRequestReview] totalCount: Int! }
    type PullRequestReview implements Node {
      id: ID! author: Actor body: String! state: PullRequestReviewState! url: URI!
    }
    type PullRequestReviewThreadConnection { nodes: [PullRequestReviewThread] pageInfo: PageInfo! totalCount: Int! }
    type PullRequestReviewThread implements Node {
      id: ID! isOutdated: Boolean! isResolved: Boolean! line: Int originalLine: Int path: String!
      comments(after: String, before: String, first: Int, last: Int, skip: Int): PullRequestReviewCommentConnection!
    }
    enum PullRequestReviewCommentState { PENDING SUBMITTED }
    type PullRequestReviewCommentConnection {
      nodes: [PullRequestReviewComment] pageInfo: PageInfo! totalCount: Int!
    }
    type PullRequestReviewComment implements Node {
      id: ID! author: Actor body: String! state: PullRequestReviewCommentState! url: URI! viewerDidAuthor: Boolean!
    }
    input AddPullRequestReviewThreadReplyInput {
      body: String! clientMutationId: String pullRequestReviewId: ID pullRequestReviewThreadId: ID!
    }
    type AddPullRequestReviewThreadReplyPayload { comment: PullRequestReviewComment }
    input ResolveReviewThreadInput { clientMutationId: String threadId: ID! }
    type ResolveReviewThreadPayload { thread: PullRequestReviewThread }
    type Mutation {
      addPullRequestReviewThreadReply(input: AddPullRequestReviewThreadReplyInput!): AddPullRequestReviewThreadReplyPayload
      resolveReviewThread(input: ResolveReviewThreadInput!): ResolveReviewThreadPayload
    }
    """
)
_MOST_PER_PAGE = 100


class Talk(Protocol):
    """What is said of a pull request, as the stand-in keeps it."""

    viewer: str
    name: str
    threads: list[dict[str, Any]]
    reviews: list[dict[str, Any]]


def answer_graph(talk: Talk, asked: Mapping[str, Any]) -> JSONObject:
    """Execute a document."""
    done = graphql_sync(
        SCHEMA, str(asked["query"]), root_value=_Root(talk), variable_values=dict(asked.get("variables") or {})
    )
    found: JSONObject = {"data": done.data}
    if done.errors:
        found["errors"] = [{"message": one.message, "type": (one.extensions or {}).get("type")} for one in done.errors]
    return found


class _Root:
    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def repository(self, _info: Any, owner: str, name: str, **_: Any) -> Any:
        if (owner, name) != ("acme", self._talk.name):
            raise GraphQLError(f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return {"pullRequest": lambda _info, number: self._pull(number)}

    def _pull(self, number: int) -> Any:
        return {
            "reviewThreads": lambda _info, first, after=None: _page(
                [self._thread(t) for t in self._talk.threads], first, after
            ),
            "latestOpinionatedReviews": lambda _info, first, **_: {"nodes": self._talk.reviews[:first]},
        }

    def node(self, _info: Any, id: str) -> Any:  # noqa: A002 - GitHub's name
        return {"__typename": "PullRequestReviewThread", **self._thread(self._known(id))}

    def addPullRequestReviewThreadReply(self, _info: Any, input: Mapping[str, Any]) -> Any:  # noqa: A002, N802
        thread = self._known(input["pullRequestReviewThreadId"])
        number = sum(len(one["comments"]) for one in self._talk.threads) + 1
        comment = {"id": f"PRRC_{number}", "author": self._talk.viewer, "body": input["body"]}
        thread["comments"].append(comment)
        return {"comment": self._comment(comment)}

    def resolveReviewThread(self, _info: Any, input: Mapping[str, Any]) -> Any:  # noqa: A002, N802
        thread = self._known(input["threadId"])
        thread["resolved"] = True
        return {"thread": self._thread(thread)}

    def _known(self, thread_id: str) -> dict[str, Any]:
        found = [one for one in self._talk.threads if one["id"] == thread_id]
        if not found:
            raise GraphQLError(
                f"Could not resolve to a node with the global id of '{thread_id}'", extensions={"type": "NOT_FOUND"}
            )
        return found[0]

    def _thread(self, one: Mapping[str, Any]) -> dict[str, Any]:
        comments = [self._comment(each) for each in one["comments"]]
        return {
            **one,
            "isResolved": one.get("resolved", False),
            "isOutdated": False,
            "originalLine": one.get("line"),
            "comments": lambda _info, first=None, last=None, before=None: (
                _page(comments, first, None) if last is None else _newest(comments, last, before)
            ),
        }

    def _comment(self, one: Mapping[str, Any]) -> dict[str, Any]:
        author = one["author"]
        return {
            **one,
            "author": {"__typename": "User", "login": author} if author else None,
            "state": one.get("state", "SUBMITTED"),
            "url": f"https://github.example/{one['id']}",
            "viewerDidAuthor": author == self._talk.viewer,
        }


def _page(nodes: Sequence[Any], first: int, after: str | None) -> dict[str, Any]:
    if first > _MOST_PER_PAGE:
        raise GraphQLError(f"Requesting {first} records on the connection exceeds the `first` limit of 100 records.")
    start = int(base64.b64decode(after)) if after else 0
    end = start + first
    cursor = base64.b64encode(str(end).encode()).decode()
    return {
        "nodes": nodes[start:end],
        "totalCount": len(nodes),
        "pageInfo": {"endCursor": cursor, "hasNextPage": end < len(nodes), "hasPreviousPage": start > 0},
    }


def _newest(nodes: Sequence[Any], last: int, before: str | None) -> dict[str, Any]:
    if last > _MOST_PER_PAGE:
        raise GraphQLError(f"Requesting {last} records on the connection exceeds the `last` limit of 100 records.")
    end = int(base64.b64decode(before)) if before else len(nodes)
    start = max(0, end - last)
    cursor = base64.b64encode(str(start).encode()).decode()
    return {
        "nodes": nodes[start:end],
        "totalCount": len(nodes),
        "pageInfo": {
            "endCursor": None,
            "hasNextPage": end < len(nodes),
            "hasPreviousPage": start > 0,
            "startCursor": cursor,
        },
    }
