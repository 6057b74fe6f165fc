"""Several attempts at one task at the same time: how far each is, what was seen of its work, and which one was taken.

The state has one `Contest` for each such task; `core.best_of` decides about it. The attempts are its *contenders*.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from codexteam.core.ids import CommitId


class ContenderPhase(StrEnum):
    """How far a contender is."""

    WAITING = "waiting"
    """Nobody works on it: it was not begun, or the session ended before it did."""
    WORKING = "working"
    HANDED_IN = "handed_in"
    """Its work is there, and nothing has run on it yet."""
    TRIED = "tried"
    OUT = "out"
    """It failed, asked, or a budget refused it."""
    WITHDRAWN = "withdrawn"
    """Another one was taken before it was done."""


#: Phases of which nothing more is to come.
OVER = frozenset({ContenderPhase.TRIED, ContenderPhase.OUT, ContenderPhase.WITHDRAWN})


class ChosenBy(StrEnum):
    """By what a contest ended."""

    PASSED = "passed"
    """The first whose work passed all that was run on it."""
    EVIDENCE = "evidence"
    """None passed everything, and less failed of its work than of any other."""
    SIZE = "size"
    """As much failed of several, and its change is the smallest."""
    JUDGE = "judge"
    """As much failed of several that are of a size, and another model chose."""
    NOBODY = "nobody"
    """No work is good enough to be merged: the task is tried again, or failed."""


@dataclass(frozen=True, slots=True)
class UnseenTests:
    """Tests that QA wrote from the task alone, which none of its contenders sees."""

    commit: CommitId | None = None
    """They, on the contest's base; None where there are none."""
    paths: tuple[str, ...] = ()
    command: str = ""
    """What runs them."""
    note: str = ""
    """What they check, or why there are none."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What we saw of a contender's work."""

    failing: tuple[str, ...] = ()
    """The acceptance commands that fail."""
    hidden_failed: int = 0
    """How many hidden tests fail."""
    hits: int = 0
    """Weaknesses that a scan finds in it and not in its base, as far as they would have to be fixed."""
    lines: int = 0
    """How large its change is."""
    evidence: str = ""
    """What failed, for whoever continues from it."""

    @property
    def passed(self) -> bool:
        """Return whether everything passed."""
        return not any(self.rank)

    @property
    def rank(self) -> tuple[int, int, int]:
        """Return how much failed, what counts most first; the smallest is the best."""
        return len(self.failing), self.hidden_failed, self.hits

    @property
    def words(self) -> str:
        """Say what failed, in one line."""
        parts = [f"acceptance fails: {', '.join(f'`{command}`' for command in self.failing)}"] if self.failing else []
        parts += [f"hidden tests failed: {self.hidden_failed}"] if self.hidden_failed else []
        parts += [f"scan hits: {self.hits}"] if self.hits else []
        return "; ".join(parts) or "all passed"


@dataclass(frozen=True, slots=True)
class Contender:
    """One of several attempts at a task."""

    place: int
    """From 1: what the first uses is what an attempt alone would."""
    attempt: int = 0
    """Its newest attempt; 0 before the first."""
    phase: ContenderPhase = ContenderPhase.WAITING
    restore_attempt: int | None = None
    heard: int = 0
    """How many of the messages to its task it was begun with."""
    commit: CommitId | None = None
    """What it handed in; None also where it says that nothing was to be changed."""
    summary: str = ""
    later: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    ask: str = ""
    trial: Trial | None = None
    reason: str = ""
    """Why it is out or withdrawn."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Several attempts at one task."""

    number: int
    """Among the contests of the run, from 1."""
    base: CommitId
    """What all of them begin on."""
    contenders: tuple[Contender, ...]
    tests: UnseenTests | None = None
    """None while QA writes them."""
    winner: int = 0
    """The attempt whose work was taken, or from which the next one continues; 0 while it is open, or for lack of any."""
    chosen: ChosenBy | None = None
    """None while it is open."""
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Return whether nothing is decided yet."""
        return self.chosen is None

    @property
    def passed_tests(self) -> CommitId | None:
        """Return the hidden tests, where the work that was taken passed them: they are merged behind it."""
        return self.tests.commit if self.tests is not None and self.chosen is ChosenBy.PASSED else None

    @property
    def alive(self) -> tuple[Contender, ...]:
        """Return the contenders of which more is to come."""
        return tuple(each for each in self.contenders if each.phase not in OVER)

    @property
    def at_work(self) -> bool:
        """Return whether somebody works on it, or is still to."""
        return any(each.phase in {ContenderPhase.WAITING, ContenderPhase.WORKING} for each in self.contenders)

    @property
    def tried(self) -> tuple[Contender, ...]:
        """Return those whose work was tried."""
        return tuple(each for each in self.contenders if each.phase is ContenderPhase.TRIED)

    @property
    def words(self) -> str:
        """Say what came of it, in one line."""
        if self.chosen is None:
            return f"{len(self.contenders)} attempts at once"
        begun = sum(each.attempt > 0 for each in self.contenders)
        if self.chosen is ChosenBy.NOBODY:
            return f"no work of {begun} attempts was taken, attempt {self.winner} goes on: {self.why}"
        who = "a judge chose it: " if self.chosen is ChosenBy.JUDGE else ""
        return f"attempt {self.winner} of {begun} is taken: {who}{self.why}"

    def of_attempt(self, attempt: int) -> Contender | None:
        """Return the contender whose newest attempt this is."""
        return next((each for each in self.contenders if attempt and each.attempt == attempt), None)

    def with_(self, contender: Contender) -> "Contest":
        """Put a contender in place of what it was."""
        return replace(
            self,
            contenders=tuple(contender if each.place == contender.place else each for each in self.contenders),
        )


#: A change counts as one of a size with the smallest up to so many times its lines, and so many more.
_AS_SMALL, _AS_SMALL_LINES = 1.2, 5


def best_among(tried: tuple[Contender, ...]) -> tuple[tuple[Contender, ...], ChosenBy]:
    """Return the best contenders by what was seen, and what tells them from the others.

    Several are left where neither what failed nor the size of their changes does: the smallest change is the first. Who
    changed nothing is no smaller than the others: where something fails, something had to be changed.
    """
    trials = [(each, each.trial) for each in tried if each.trial is not None]
    least = min((trial.rank for _, trial in trials), default=(0, 0, 0))
    if any(each.commit is not None and trial.rank == least for each, trial in trials):
        trials = [(each, trial) for each, trial in trials if each.commit is not None]
    equal = sorted(
        ((each, trial) for each, trial in trials if trial.rank == least),
        key=lambda both: (both[1].lines, both[0].place),
    )
    if len(equal) <= 1:
        return tuple(each for each, _ in equal), ChosenBy.EVIDENCE
    limit = equal[0][1].lines * _AS_SMALL + _AS_SMALL_LINES
    small = tuple(each for each, trial in equal if trial.lines <= limit)
    return small, ChosenBy.SIZE if len(small) == 1 else ChosenBy.JUDGE
