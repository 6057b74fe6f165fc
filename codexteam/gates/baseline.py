"""Old, new or flaky: a failure is judged against the base commit, and only a new one blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from codexteam.gates.commands import CommandOutcome


class FailureKind(StrEnum):
    """What a failing command is."""

    NEW = "new"
    OLD = "old"
    """It failed on the base commit as well, in the same tests where they are known."""
    FLAKY = "flaky"
    """Run again on the very same tree it passed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failing gate command, judged."""

    outcome: CommandOutcome
    kind: FailureKind
    tests: tuple[str, ...] = ()
    """The tests that fail now and did not before, where the runner is known."""


def judge(
    outcome: CommandOutcome, base: CommandOutcome | None, reruns: Sequence[CommandOutcome] = ()
) -> Failure | None:
    """Say what a command's failure is; None when it passed.

    `base` is the same command on the base commit, None when it did not run there; then, and where its end is not known,
    a failure is new. `reruns` are repetitions on the judged tree.
    """
    if outcome.ok:
        return None
    red = base if base is not None and not base.ok and (base.has_ended or base.timed_out) else None
    if red is not None and _as_before(outcome, red):
        return Failure(outcome, FailureKind.OLD)
    before = (red.failed_tests if red is not None else None) or frozenset()
    fresh = tuple(sorted((outcome.failed_tests or frozenset()) - before))
    # that other tests fail instead does not clear it
    if any(rerun.ok or (red is not None and _as_before(rerun, red)) for rerun in reruns):
        return Failure(outcome, FailureKind.FLAKY, fresh)
    return Failure(outcome, FailureKind.NEW, fresh)


def _as_before(outcome: CommandOutcome, red: CommandOutcome) -> bool:
    """Say whether a failure is no worse than the base's: it ended in the same way, and no further test failed."""
    if outcome.timed_out or red.timed_out:
        return outcome.timed_out and red.timed_out
    if not outcome.has_ended:
        return False
    before, now = red.failed_tests, outcome.failed_tests
    if before is None:
        return True  # of an unknown runner we only know that it failed before
    # one that named its failures, and now names none or ends worse, did not come as far; some give their number
    return now is not None and now <= before and _code(outcome) <= _code(red)


def _code(outcome: CommandOutcome) -> int:
    return outcome.exit_code or 0


def needs_rerun(outcome: CommandOutcome, base: CommandOutcome | None) -> bool:
    """Say whether a failure would count as new, so that it is worth repeating."""
    failure = judge(outcome, base)
    return failure is not None and failure.kind is FailureKind.NEW


def by_command(outcomes: Sequence[CommandOutcome]) -> Mapping[str, CommandOutcome]:
    """Give outcomes by their command."""
    return {outcome.command: outcome for outcome in outcomes}
