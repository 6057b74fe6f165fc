"""The comment of a pull request that says what a run would do and cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.app.ci.gitlab import on_gitlab, put_plan_note
from codexteam.app.github import pulls_of_job
from codexteam.errors import UsageError

MARK = "<!-- codexteam plan -->"
_MOST_CHARS = 60_000
_MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class PutComment:
    """A comment that was written."""

    url: str
    created: bool


def put_plan_comment(environment: Mapping[str, str], summary: Path, number: int) -> PutComment:
    """Write the summary of a job as the pull request's one comment of this kind, or bring that up to date.

    Raises:
        UsageError: there is no summary.
        LandingError: GitHub or GitLab refuses it.
    """
    from codexteam.adapters.github.comments import put_comment

    try:
        with summary.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(
            f"{summary}: it cannot be read: {error.strerror}", hint="name the folder of a job that ran with --ci"
        ) from error
    if len(text) > _MOST_CHARS:
        text = text[: text.rfind("\n", 0, _MOST_CHARS) + 1] + f"\nThe rest is in {summary.name} of the artifacts.\n"
    if on_gitlab(environment):
        return PutComment(*put_plan_note(environment, number, MARK, text))
    with pulls_of_job(environment, command="codexteam ci comment") as pulls:
        return PutComment(*put_comment(pulls.api, number, MARK, text))
