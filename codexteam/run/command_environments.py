"""What the commands of a run work in, as agents and gates see it: an environment per commit, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.ids import CommitId
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.remembered import ChosenEnvironment


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """A set-up that came to nothing. Nothing of it is kept."""

    reason: str
    """One line: which step, and what happened."""
    source: str = ""
    """The file that asked for the step."""
    output: str = ""
    """Its last lines, escaped, without secrets."""
    log: str = ""
    """Where everything that the steps printed is; empty where it is written nowhere."""
    notices: tuple[str, ...] = ()
    """What else is missing, a line each."""

    def describe(self) -> str:
        """Say all of it, in lines."""
        parts = [self.reason, self.output, *self.notices, f"The whole log: {self.log}" if self.log else ""]
        return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Placed:
    """Commands that work in one environment of a commit."""

    commands: tuple[str, ...]
    key: str | SetupFailed
    """Empty where they need none."""


class CommandEnvironments(Protocol):
    """Chooses and builds environments for one session.

    `run.environment.commit_environments` does so for one checkout, `run.environment.several_environments` for several
    repositories that lie in one.
    """

    def begin(self) -> None:
        """Begin to choose the base's environment, if nobody did; who needs it waits for it."""
        ...

    async def base(self, *, again: bool = False) -> ChosenEnvironment:
        """Return what the base commit's commands work in; with `again` it is chosen anew if nothing ran in it.

        Raises:
            SurroundingsError: the user's own setup script fails, or no sandbox can be started.
        """
        ...

    async def places(self, commit: CommitId, commands: Sequence[str]) -> Sequence[Placed]:
        """Return in which environment of a commit each command works; built if a manifest differs from the base's."""
        ...

    async def key_for_agent(self, commit: CommitId, paths: Sequence[str] = (), *, wait: bool = True) -> str:
        """Return the key for the sandbox of an agent that writes these paths, anything without any.

        One that does not `wait` works without an environment while it is being built.
        """
        ...

    async def touch(self, globs: Sequence[str]) -> bool:
        """Have the projects set up that tasks write in; return whether the base's commands work in something else now.

        Where that comes to nothing the base keeps what it has, with a notice.
        """
        ...

    async def ask_agent(self, number: int, outcomes: Sequence[CommandOutcome]) -> bool:
        """Where nothing runs, have an agent look for a script; return whether one makes the gate commands run."""
        ...
