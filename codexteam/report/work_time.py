"""The time in which a process worked on a run: wall times on one axis, without the time between sessions."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from codexteam.ports.reporter import RunEvent
from codexteam.report.rows import SESSION_ENDS


@dataclass(frozen=True, slots=True)
class WorkTime:
    """The sessions of a run, one after the other."""

    begins: tuple[float, ...] = ()
    """When each session began, wall seconds."""
    ends: tuple[float, ...] = ()
    """When the last event of each session was."""
    offsets: tuple[float, ...] = ()
    """At which second of work each session began."""

    def at(self, wall_seconds: float) -> float:
        """Return the second of work of a moment; a moment between sessions is the end of the session before it."""
        place = bisect.bisect_right(self.begins, wall_seconds) - 1
        if place < 0:
            return 0.0
        return self.offsets[place] + max(0.0, min(wall_seconds, self.ends[place]) - self.begins[place])

    @property
    def total_seconds(self) -> float:
        """Return all time at work."""
        return self.offsets[-1] + self.ends[-1] - self.begins[-1] if self.begins else 0.0


def work_time(events: Iterable[RunEvent]) -> WorkTime:
    """Return when a run was worked on, from its events in order; a clock that is set back subtracts nothing."""
    begins: list[float] = []
    ends: list[float] = []
    is_open = False
    for event in events:
        at = max([event.at_seconds, *ends[-1:]])
        if event.kind == "run.opened" or not begins:
            begins.append(at)
            ends.append(at)
            is_open = True
        elif is_open:
            ends[-1] = at
            is_open = event.kind not in SESSION_ENDS
    offsets: list[float] = []
    total = 0.0
    for begin, end in zip(begins, ends, strict=True):
        offsets.append(total)
        total += end - begin
    return WorkTime(tuple(begins), tuple(ends), tuple(offsets))
