"""What a workflow is asked for, and whether those who ask may: decided before any model is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.app.ci.event import COMMAND, goal_of, read_event
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


@dataclass(frozen=True, slots=True)
class NobodyAsks:
    """The event is of somebody who may ask for nothing, or is no request at all."""

    why: str

    def refused(self) -> UsageError:
        """Return the error that it is where a request is needed."""
        return UsageError(self.why, hint=f"somebody who may write can ask for it: {COMMAND} GOAL")


def read_request(environment: Mapping[str, str]) -> CiRequest | NobodyAsks:
    """Return what the event of a workflow asks for.

    Raises:
        UsageError: it is asked for by who may, and is of a fork, of a closed pull request, or in words of somebody else's.
        LandingError: GitHub cannot be asked.
    """
    event = read_event(environment)
    if not event.asks:
        return NobodyAsks(f"the comment does not begin with {COMMAND}: it asks for nothing")
    if not event.number:
        return CiRequest(_needed(event.goal), event.head, event.base, 0)
    from codexteam.adapters.github.reviews import GitHubReviews

    with pulls_of_job(environment, command=_COMMAND) as pulls:
        reviews = GitHubReviews(pulls.api, event.number)
        for login in dict.fromkeys(event.people):
            if not reviews.may_write(login):
                return NobodyAsks(_may_not_write(login))
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
        for login in dict.fromkeys(people):
            if login not in event.people and not reviews.may_write(login):
                raise NobodyAsks(_may_not_write(login)).refused()
    return CiRequest(_needed(goal), pull.head, pull.branch, pull.number)


def _may_not_write(login: str) -> str:
    return f"{clean_line(login) or 'somebody'} may not write to this repository: nothing is done on their word"


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
