"""What an agent at work does at one moment, since when, and when something was last heard of it."""

from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.codec import StoredForm, stored


class Doing(StrEnum):
    """What an agent does or waits for."""

    WORKING = "working"
    """Its sandbox starts, or what it wrote is taken out: it waits for nobody."""
    MODEL = "model"
    """It waits for the model's answer, or hears it."""
    COMMAND = "command"
    """A tool call runs."""
    LIMIT = "limit"
    """It waits until others leave enough of the budget."""
    MERGE_TRAIN = "merge_train"
    """It has handed in, and its work is not merged yet."""
    PERSON = "person"
    """It has ended, and its task waits for a person; or a person looks at its workspace."""


#: How an agent's activity is called.
DOING_WORDS = {
    Doing.WORKING: "working",
    Doing.MODEL: "waiting for the model",
    Doing.COMMAND: "running a command",
    Doing.LIMIT: "waiting for budget",
    Doing.MERGE_TRAIN: "waiting for the merge train",
    Doing.PERSON: "waiting for you",
}


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class Activity:
    """One agent at one moment. Times are seconds since 1970."""

    agent: str
    doing: Doing = Doing.WORKING
    since_seconds: float = 0.0
    heard_seconds: float = 0.0
    """When it last showed any sign: an event, or a piece of an answer."""
    detail: str = ""
    """The command, or why it waits."""

    def is_stalled(self, now_seconds: float, *, after_seconds: float) -> bool:
        """Return whether it has been silent for too long; who waits for a limit or a person is no cause for worry."""
        return self.doing not in {Doing.LIMIT, Doing.PERSON} and now_seconds - self.heard_seconds >= after_seconds
