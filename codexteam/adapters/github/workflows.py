"""Workflows that are started from outside."""

from urllib.parse import quote

from codexteam.adapters.github.api import GitHubApi
from codexteam.core.ids import JSONObject
from codexteam.errors import LandingError


def check_commit(api: GitHubApi, commit: str) -> None:
    """See that a commit is on GitHub.

    Raises:
        LandingError: it is not, or it cannot be asked for.
    """
    if api.ask("GET", f"{api.repository}/commits/{commit}/status", missing=True) is None:
        raise LandingError(
            f"{api.name} has no commit {commit[:12]}: nothing was dispatched",
            hint="codexteam pr pushes the run's branch",
        )


def dispatch_workflow(api: GitHubApi, workflow: str, ref: str, inputs: dict[str, str]) -> None:
    """Start a workflow as it is on a branch; it is not waited for.

    Raises:
        LandingError: GitHub refuses.
    """
    fields: JSONObject = {"ref": ref, "inputs": {**inputs}}
    api.ask("POST", f"{api.repository}/actions/workflows/{quote(workflow, safe='')}/dispatches", fields=fields)
