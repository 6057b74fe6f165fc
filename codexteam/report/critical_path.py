"""The chain of work that made a run take as long as it did: each step began when the one before it was over."""

from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.core.ids import JSONObject
from codexteam.report.timeline import BarKind, Timeline, TimelineLane, is_group

#: What begins so soon after the end of something may have waited for it.
_AT_ONCE_SECONDS = 0.02
#: Agents that work inside a step which is on the path itself.
_INSIDE = frozenset({"ci", "review", "security", "qa"})


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of the path; texts are foreign."""

    name: str
    kind: BarKind
    lane: str
    start_seconds: float
    end_seconds: float
    before_seconds: float
    """How long nothing of the path ran before it."""

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "step": self.name,
            "kind": self.kind.value,
            "lane": self.lane,
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "before_seconds": round(self.before_seconds, 3),
        }


def critical_steps(timeline: Timeline) -> tuple[PathStep, ...]:
    """Return the path, first step first, from the newest end backwards: what ended last before each step began."""
    steps = sorted(_steps(timeline), key=lambda step: step.end_seconds)
    chain: list[PathStep] = []
    # a question that nobody has answered keeps nothing that was done from ending
    here = next((step for step in reversed(steps) if step.kind is not BarKind.PERSON), None)
    while here is not None:
        chain.append(here)
        start = here.start_seconds
        before = [s for s in steps if s.end_seconds <= start + _AT_ONCE_SECONDS and s.start_seconds < start]
        here = before[-1] if before else None
    ordered = chain[::-1]
    ends = [0.0, *(step.end_seconds for step in ordered)]
    return tuple(
        PathStep(s.name, s.kind, s.lane, s.start_seconds, s.end_seconds, max(0.0, s.start_seconds - end))
        for s, end in zip(ordered, ends, strict=False)
    )


def _steps(timeline: Timeline) -> Sequence[PathStep]:
    found = [_of_agent(lane) for lane in timeline.lanes if not is_group(lane) and lane.purpose not in _INSIDE]
    for lane in timeline.lanes:
        if is_group(lane):
            found += [
                PathStep(bar.label, bar.kind, lane.name, bar.start_seconds, bar.end_seconds, 0.0)
                for bar in lane.bars
                if bar.kind is not BarKind.QUEUE  # what is waited for while it lasts is a step by itself
            ]
    return found


def _of_agent(lane: TimelineLane) -> PathStep:
    return PathStep(lane.name, BarKind.WORK, lane.name, lane.start_seconds, lane.end_seconds, 0.0)
