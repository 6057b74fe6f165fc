"""An issue and what people said of it. All texts are foreign."""

from dataclasses import dataclass
from typing import Final

from codexteam.adapters.github.api import GitHubApi
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import LandingError

_PAGE: Final = 100
#: Pages of one issue's comments that are read: the newest ones.
_MOST_PAGES: Final = 3


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue."""

    number: int
    title: str
    body: str
    author: str
    url: str
    comments: tuple[tuple[str, str], ...] = ()
    """Who said what, oldest first."""
    left_out: int = 0
    """Older comments that were not read."""
    state: str = "open"


def read_issue(api: GitHubApi, number: int) -> Issue:
    """Return an issue with its newest comments.

    Raises:
        LandingError: there is none, it is a pull request, or it cannot be asked for.
    """
    found = _object(api.ask("GET", f"{api.repository}/issues/{number}"))
    if "pull_request" in found:
        raise LandingError(
            f"{api.name}: {number} is a pull request, and no issue",
            hint=f"codexteam review --pr {number} judges it; codexteam pr sync --pr {number} works on what is asked there",
        )
    said: list[tuple[str, str]] = []
    count = found.get("comments")
    total = count if isinstance(count, int) else 0
    last = -(-total // _PAGE)
    for page in range(max(1, last - _MOST_PAGES + 1), last + 1):
        query = {"per_page": str(_PAGE), "page": str(page)}
        answer = api.ask("GET", f"{api.repository}/issues/{number}/comments", query=query)
        listed = [_object(one) for one in answer] if isinstance(answer, list) else []
        said += [(_login(one), str(one.get("body") or "")) for one in listed]
    return Issue(
        number,
        str(found.get("title") or ""),
        str(found.get("body") or ""),
        _login(found),
        str(found.get("html_url") or ""),
        tuple(said),
        max(0, total - len(said)),
        str(found.get("state") or "open"),
    )


def _login(value: JSONObject) -> str:
    return str(_object(value.get("user")).get("login") or "")


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}
