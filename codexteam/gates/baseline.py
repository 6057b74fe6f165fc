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

    `base` is the same command on the base commit, None when it did not run there: then a failure is new. `reruns` are
    repetitions on the judged tree.
    """
    if outcome.ok:
        return None
    now = outcome.failed_tests
    before = base.failed_tests if base is not None and not base.ok else frozenset()
    fresh = tuple(sorted(now - before)) if now is not None and before is not None else ()
    if base is not None and not base.ok and not fresh:
        # the same tests fail as before; of an unknown runner we only know that it failed before
        return Failure(outcome, FailureKind.OLD)
    if any(rerun.ok or _passes(fresh, rerun) for rerun in reruns):
        return Failure(outcome, FailureKind.FLAKY, fresh)
    return Failure(outcome, FailureKind.NEW, fresh)


def _passes(fresh: Sequence[str], rerun: CommandOutcome) -> bool:
    """Say whether none of the freshly failed tests failed again."""
    again = rerun.failed_tests
    return bool(fresh) and again is not None and not again.intersection(fresh)


def needs_rerun(outcome: CommandOutcome, base: CommandOutcome | None) -> bool:
    """Say whether a failure would count as new, so that it is worth repeating."""
    failure = judge(outcome, base)
    return failure is not None and failure.kind is FailureKind.NEW


def by_command(outcomes: Sequence[CommandOutcome]) -> Mapping[str, CommandOutcome]:
    """Give outcomes by their command."""
    return {outcome.command: outcome for outcome in outcomes}
