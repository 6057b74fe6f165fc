"""What an event of GitHub asks for: read from the event's file, so that none of its texts passes through a workflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import UsageError

if TYPE_CHECKING:
    from codexteam.adapters.github.pulls import PullRequest

#: How a comment asks for a run; what follows is the goal.
COMMAND: Final = "/codexteam run"
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class CiEvent:
    """An event; logins and texts are foreign."""

    people: tuple[str, ...]
    """Whose words and wish it is: all of them must be allowed to write."""
    goal: str = ""
    """Empty: the pull request's own title and text."""
    number: int = 0
    """The pull request it is about; 0 if none."""
    head: str = ""
    """The commit to work on, where the event names it."""
    base: str = ""
    """The branch that the result goes to, where the event names it."""
    asks: bool = True
    """Whether it asks for anything: a comment that does not begin with the command does not."""


def read_event(environment: Mapping[str, str]) -> CiEvent:
    """Return what the event asks for.

    Raises:
        UsageError: there is no event, or none that a run can come of.
    """
    name, path = environment.get("GITHUB_EVENT_NAME", ""), environment.get("GITHUB_EVENT_PATH", "")
    if not name or not path:
        raise UsageError(
            "GITHUB_EVENT_NAME and GITHUB_EVENT_PATH are not set: no event asks for anything",
            hint="the command is for GitHub's workflows: codexteam ci init github writes them",
        )
    try:
        with Path(path).open("rb") as file:
            fields = _object(json.loads(file.read(_MOST_BYTES)))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the event cannot be read: {error}") from error
    match name:
        case "workflow_dispatch":
            return CiEvent(
                (),
                _text(_object(fields.get("inputs")).get("goal")),
                head=environment.get("GITHUB_SHA", ""),
                base=environment.get("GITHUB_REF_NAME", "") if environment.get("GITHUB_REF_TYPE") == "branch" else "",
            )
        case "pull_request":
            return CiEvent((_login(fields.get("sender")),), number=_number(fields.get("pull_request")))
        case "issue_comment":
            comment = _object(fields.get("comment"))
            people = (_login(fields.get("sender")), _login(comment.get("user")))
            goal = _goal(_text(comment.get("body")))
            return CiEvent(people, goal or "", number=_number(fields.get("issue")), asks=goal is not None)
        case _:
            raise UsageError(
                f"the event {clean_line(name)!r} asks for nothing; known are pull_request, issue_comment and "
                "workflow_dispatch"
            )


def goal_of(event: CiEvent, pull: "PullRequest | None") -> tuple[str, tuple[str, ...]]:
    """Return the goal, and whose words and wish it is."""
    if event.goal.strip() or pull is None:
        return event.goal.strip(), event.people
    goal = f"Complete what this pull request is about: {pull.title.strip()}\n\n{pull.body.strip()}"
    return goal.strip(), (*event.people, pull.author)


def _goal(body: str) -> str | None:
    """Return what a comment says behind the command; None where it does not begin with that."""
    rest = body.removeprefix(COMMAND)
    return None if rest == body or (rest and not rest[0].isspace()) else rest.strip()


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""


def _login(value: JSONValue) -> str:
    return _text(_object(value).get("login"))


def _number(value: JSONValue) -> int:
    number = _object(value).get("number")
    if not isinstance(number, int) or isinstance(number, bool):
        raise UsageError("the event names no pull request")
    return number
