"""A note on a merge request that is kept up to date: there is one of a kind, and only our own is ever changed."""

from typing import TYPE_CHECKING, Final

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import LandingError

if TYPE_CHECKING:
    import httpx2

_SECONDS: Final = 30.0
_PAGE: Final = 100
#: Pages of notes that are looked through; behind them a new note is written.
_MOST_PAGES: Final = 50


def put_note(api_url: str, project: str, number: int, *, token: str, mark: str, body: str) -> bool:
    """Write a note that begins with a mark, or bring the one up to date that does; return if it is new.

    Raises:
        LandingError: GitLab refuses, or cannot be reached.
    """
    import httpx2

    notes = f"{api_url}/projects/{project}/merge_requests/{number}/notes"
    said = {"body": f"{mark}\n{body}"}
    try:
        with httpx2.Client(timeout=_SECONDS, headers={"private-token": token, "user-agent": "codexteam"}) as client:
            own = _own(client, api_url, notes, mark)
            answer = client.post(notes, json=said) if own is None else client.put(f"{notes}/{own}", json=said)
            _checked(answer)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise LandingError(
            f"{api_url} cannot be reached, or gives no answer that can be read: {clean_line(str(error))}",
            hint="the job may be run again; nothing is written twice",
        ) from error
    return own is None


def _own(client: "httpx2.Client", api_url: str, notes: str, mark: str) -> int | None:
    viewer = _object(_checked(client.get(f"{api_url}/user"))).get("id")
    for page in range(1, _MOST_PAGES + 1):
        found = _checked(client.get(notes, params={"per_page": str(_PAGE), "page": str(page)}))
        listed = [_object(one) for one in found] if isinstance(found, list) else []
        for one in listed:
            identity, said = one.get("id"), str(one.get("body") or "")
            ours = viewer is not None and _object(one.get("author")).get("id") == viewer
            if ours and said.startswith(f"{mark}\n") and isinstance(identity, int):
                return identity
        if len(listed) < _PAGE:
            break
    return None


def _checked(answer: "httpx2.Response") -> JSONValue:
    if not answer.is_success:
        raise LandingError(
            f"{clean_line(str(answer.url))}: GitLab answers {answer.status_code}",
            hint="CODEXTEAM_TOKEN is a project's access token with the scope api and the role Developer",
        )
    found: JSONValue = answer.json()
    return found


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}
