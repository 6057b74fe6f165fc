"""What a workflow is asked for, and whether those who ask may: decided before any model is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.app.ci.event import goal_of, read_event
from codexteam.app.github import pulls_of_job
from codexteam.core.text import clean_line
from codexteam.errors import SurroundingsError, UsageError

_COMMAND = "codexteam ci request"


@dataclass(frozen=True, slots=True)
class CiRequest:
    """What is asked for; the goal is foreign text."""

    goal: str
    head: str
    """The commit to work on."""
    base: str
    """The branch that the result goes to; empty: the default branch."""
    number: int
    """The pull request that it was asked on; 0 if none."""


def read_request(environment: Mapping[str, str]) -> CiRequest:
    """Return what the event of a workflow asks for.

    Raises:
        UsageError: it asks for nothing, is of a fork, or comes from somebody who may not write to the repository.
        LandingError: GitHub cannot be asked.
    """
    event = read_event(environment)
    if not event.number:
        return CiRequest(_needed(event.goal), event.head, event.base, 0)
    from codexteam.adapters.github.reviews import GitHubReviews

    with pulls_of_job(environment, command=_COMMAND) as pulls:
        pull = pulls.get(event.number)
        if pull.source.lower() != environment.get("GITHUB_REPOSITORY", "").lower():
            raise UsageError(
                f"pull request {pull.number} comes from {clean_line(pull.source) or 'a repository that is gone'}, not from "
                "this repository: it is not worked on",
                hint="push its branch to this repository, and open a pull request from there",
            )
        if pull.state != "open":
            raise UsageError(f"pull request {pull.number} is {clean_line(pull.state)}: it is not worked on")
        goal, people = goal_of(event, pull)
        reviews = GitHubReviews(pulls.api, pull.number)
        for login in dict.fromkeys(people):
            if not reviews.may_write(login):
                raise UsageError(
                    f"{clean_line(login) or 'somebody'} may not write to this repository: nothing is done on their word",
                    hint="somebody who may can ask for it: /codexteam run GOAL",
                )
    return CiRequest(_needed(goal), pull.head, pull.branch, pull.number)


def _needed(goal: str) -> str:
    if not goal.strip():
        raise UsageError("no goal is given", hint="say what to achieve: /codexteam run GOAL")
    return goal


def leave_request(request: CiRequest, environment: Mapping[str, str]) -> Path:
    """Write what is asked for where later steps of the job read it; return the file with the goal.

    Raises:
        UsageError: no workflow runs this.
        SurroundingsError: it cannot be written.
    """
    folder, outputs = environment.get("RUNNER_TEMP"), environment.get("GITHUB_OUTPUT")
    if not folder or not outputs:
        raise UsageError("RUNNER_TEMP and GITHUB_OUTPUT are not set: no workflow runs this")
    goal = Path(folder, "codexteam-goal.md")
    values = {"head": request.head, "base": request.base, "number": str(request.number or ""), "goal-file": str(goal)}
    try:
        goal.write_text(f"{request.goal}\n", encoding="utf-8")
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={clean_line(value)}\n" for name, value in values.items())
    except OSError as error:
        raise SurroundingsError(f"{error.filename}: it cannot be written: {error.strerror}") from error
    return goal
