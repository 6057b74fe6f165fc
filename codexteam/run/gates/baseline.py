"""Old, new or flaky: a failure is judged against the base commit, and only a new one blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.text import clean_line, count_of
from codexteam.run.command_outcome import CommandOutcome


class CommandFailure(StrEnum):
    """What a failing command is."""

    NEW = "new"
    OLD = "old"
    """It failed on the base commit as well, in the same tests where they are known."""
    FLAKY = "flaky"
    """Run again on the very same tree it passed."""
    UNCHECKED = "unchecked"
    """It ran neither here nor on the base commit: it says nothing."""
    FEWER = "fewer"
    """It returned 0, and fewer tests ran than on the base commit, or it does not say any more that some did."""


#: What keeps work from being merged.
BLOCKING = frozenset({CommandFailure.NEW, CommandFailure.FEWER})


@dataclass(frozen=True, slots=True)
class FailedCommand:
    """A failing gate command, judged."""

    outcome: CommandOutcome
    kind: CommandFailure
    tests: tuple[str, ...] = ()
    """The tests that fail now and did not before, where the runner is known."""
    ran_before: int | None = None
    """How many tests ran on the base commit, where fewer ran now."""

    @property
    def why(self) -> str:
        """Say how it ended, and since when; one line."""
        if self.kind is CommandFailure.FEWER:
            now = self.outcome.ran_tests
            return (
                f"{self.outcome.how_it_ended}, with {count_of(now or 0, 'test')} run, {self.ran_before} before the run"
            )
        if self.kind is CommandFailure.UNCHECKED:
            return f"did not run ({clean_line(self.outcome.ending.reason)}), as before the run"
        since = "as before the run" if self.kind is CommandFailure.OLD else "since this run"
        return f"{self.outcome.how_it_ended}, {since}"


def judge(
    outcome: CommandOutcome, base: CommandOutcome | None, reruns: Sequence[CommandOutcome] = ()
) -> FailedCommand | None:
    """Say what a command's failure is; None when it passed, and no fewer tests ran than on the base commit.

    `base` is the same command on the base commit, None when it did not run there; then, and where its end is not known,
    a failure is new. `reruns` are repetitions on the judged tree.
    """
    if outcome.did_not_run and base is not None and base.did_not_run:
        return FailedCommand(outcome, CommandFailure.UNCHECKED)
    if outcome.ok:
        if _ran_fewer(outcome, base) and all(_ran_fewer(rerun, base) for rerun in reruns):
            return FailedCommand(outcome, CommandFailure.FEWER, ran_before=base.ran_tests if base else None)
        return FailedCommand(outcome, CommandFailure.NEW) if outcome.did_not_run else None
    red = base if base is not None and not base.ok and (base.has_ended or base.timed_out) else None
    if red is not None and _as_before(outcome, red):
        return FailedCommand(outcome, CommandFailure.OLD)
    before = (red.failed_tests if red is not None else None) or frozenset()
    fresh = tuple(sorted((outcome.failed_tests or frozenset()) - before))
    # that other tests fail instead does not clear it
    if any(rerun.ok or (red is not None and _as_before(rerun, red)) for rerun in reruns):
        return FailedCommand(outcome, CommandFailure.FLAKY, fresh)
    return FailedCommand(outcome, CommandFailure.NEW, fresh)


def _as_before(outcome: CommandOutcome, red: CommandOutcome) -> bool:
    """Return whether a failure is no worse than the base's: it ended in the same way, and no further test failed."""
    if outcome.did_not_run != red.did_not_run:
        return False  # one that failed before and cannot run any more did not come as far
    if outcome.timed_out or red.timed_out:
        return outcome.timed_out and red.timed_out
    if not outcome.has_ended:
        return False
    before, now = red.failed_tests, outcome.failed_tests
    if before is None:
        return True  # of an unknown runner we only know that it failed before
    # one that named its failures, and now names none or ends worse, did not come as far; some give their number
    return now is not None and now <= before and _code(outcome) <= _code(red)


def _ran_fewer(outcome: CommandOutcome, base: CommandOutcome | None) -> bool:
    """Return whether tests went missing: what ends a runner early, or takes its place, returns 0 as well."""
    before = base.ran_tests if base is not None and base.has_ended else None
    return outcome.ok and bool(before) and (outcome.ran_tests or 0) < (before or 0)


def _code(outcome: CommandOutcome) -> int:
    return outcome.exit_code or 0


def needs_rerun(outcome: CommandOutcome, base: CommandOutcome | None) -> bool:
    """Return whether a failure would count as new, so that it is worth repeating."""
    failure = judge(outcome, base)
    return failure is not None and failure.kind in BLOCKING


def by_command(outcomes: Sequence[CommandOutcome]) -> Mapping[str, CommandOutcome]:
    return {outcome.command: outcome for outcome in outcomes}
