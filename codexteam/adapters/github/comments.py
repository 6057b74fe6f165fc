"""A comment on a pull request that is kept up to date: there is one of a kind, and only our own is ever changed."""

from typing import Final

from codexteam.adapters.github.api import GitHubApi
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import LandingError

_PAGE: Final = 100
#: Pages of comments that are looked through; behind them a new comment is written.
_MOST_PAGES: Final = 50
#: Who writes with a workflow's own token, which may not ask who it is.
_WORKFLOW: Final = "github-actions[bot]"


def put_comment(api: GitHubApi, number: int, mark: str, body: str) -> tuple[str, bool]:
    """Write a comment that begins with a mark, or bring the one up to date that does; return its address, and if it is new.

    Somebody else's comment that begins so is left alone.

    Raises:
        LandingError: it cannot be written.
    """
    known = _own(api, number, mark)
    fields: JSONObject = {"body": f"{mark}\n{body}"}
    if known is None:
        made = _object(api.ask("POST", f"{api.repository}/issues/{number}/comments", fields=fields))
    else:
        made = _object(api.ask("PATCH", f"{api.repository}/issues/comments/{known}", fields=fields))
    return str(made.get("html_url") or ""), known is None


def _own(api: GitHubApi, number: int, mark: str) -> int | None:
    writer = _writer(api)
    for page in range(1, _MOST_PAGES + 1):
        query = {"per_page": str(_PAGE), "page": str(page)}
        found = api.ask("GET", f"{api.repository}/issues/{number}/comments", query=query)
        listed = [_object(one) for one in found] if isinstance(found, list) else []
        for one in listed:
            identity, said = one.get("id"), str(one.get("body") or "")
            author = str(_object(one.get("user")).get("login") or "")
            if said.startswith(f"{mark}\n") and author == writer and isinstance(identity, int):
                return identity
        if len(listed) < _PAGE:
            break
    return None


def _writer(api: GitHubApi) -> str:
    """Return the login that a comment of ours has."""
    try:
        return str(_object(api.ask("GET", f"{api.place.api_url}/user")).get("login") or "")
    except LandingError:
        return _WORKFLOW


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}
