"""Pull requests over GitHub's REST API: find one by its branch, open it, change it."""

from dataclasses import dataclass
from types import TracebackType

from codexteam.adapters.github.api import GitHubApi
from codexteam.adapters.github.place import GitHubPlace
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import LandingError

#: What a body may have: GitHub refuses more than 65,536 characters.
MAX_BODY_CHARS = 65_000


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request; its texts are foreign."""

    number: int
    url: str
    base: str
    draft: bool
    body: str
    title: str = ""
    branch: str = ""
    head: str = ""
    """The commit that it proposes."""
    state: str = "open"
    """`open` or `closed`; a merged one is closed."""
    source: str = ""
    """The repository that its branch is in, `owner/name`; empty where that is gone."""
    author: str = ""


class GitHubPulls:
    """The pull requests of one repository."""

    def __init__(self, place: GitHubPlace, token: str, *, command: str = "codexteam pr") -> None:
        """Take where it is, and the token; nothing is asked yet. `command` is what hints say to run again."""
        self.api = GitHubApi(place, token, command=command)
        self._place = place
        self._repository = self.api.repository

    def __enter__(self) -> "GitHubPulls":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        """Return what people call the repository."""
        return self.api.name

    def default_branch(self) -> str:
        """Return the branch that pull requests go to.

        Raises:
            LandingError: the repository is not there for this token.
        """
        return str(_object(self.api.ask("GET", self._repository)).get("default_branch", "main"))

    def may_push(self) -> bool:
        """Return whether the token may push, as far as GitHub says: it does not for every kind of token.

        Raises:
            LandingError: the repository is not there for this token.
        """
        permissions = _object(self.api.ask("GET", self._repository)).get("permissions")
        return not isinstance(permissions, dict) or permissions.get("push") is not False

    def find(self, branch: str) -> PullRequest | None:
        """Return the open pull request of a branch of this repository.

        Raises:
            LandingError: it cannot be asked for.
        """
        query = {"head": f"{self._place.owner}:{branch}", "state": "open", "per_page": "1"}
        found = self.api.ask("GET", f"{self._repository}/pulls", query=query)
        return _pull(found[0]) if isinstance(found, list) and found else None

    def get(self, number: int) -> PullRequest:
        """Return a pull request by its number.

        Raises:
            LandingError: there is none, or it cannot be asked for.
        """
        return _pull(self.api.ask("GET", f"{self._repository}/pulls/{number}"))

    def open(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """Open a pull request, once: what a lost answer may have opened is looked for first.

        Raises:
            LandingError: GitHub does not take it.
        """
        fields: JSONObject = {"title": title, "head": branch, "base": base, "body": body, "draft": draft}
        try:
            return _pull(self.api.ask("POST", f"{self._repository}/pulls", fields=fields))
        except LandingError:
            if (known := self._found_after_all(branch)) is not None:
                return known
            raise

    def _found_after_all(self, branch: str) -> PullRequest | None:
        try:
            return self.find(branch)
        except LandingError:
            return None

    def change(self, number: int, *, body: str, title: str = "", base: str = "") -> PullRequest:
        """Give a pull request a new body, and a new title or base if one is named.

        Raises:
            LandingError: GitHub does not take it.
        """
        fields: JSONObject = {"body": body}
        if title:
            fields["title"] = title
        if base:
            fields["base"] = base
        return _pull(self.api.ask("PATCH", f"{self._repository}/pulls/{number}", fields=fields))


def _pull(value: JSONValue) -> PullRequest:
    fields = _object(value)
    number, base, head = fields.get("number"), _object(fields.get("base")), _object(fields.get("head"))
    if not isinstance(number, int):
        raise LandingError("GitHub's answer names no pull request", hint="run the command again")
    return PullRequest(
        number,
        str(fields.get("html_url") or ""),
        str(base.get("ref") or ""),
        fields.get("draft") is True,
        str(fields.get("body") or ""),
        str(fields.get("title") or ""),
        str(head.get("ref") or ""),
        str(head.get("sha") or ""),
        str(fields.get("state") or "open"),
        str(_object(head.get("repo")).get("full_name") or ""),
        str(_object(fields.get("user")).get("login") or ""),
    )


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}
