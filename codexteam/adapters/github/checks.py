"""What checks said of a commit: check runs, and the statuses of older services. All texts are foreign."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from codexteam.adapters.github.api import GitHubApi
from codexteam.core.ids import JSONObject, JSONValue

_PAGE: Final = 100
#: Checks of one commit that are read.
_MOST: Final = 1_000
_RED = frozenset({"failure", "timed_out", "startup_failure", "error"})
_ANNOTATIONS: Final = 10


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check says of a commit."""

    name: str
    ended: bool
    red: bool
    says: str = ""
    """Its title, summary and first annotations."""
    id: int | None = None
    """Of a check run; a status has none."""


def check_results(api: GitHubApi, commit: str) -> list[CheckResult]:
    """Return what each check last said of a commit, by name.

    Raises:
        LandingError: they cannot be asked for.
    """
    found: dict[str, CheckResult] = {}
    for page in range(1, _MOST // _PAGE + 1):
        query = {"filter": "latest", "per_page": str(_PAGE), "page": str(page)}
        answer = api.ask("GET", f"{api.repository}/commits/{commit}/check-runs", query=query)
        runs = [*_objects(answer, "check_runs")]
        for one in runs:
            result = _run(one)
            known = found.get(result.name)
            # several may have one name, as the jobs of two workflows: one that is red speaks for them
            if known is None or result.red or (not result.ended and not known.red):
                found[result.name] = result
        if len(runs) < _PAGE:
            break
    status = api.ask("GET", f"{api.repository}/commits/{commit}/status", query={"per_page": str(_PAGE)})
    for one in _objects(status, "statuses"):
        result = _status(one)
        found.setdefault(result.name, result)
    return [*found.values()]


def annotations_of(api: GitHubApi, check: CheckResult) -> str:
    """Return the first annotations of a red check run, a line each.

    Raises:
        LandingError: they cannot be asked for.
    """
    if check.id is None:
        return ""
    query = {"per_page": str(_ANNOTATIONS)}
    answer = api.ask("GET", f"{api.repository}/check-runs/{check.id}/annotations", query=query, missing=True)
    listed = answer if isinstance(answer, list) else []
    return "\n".join(
        f"{one.get('path')}:{one.get('start_line')}: {one.get('message')}" for one in listed if isinstance(one, dict)
    )


def branch_head(api: GitHubApi, branch: str) -> str:
    """Return the commit that a branch of the repository points to; empty where there is none.

    Raises:
        LandingError: it cannot be asked for.
    """
    answer = api.ask("GET", f"{api.repository}/branches/{quote(branch, safe='')}", missing=True)
    commit = answer.get("commit") if isinstance(answer, dict) else None
    return str(commit.get("sha") or "") if isinstance(commit, dict) else ""


def _run(one: JSONObject) -> CheckResult:
    output = one.get("output")
    said = output if isinstance(output, dict) else {}
    parts = (str(one.get("conclusion") or ""), *(str(said.get(name) or "") for name in ("title", "summary", "text")))
    number = one.get("id")
    return CheckResult(
        str(one.get("name") or ""),
        one.get("status") == "completed",
        one.get("conclusion") in _RED,
        "\n".join(part for part in parts if part),
        number if isinstance(number, int) else None,
    )


def _status(one: JSONObject) -> CheckResult:
    state = one.get("state")
    return CheckResult(
        str(one.get("context") or ""), state != "pending", state in _RED, str(one.get("description") or "")
    )


def _objects(answer: JSONValue, name: str) -> Iterator[JSONObject]:
    listed = answer.get(name) if isinstance(answer, dict) else None
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            yield one
