"""What the orchestrator saw a gate, acceptance or base-check command return."""

from collections.abc import Iterable
from dataclasses import dataclass

from codexteam.core.codec import StoredForm, stored
from codexteam.core.command_ending import Cause, CommandEnding, Ending, read_ending
from codexteam.core.ids import JSONObject
from codexteam.core.runner_reports import failed_tests, ran_tests
from codexteam.ports.sandbox import CommandResult


@stored(StoredForm(tag="", optional=("not_set_up",), derived=("reused",)))
@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What the orchestrator itself saw a command return."""

    command: str
    exit_code: int | None
    """None when it was killed or its end is unknown."""
    timed_out: bool
    output: str
    """Its head and tail, as text; hostile."""
    wall_seconds: float
    not_set_up: str | None = None
    """Why nothing was run: its environment could not be set up."""
    reused: bool = False
    """It ran earlier, on the same tree in the same environment."""

    @property
    def ok(self) -> bool:
        """Whether it returned 0 by itself."""
        return self.exit_code == 0 and not self.timed_out

    @property
    def ending(self) -> CommandEnding:
        """What its end means: an exit code alone does not say whether anything was checked."""
        if self.not_set_up:
            return CommandEnding(Ending.CANNOT_RUN, reason=self.not_set_up, cause=Cause.UNKNOWN)
        return read_ending(self.command, exit_code=self.exit_code, timed_out=self.timed_out, output=self.output)

    @property
    def did_not_run(self) -> bool:
        """Whether it could check nothing, or looked for tests and ran none; whatever it returned."""
        return self.ending.ending in {Ending.CANNOT_RUN, Ending.NOTHING_RAN}

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself, so that it would end so again."""
        return self.exit_code is not None and not self.timed_out

    @property
    def failed_tests(self) -> frozenset[str] | None:
        """Return the failed tests' names, where the runner is known."""
        return None if self.ok or self.not_set_up else failed_tests(self.output)

    @property
    def how_it_ended(self) -> str:
        """Say how it ended, without its time."""
        return "timed out" if self.timed_out else f"exit code {'unknown' if self.exit_code is None else self.exit_code}"

    @property
    def ran_tests(self) -> int | None:
        """Return how many tests ran, where the runner is known."""
        return None if self.not_set_up else ran_tests(self.output)

    def as_fields(self) -> JSONObject:
        """Return it as a fact has it."""
        return {
            "command": self.command,
            "exit_code": self.exit_code,
            "timed_out": self.timed_out,
            "wall_seconds": round(self.wall_seconds, 3),
            "reused": self.reused,
        }

    def describe(self) -> str:
        """Say how it ended, in one line."""
        said = f"`{self.command}`: {self.how_it_ended} after {self.wall_seconds:.1f} s"
        ending = self.ending
        match ending.ending:
            case Ending.CANNOT_RUN:
                return f"{said}; it could not run: {ending.reason}"
            case Ending.NOTHING_RAN:
                return f"{said}; it checked nothing: {ending.reason}"
            case _:
                return said


def outcome_of(line: str, result: CommandResult) -> CommandOutcome:
    """Return what a result says of a command; a signal is a failure, an unknown end too."""
    exit_code = result.exit_code if result.signal is None else 128 + result.signal
    text = result.output.decode("utf-8", errors="replace")
    return CommandOutcome(line, exit_code, result.timed_out, text, result.wall_seconds)


def evidence_of(outcomes: Iterable[CommandOutcome]) -> str:
    """Return how each command ended with the end of its output, for an agent or a report."""
    return "\n\n".join(f"{outcome.describe()}\n{tail(outcome.output)}" for outcome in outcomes)


def tail(text: str, *, limit_chars: int = 4_000) -> str:
    """Return the end of a text, where test runners say what failed, and how much was left out."""
    if len(text) <= limit_chars:
        return text
    return f"[{len(text) - limit_chars} characters left out]\n{text[-limit_chars:]}"
