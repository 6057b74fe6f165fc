"""Gate and acceptance commands: run in a fresh sandbox on one commit, and what came of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.gates.failed_tests import failed_tests
from codexteam.ports.sandbox import Command, CommandResult, Sandbox

#: What is kept of a command's output: enough for a report, and for a model to see the cause.
OUTPUT_BYTES = 64 * 1024


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

    @property
    def ok(self) -> bool:
        """Whether it returned 0 by itself."""
        return self.exit_code == 0 and not self.timed_out

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself, so that it would end so again."""
        return self.exit_code is not None and not self.timed_out

    @property
    def failed_tests(self) -> frozenset[str] | None:
        """Give the failed tests' names, where the runner is known."""
        return None if self.ok else failed_tests(self.output)

    def describe(self) -> str:
        """Say how it ended, in one line."""
        how = "timed out" if self.timed_out else f"exit code {'unknown' if self.exit_code is None else self.exit_code}"
        return f"`{self.command}`: {how} after {self.wall_seconds:.1f} s"

    def as_json(self) -> JSONObject:
        """Give it for the store."""
        return {
            "command": self.command,
            "exit_code": self.exit_code,
            "timed_out": self.timed_out,
            "output": self.output,
            "wall_seconds": round(self.wall_seconds, 3),
        }

    @classmethod
    def from_json(cls, value: JSONValue) -> "CommandOutcome":
        """Give it back from the store.

        Raises:
            ValueError: it is none.
        """
        match value:
            case {
                "command": str(command),
                "exit_code": (int() | None) as exit_code,
                "timed_out": bool(timed_out),
                "output": str(output),
                "wall_seconds": (int() | float()) as wall_seconds,
            }:
                return cls(command, exit_code, timed_out, output, float(wall_seconds))
            case _:
                raise ValueError(f"no command outcome: {value!r}")


async def run_commands(
    sandbox: Sandbox, commands: Sequence[str], *, timeout_seconds: float, stop_at_failure: bool = False
) -> list[CommandOutcome]:
    """Run shell lines one after the other in one sandbox.

    Raises:
        SandboxLost: the sandbox went away; nothing is known of the command that ran.
    """
    outcomes: list[CommandOutcome] = []
    for line in commands:
        result = await sandbox.run(
            Command(("bash", "-c", line), timeout_seconds=timeout_seconds, output_limit_bytes=OUTPUT_BYTES)
        )
        outcomes.append(outcome_of(line, result))
        if stop_at_failure and not outcomes[-1].ok:
            break
    return outcomes


def outcome_of(line: str, result: CommandResult) -> CommandOutcome:
    """Give what a result says of a command; a signal is a failure, an unknown end too."""
    exit_code = result.exit_code if result.signal is None else 128 + result.signal
    text = result.output.decode("utf-8", errors="replace")
    return CommandOutcome(line, exit_code, result.timed_out, text, result.wall_seconds)


def tail(text: str, *, limit_chars: int = 4_000) -> str:
    """Give the end of a text, where test runners say what failed, and how much was left out."""
    if len(text) <= limit_chars:
        return text
    return f"[{len(text) - limit_chars} characters left out]\n{text[-limit_chars:]}"
