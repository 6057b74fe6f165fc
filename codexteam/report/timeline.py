"""Who did what when: a lane for each agent, and for the merge train, gates, setups and people. All texts are foreign.

Only what the events say is drawn. Where they do not say whether an agent waited for the model or for a command, as in runs
of older versions, the bar is `WORK`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import number_field, text_field
from codexteam.report.work_time import WorkTime, work_time

#: In runs of versions that did not record stalls, a bar that is longer than this is one, unless it is a command's.
_UNRECORDED_STALL_SECONDS = 60.0


class BarKind(StrEnum):
    """What a bar of the timeline stands for."""

    MODEL = "model"
    COMMAND = "command"
    WORK = "work"
    """An agent at work: codexteam's own part of it, or all that is known."""
    LIMIT = "limit"
    """It waits for a budget, or to ask again after a call that failed."""
    QUEUE = "queue"
    """Accepted work that waits to be merged."""
    MERGE = "merge"
    GATE = "gate"
    SETUP = "setup"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """One thing that took a while, in seconds of work."""

    kind: BarKind
    start_seconds: float
    end_seconds: float
    label: str = ""
    stalled: bool = False
    """Whether an agent was not heard of for too long meanwhile."""

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "kind": self.kind.value,
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "label": self.label,
            "stalled": self.stalled,
        }


_MAY_STALL = frozenset({BarKind.MODEL, BarKind.WORK, BarKind.LIMIT})


@dataclass(slots=True)
class TimelineLane:
    """The bars of one agent, or of one place in the merge train, in order."""

    name: str
    task: str = ""
    model: str = ""
    purpose: str = ""
    bars: list[TimelineBar] = field(default_factory=list)

    @property
    def start_seconds(self) -> float:
        return self.bars[0].start_seconds if self.bars else 0.0

    @property
    def end_seconds(self) -> float:
        return max((bar.end_seconds for bar in self.bars), default=0.0)

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "lane": self.name,
            "task": self.task,
            "model": self.model,
            "bars": [bar.as_json() for bar in self.bars],
        }


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run's lanes, in the order in which they began; those of groups come after those of agents."""

    lanes: tuple[TimelineLane, ...]
    seconds: float
    """All time at work."""
    resumed_at_seconds: tuple[float, ...] = ()
    """Where later sessions began."""

    @property
    def stalls(self) -> list[tuple[TimelineLane, TimelineBar]]:
        """Return the stalls, longest first."""
        found = [(lane, bar) for lane in self.lanes for bar in lane.bars if bar.stalled]
        return sorted(found, key=lambda each: -each[1].seconds)

    def seconds_by_kind(self) -> dict[BarKind, float]:
        """Return how long each kind of thing took, summed over all lanes."""
        sums: dict[BarKind, float] = {}
        for lane in self.lanes:
            for bar in lane.bars:
                sums[bar.kind] = sums.get(bar.kind, 0.0) + bar.seconds
        return sums


@dataclass(slots=True)
class _AgentLane:
    """An agent's lane while its events are read."""

    lane: TimelineLane
    since: float
    doing: BarKind = BarKind.WORK
    label: str = ""
    marks: list[tuple[float, BarKind, str]] = field(default_factory=list)
    """What it began since the newest bar, not drawn before its turn says how long the model took."""
    stalls: list[float] | None = None
    """When it was recorded as stalled; None where the run's version recorded no stalls."""

    def begin(self, at: float, kind: BarKind, label: str) -> None:
        self.marks.append((at, kind, label))

    def answered(self, at: float, seconds: float | None, model: str) -> None:
        """Draw what was done until the call began, and the call itself."""
        if seconds is None:
            self.flush(at)
            self.doing, self.label = BarKind.WORK, ""
            return
        begun = max(self.since, at - seconds)
        # tools start while the answer is still streamed: they are seen to run once it is there
        meanwhile = [mark for mark in self.marks if mark[0] > begun and mark[1] is BarKind.COMMAND]
        waits = [mark for mark in self.marks if mark[0] > begun and mark[1] is not BarKind.COMMAND]
        self.marks = [mark for mark in self.marks if mark[0] <= begun]
        self.flush(begun)
        self.doing, self.label = BarKind.MODEL, model
        self.marks = waits
        self.flush(at)
        self.doing, self.label = (BarKind.COMMAND, meanwhile[-1][2]) if meanwhile else (BarKind.WORK, "")

    def flush(self, at: float) -> None:
        """Draw everything until then."""
        for begun, kind, label in self.marks:
            self._draw(begun)
            self.doing, self.label = kind, label
        self.marks = []
        self._draw(at)

    def _draw(self, until: float) -> None:
        if until > self.since:
            stalled = self._is_stalled(until)
            self.lane.bars.append(TimelineBar(self.doing, self.since, until, self.label, stalled))
            self.since = until

    def _is_stalled(self, until: float) -> bool:
        if self.stalls is None:
            return self.doing in _MAY_STALL and until - self.since > _UNRECORDED_STALL_SECONDS
        return any(self.since < at <= until for at in self.stalls)


class _TimelineReader:
    """Reads a run's events in order."""

    def __init__(self, clock: WorkTime) -> None:
        self.clock = clock
        self.lanes: list[TimelineLane] = []
        self._agents: dict[str, TimelineLane] = {}
        self._at_work: dict[str, _AgentLane] = {}
        self._open: dict[tuple[str, str], tuple[float, BarKind, str]] = {}
        """What of a group, such as the merge train, is under way: since when, and what it is."""
        self._rows: dict[str, list[TimelineLane]] = {}
        self._last: dict[str, str] = {}
        """Row of a group to what it was taken by last."""
        self._newest = 0.0
        self._records_stalls = False

    def take(self, event: RunEvent) -> None:
        at = self.clock.at(event.at_seconds)
        if event.kind in {"run.opened", "run.finished", "run.broken_off"}:
            # a session that was killed told its last event when it was last seen
            self.end(self._newest if event.kind == "run.opened" else at, people=False)
        self._newest = at
        self._records_stalls = self._records_stalls or "stalled_seconds" in event.fields
        area, _, what = event.kind.partition(".")
        match area:
            case "agent":
                self._agent(event, at)
            case "task":
                self._task(event.fields, what, at)
            case "gate":
                self._gate(event.fields, what, at)
            case "environment":
                self._setup(event.fields, what, at)
            case "person":
                self._person(event.fields, what, at)
            case _:
                return

    def end(self, at: float, *, people: bool) -> None:
        """Draw what is still under way; people are waited for beyond a session."""
        for agent in self._at_work.values():
            agent.flush(at)
        self._at_work.clear()
        for group, key in list(self._open):
            if people or group != "people":
                self._close(group, key, at)

    def _agent(self, event: RunEvent, at: float) -> None:
        fields, name = event.fields, text_field(event.fields, "agent")
        if event.kind == "agent.finished":
            agent = self._at_work.pop(name, None)
            if agent is not None:
                agent.flush(at)
            return
        agent = self._at_work.get(name)
        if agent is None:
            if event.kind not in {"agent.started", "agent.turn", "agent.acted"}:
                return
            stalls: list[float] | None = [] if self._records_stalls else None
            agent = self._at_work[name] = _AgentLane(self._lane(name, fields), at, stalls=stalls)
        match event.kind:
            case "agent.turn":
                took = fields.get("seconds")
                agent.answered(at, float(took) if isinstance(took, int | float) else None, text_field(fields, "model"))
            case "agent.stalled" if agent.stalls is not None:
                agent.stalls.append(at)
            case "agent.acted":
                agent.begin(at, BarKind.COMMAND, text_field(fields, "action"))
            case "agent.waiting" if reason := text_field(fields, "reason"):
                agent.begin(at, BarKind.LIMIT, reason)
                if number_field(fields, "tries"):
                    agent.begin(at + number_field(fields, "wait_seconds"), BarKind.MODEL, text_field(fields, "model"))
            case "agent.waiting":
                agent.begin(at, BarKind.MODEL, text_field(fields, "model"))
            case _:
                return

    def _lane(self, name: str, fields: JSONObject) -> TimelineLane:
        lane = self._agents.get(name)
        if lane is None:
            task, model, purpose = (text_field(fields, each) for each in ("task", "model", "purpose"))
            lane = self._agents[name] = TimelineLane(name, task, model, purpose)
            self.lanes.append(lane)
        return lane

    def _task(self, fields: JSONObject, what: str, at: float) -> None:
        task = text_field(fields, "task")
        attempt = f"{task}.{number_field(fields, 'attempt')}"
        match what:
            case "accepted":
                self._begin("merge train", task, at, BarKind.QUEUE, f"{attempt} waits to be merged")
            case "merging":
                self._begin("merge train", task, at, BarKind.MERGE, f"{attempt} is merged and accepted")
            case "merged" | "conflicted" | "acceptance_failed" | "failed" | "dropped" | "waiting":
                self._close("merge train", task, at)
            case _:
                return

    def _gate(self, fields: JSONObject, what: str, at: float) -> None:
        gate, number = text_field(fields, "gate"), number_field(fields, "round")
        if what == "started":
            self._begin("gates", gate, at, BarKind.GATE, f"{gate}, round {number}")
        elif what == "completed":
            self._close("gates", gate, at)

    def _setup(self, fields: JSONObject, what: str, at: float) -> None:
        key = text_field(fields, "key")
        if what == "building":
            self._begin("environment", key, at, BarKind.SETUP, f"from {text_field(fields, 'made_from') or key}")
        elif what in {"ready", "failed"}:
            self._close("environment", key, at)

    def _person(self, fields: JSONObject, what: str, at: float) -> None:
        item = text_field(fields, "item")
        if what == "asked":
            self._begin("people", item, at, BarKind.PERSON, f"{item}: {text_field(fields, 'question')}")
        elif what in {"answered", "withdrawn"}:
            self._close("people", item, at)

    def _begin(self, group: str, key: str, at: float, kind: BarKind, label: str) -> None:
        self._close(group, key, at)
        self._open[group, key] = (at, kind, label)

    def _close(self, group: str, key: str, at: float) -> None:
        begun = self._open.pop((group, key), None)
        if begun is None or at <= begun[0]:
            return
        since, kind, label = begun
        rows = self._rows.setdefault(group, [])
        free = [row for row in rows if row.end_seconds <= since]
        # what waited and is merged then stays in its row
        row = next((row for row in free if self._last.get(row.name) == key), free[0] if free else None)
        if row is None:
            row = TimelineLane(group if not rows else f"{group} {len(rows) + 1}")
            rows.append(row)
            self.lanes.append(row)
        row.bars.append(TimelineBar(kind, since, at, label))
        self._last[row.name] = key


def timeline_of(events: Sequence[RunEvent], clock: WorkTime | None = None) -> Timeline:
    """Return a run's timeline, from all its events in order."""
    known = clock or work_time(events)
    reader = _TimelineReader(known)
    for event in events:
        reader.take(event)
    reader.end(known.total_seconds, people=True)
    lanes = sorted((lane for lane in reader.lanes if lane.bars), key=lambda lane: (is_group(lane), lane.start_seconds))
    return Timeline(tuple(lanes), known.total_seconds, known.offsets[1:])


def is_group(lane: TimelineLane) -> bool:
    """Whether a lane is that of a group, such as the merge train, and not of an agent."""
    return not lane.purpose and any(bar.kind in _OF_GROUPS for bar in lane.bars)


_OF_GROUPS = frozenset({BarKind.QUEUE, BarKind.MERGE, BarKind.GATE, BarKind.SETUP, BarKind.PERSON})
