"""Where the parts of a report's pictures are: values for the templates, which draw them as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from codexteam.core.plan_graph import Task, waves
from codexteam.report.critical_path import PathStep
from codexteam.report.spending import SpentPoint
from codexteam.report.timeline import BarKind, Timeline, TimelineBar, TimelineLane, is_group
from codexteam.views.report.figures import duration

#: Height of a lane, in pixels; the labels beside the picture have it too.
LANE_HEIGHT = 20
#: The picture is drawn in so many units from left to right, and stretched to where it stands.
_WIDTH = 1000.0
#: Bars of one kind that lie closer than this are drawn as one.
_GAP = 0.6
#: From so wide on a bar says what it was when it is pointed at; the others are too thin to hit.
SAYS_FROM = 2.0

KIND_WORDS: Mapping[BarKind, str] = {
    BarKind.MODEL: "waits for the model",
    BarKind.COMMAND: "runs a command",
    BarKind.WORK: "working, no details recorded",
    BarKind.LIMIT: "waits for a limit or a retry",
    BarKind.QUEUE: "waits to be merged",
    BarKind.MERGE: "merge and acceptance",
    BarKind.GATE: "gate",
    BarKind.SETUP: "environment set-up",
    BarKind.PERSON: "waits for a person",
}


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """A bar in units of the picture."""

    kind: str
    x: float
    y: int
    width: float
    title: str = ""
    """Foreign; empty for bars that are too thin to point at."""
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """The label of a lane."""

    name: str
    is_group: bool


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A line of the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class DrawnTimeline:
    """The timeline's picture."""

    height: int
    lanes: tuple[DrawnLane, ...]
    bars: tuple[DrawnBar, ...]
    ticks: tuple[AxisTick, ...]
    resumed: tuple[float, ...]
    path: str
    """The critical path as SVG path data; empty without one."""
    kinds: tuple[tuple[str, str, str], ...]
    """Legend: kind, its words, how long it took in all."""


def drawn_timeline(timeline: Timeline, path: Sequence[PathStep], *, says_from: float = SAYS_FROM) -> DrawnTimeline:
    """Return where everything of a timeline is."""
    scale = _WIDTH / timeline.seconds if timeline.seconds > 0 else 0.0
    rows = {lane.name: number for number, lane in enumerate(timeline.lanes)}
    bars = [bar for lane in timeline.lanes for bar in _drawn_bars(lane.bars, rows[lane.name], scale, says_from)]
    sums = timeline.seconds_by_kind()
    return DrawnTimeline(
        len(rows) * LANE_HEIGHT,
        tuple(_drawn_lane(lane) for lane in timeline.lanes),
        tuple(bars),
        tuple(_ticks(timeline.seconds, scale)),
        tuple(round(at * scale, 1) for at in timeline.resumed_at_seconds),
        _path_data(path, rows, scale),
        tuple((kind.value, KIND_WORDS[kind], duration(sums[kind])) for kind in BarKind if sums.get(kind)),
    )


def _drawn_lane(lane: TimelineLane) -> DrawnLane:
    """Label an agent by what it works on first: where there is little room, the role is what is cut."""
    role, _, what = lane.name.rpartition(" ")
    return DrawnLane(lane.name if is_group(lane) or not role else f"{what} {role}", is_group(lane))


def _drawn_bars(bars: Sequence[TimelineBar], row: int, scale: float, says_from: float) -> list[DrawnBar]:
    drawn: list[DrawnBar] = []
    for bar in bars:
        x, width = bar.start_seconds * scale, bar.seconds * scale
        last = drawn[-1] if drawn else None
        thin = width < says_from
        # what is too thin to be seen by itself becomes part of the bar before it, where that is of its kind
        if last and thin and last.kind == bar.kind.value and not last.stalled and x - last.x - last.width < _GAP:
            drawn[-1] = DrawnBar(last.kind, last.x, last.y, round(x + width - last.x, 2), last.title)
            continue
        title = "" if thin else f"{KIND_WORDS[bar.kind]}, {duration(bar.seconds)}" + _said(bar)
        drawn.append(DrawnBar(bar.kind.value, round(x, 2), row * LANE_HEIGHT + 3, round(width, 2), title, bar.stalled))
    return [bar for bar in drawn if bar.width >= 0.05]


def _said(bar: TimelineBar) -> str:
    return f": {bar.label[:120]}" if bar.label else ""


def _ticks(seconds: float, scale: float) -> list[AxisTick]:
    if seconds <= 0:
        return []
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)
    every = next((step for step in steps if seconds / step <= 6), steps[-1])
    count = int(seconds // every)
    return [AxisTick(round(number * every * scale, 1), _tick_label(number * every)) for number in range(count + 1)]


def _tick_label(seconds: int) -> str:
    hours, rest = divmod(seconds, 3_600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _path_data(path: Sequence[PathStep], rows: Mapping[str, int], scale: float) -> str:
    """Draw the path below the bars of its steps, and a line down or up where it passes to another lane."""
    points: list[tuple[float, int]] = []
    for step in path:
        if step.lane in rows:
            y = rows[step.lane] * LANE_HEIGHT + LANE_HEIGHT - 2
            start = step.start_seconds * scale
            if points:
                points.append((start, points[-1][1]))
            points += [(start, y), (step.end_seconds * scale, y)]
    kept = [point for before, point in pairwise([None, *points]) if point != before and point is not None]
    return "M" + "L".join(f"{x:.1f} {y}" for x, y in kept) if kept else ""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A task in the picture of the plan; texts are foreign."""

    id: str
    title: str
    status: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """A dependency in that picture."""

    path: str
    critical: bool


@dataclass(frozen=True, slots=True)
class DrawnPlan:
    """The picture of the plan's graph, in pixels."""

    width: int
    height: int
    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]


NODE_WIDTH, NODE_HEIGHT = 176, 42
_BETWEEN_COLUMNS, _BETWEEN_ROWS = 44, 12
#: Characters of a title that fit into a node.
_TITLE_CHARS = 26


def drawn_plan(tasks: Sequence[Task], status: Mapping[str, str], critical: Sequence[str]) -> DrawnPlan:
    """Return where tasks and their dependencies are: a column for each wave."""
    layers = waves(tasks)
    places: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        for row, task_id in enumerate(layer):
            places[str(task_id)] = (
                column * (NODE_WIDTH + _BETWEEN_COLUMNS) + 2,
                row * (NODE_HEIGHT + _BETWEEN_ROWS) + 2,
            )
    steps = set(pairwise(critical))
    nodes = tuple(
        DrawnNode(str(task.id), _short(task.title, _TITLE_CHARS), status.get(str(task.id), ""), *places[str(task.id)])
        for task in tasks
    )
    edges = tuple(
        DrawnEdge(_edge(places[str(dep)], places[str(task.id)]), (str(dep), str(task.id)) in steps)
        for task in tasks
        for dep in task.deps
    )
    most = max((len(layer) for layer in layers), default=0)
    return DrawnPlan(
        len(layers) * (NODE_WIDTH + _BETWEEN_COLUMNS) - _BETWEEN_COLUMNS + 4,
        most * (NODE_HEIGHT + _BETWEEN_ROWS) - _BETWEEN_ROWS + 4,
        nodes,
        edges,
    )


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + NODE_WIDTH, start[1] + NODE_HEIGHT // 2
    x2, y2 = end[0], end[1] + NODE_HEIGHT // 2
    bend = max(16, (x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class DrawnSpending:
    """How spending grew, as SVG path data, and what its highest point stands for."""

    path: str
    most: float
    in_usd: bool
    limit_y: float | None = None
    """Where the run's limit is; None without one in this unit, or far above all that was spent."""


#: Height of the picture of spending, in units.
SPENDING_HEIGHT = 100.0


#: The most that a limit may be above what was spent, for the picture to reach up to it.
_LIMIT_IN_SIGHT = 4


def drawn_spending(points: Sequence[SpentPoint], seconds: float, limits: Mapping[str, float]) -> DrawnSpending | None:
    """Return the picture, in money where all of it is known, else in tokens; None where nothing was spent.

    `limits` are those of the run, by `usd` and `tokens`.
    """
    in_usd = bool(points) and bool(points[-1].usd)
    values = [(point.at_seconds, float((point.usd or 0.0) if in_usd else point.tokens)) for point in points]
    most = max((value for _, value in values), default=0.0)
    if seconds <= 0 or most <= 0:
        return None
    limit = limits.get("usd" if in_usd else "tokens")
    in_sight = limit is not None and 0 < limit <= _LIMIT_IN_SIGHT * most
    top = max(most, limit) if limit is not None and in_sight else most
    data = f"M0 {SPENDING_HEIGHT:.0f}"
    for at, value in values:
        data += f"H{at / seconds * _WIDTH:.1f}V{SPENDING_HEIGHT * (1 - value / top):.1f}"
    limit_y = round(SPENDING_HEIGHT * (1 - limit / top), 1) if limit is not None and in_sight else None
    return DrawnSpending(f"{data}H{_WIDTH:.0f}", most, in_usd, limit_y)
