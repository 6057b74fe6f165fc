"""Requests to GitHub's API: REST and GraphQL, with what it refuses as one error that says what to do.

Facts of the protocol are those of GitHub's public REST description, version 2022-11-28, and of its public GraphQL schema.
"""

import json
import time
from types import TracebackType
from typing import cast

from codexteam.adapters.github.place import GitHubPlace
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import LandingError

_SECONDS = 30.0
#: Tries of a question that changes nothing, and the pause before each that follows.
_TRIES = 3
_PAUSE_SECONDS = 0.5
_SAID_CHARS = 300
#: More than any answer that is asked for here; what is longer comes from no GitHub.
_MOST_BYTES = 64 << 20


class GitHubApi:
    """Speaks to the API of one repository's server."""

    def __init__(self, place: GitHubPlace, token: str, *, command: str) -> None:
        """Take where it is, and the token; nothing is asked yet. `command` is what hints say to run again."""
        import httpx2

        self.place = place
        self.command = command
        self.repository = f"{place.api_url}/repos/{place.owner}/{place.name}"
        self._client = httpx2.Client(
            timeout=_SECONDS,
            headers={
                "authorization": f"Bearer {token}",
                "accept": "application/vnd.github+json",
                "x-github-api-version": "2022-11-28",
                "user-agent": "codexteam",
            },
        )

    def __enter__(self) -> "GitHubApi":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def name(self) -> str:
        """Return what people call the repository."""
        return f"{self.place.host}/{self.place.owner}/{self.place.name}"

    def ask(
        self,
        method: str,
        url: str,
        *,
        query: dict[str, str] | None = None,
        fields: JSONObject | None = None,
        repeatable: bool = False,
        missing: bool = False,
    ) -> JSONValue:
        """Return the answer to a request.

        Args:
            method: GET, POST or PATCH.
            url: below `repository`.
            query: what follows the question mark.
            fields: the body.
            repeatable: it changes nothing, though it is not a GET.
            missing: whether None is returned for what is not there.

        Raises:
            LandingError: the server refuses, or cannot be reached.
        """
        import httpx2

        for number in range(1, _TRIES + 1):
            again = (method == "GET" or repeatable) and number < _TRIES
            try:
                answer = self._client.request(
                    method, url, params=query, content=None if fields is None else json.dumps(fields)
                )
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                if not again:
                    raise LandingError(
                        f"{self.place.api_url} cannot be reached: {clean_line(str(error) or type(error).__name__)}",
                        hint=f"{self.command} may be run again; nothing is done twice",
                    ) from error
            else:
                if answer.is_success:
                    return self._read(answer.content)
                if missing and answer.status_code == 404:
                    return None
                if not (again and answer.status_code >= 500):
                    raise self._refused(method, answer.status_code, answer.content, dict(answer.headers))
            time.sleep(_PAUSE_SECONDS * number)
        raise LandingError(f"{self.place.api_url} gives no answer")  # pragma: no cover - the last try raises

    def ask_graph(self, document: str, variables: JSONObject, *, changes: bool = False) -> JSONObject:
        """Return the data that a GraphQL document asks for.

        Raises:
            LandingError: the server refuses it, or cannot be reached.
        """
        answer = self.ask(
            "POST", self.place.graph_url, fields={"query": document, "variables": variables}, repeatable=not changes
        )
        found = answer if isinstance(answer, dict) else {}
        errors, data = found.get("errors"), found.get("data")
        if isinstance(errors, list) and errors:
            raise self._refused_graph([one for one in errors if isinstance(one, dict)])
        if not isinstance(data, dict):
            raise LandingError(
                f"{self.place.graph_url} answers without data", hint="see that GITHUB_API_URL names a GitHub API"
            )
        return data

    def _read(self, data: bytes) -> JSONValue:
        if not data:  # 204: it is done, and nothing is said
            return None
        try:
            if len(data) <= _MOST_BYTES:
                return cast("JSONValue", json.loads(data))
        except (ValueError, RecursionError) as error:
            raise LandingError(
                f"{self.place.api_url} answers with something that is not JSON",
                hint="see that GITHUB_API_URL names a GitHub API",
            ) from error
        raise LandingError(
            f"{self.place.api_url} answers with {len(data):,} bytes: at most {_MOST_BYTES:,} are read",
            hint="see that GITHUB_API_URL names a GitHub API",
        )

    def _refused_graph(self, errors: list[JSONObject]) -> LandingError:
        said = clean_line("; ".join(str(one.get("message") or "no reason given") for one in errors))[:_SAID_CHARS]
        kinds = {str(one.get("type")) for one in errors}
        if "RATE_LIMITED" in kinds or "rate limit" in said.lower():
            return self._limited(said, {})
        if "NOT_FOUND" in kinds:
            return LandingError(
                f"{self.name}: GitHub finds no such thing, or the token does not see it: {said}",
                hint="check the remote and the number, and that the token has access to this repository",
            )
        if "FORBIDDEN" in kinds or "INSUFFICIENT_SCOPES" in kinds or "not accessible" in said:
            return LandingError(
                f"{self.name}: the token may not do this: {said}",
                hint="answering and resolving review threads needs `pull requests: write`",
            )
        return LandingError(
            f"{self.name}: GitHub refuses the request: {said}",
            hint=f"{self.command} may be run again; nothing is done twice",
        )

    def _limited(self, said: str, headers: dict[str, str]) -> LandingError:
        wait, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
        when = "when GitHub's limit resets"
        if wait.isdigit():
            when = f"in {wait} s"
        elif reset.isdigit() and headers.get("x-ratelimit-remaining") == "0":
            minutes = max(0, int(reset) - int(time.time())) // 60 + 1
            when = f"in {minutes} min"
        hint = f"run {self.command} again {when}; nothing is done twice"
        return LandingError(f"GitHub's rate limit is reached: {said}", hint=hint)

    def _refused(self, method: str, status: int, data: bytes, headers: dict[str, str]) -> LandingError:
        said = _message(data)
        where = self.name
        if (
            headers.get("retry-after")
            or headers.get("x-ratelimit-remaining") == "0"
            or status == 429
            or "rate limit" in said.lower()
        ):
            return self._limited(said, headers)
        if 300 <= status < 400:
            return LandingError(
                f"{where}: the repository has moved, or the issue was transferred (GitHub answers {status})",
                hint="git remote -v shows the old address; git remote set-url gives the remote its new one",
            )
        match status:
            case 401:
                return LandingError(
                    f"{where}: the token is not accepted: {said}",
                    hint="it may have expired: gh auth status, or a new GITHUB_TOKEN",
                )
            case 403:
                return LandingError(
                    f"{where}: the token may not do this: {said}",
                    hint="reading needs `issues: read`, `pull requests: read` and `checks: read`"
                    if method == "GET"
                    else "opening a pull request needs `pull requests: write`, and in Actions the setting `Allow GitHub "
                    "Actions to create and approve pull requests`",
                )
            case 404:
                return LandingError(
                    f"{where}: GitHub finds no such repository, pull request or issue, or the token does not see it",
                    hint="check the remote and the number, and that the token has access to this repository",
                )
            case 410:
                return LandingError(
                    f"{where}: GitHub says that it is gone: {said}",
                    hint="it was deleted, or issues are kept elsewhere: name one by its address, https://HOST/OWNER/NAME/issues/N",
                )
            case 422:
                return LandingError(
                    f"{where}: GitHub refuses the pull request: {said}",
                    hint="--base BRANCH names the branch to merge into; it must be there and lack the run's commits",
                )
            case _:
                return LandingError(
                    f"{where}: GitHub answers {method} with {status}: {said}",
                    hint=f"{self.command} may be run again; nothing is done twice",
                )


def _message(data: bytes) -> str:
    """Return what GitHub says of a refusal, one line."""
    try:
        said = json.loads(data)
    except ValueError:
        return clean_line(data.decode("utf-8", "replace"))[:_SAID_CHARS] or "no reason given"
    if not isinstance(said, dict):
        return "no reason given"
    parts = [str(said.get("message") or "no reason given")]
    errors = said.get("errors")
    parts += [
        str(one.get("message") or one.get("code") or one) if isinstance(one, dict) else str(one)
        for one in (errors if isinstance(errors, list) else [])
    ]
    return clean_line("; ".join(parts))[:_SAID_CHARS]
