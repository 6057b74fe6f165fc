"""The timeline as a Chrome trace: it opens in ui.perfetto.dev and in chrome://tracing."""

import json

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.report.run_report import RunReport
from codexteam.report.timeline import TimelineBar
from codexteam.views.report.drawing import KIND_WORDS

_PROCESS = 1
_MICROSECONDS = 1_000_000


def render_trace(report: RunReport) -> str:
    """Return the trace, as JSON; its times are seconds of work."""
    events: list[JSONValue] = [_named("process_name", 0, f"codexteam run {report.run.record.run_id}")]
    for number, lane in enumerate(report.timeline.lanes, start=1):
        events.append(_named("thread_name", number, lane.name))
        sorting: JSONObject = {"name": "thread_sort_index", "ph": "M", "pid": _PROCESS, "tid": number}
        events.append({**sorting, "args": {"sort_index": number}})
        events += [_bar(bar, number) for bar in lane.bars]
    events += _path(report)
    for point in report.spending.points:
        counted: JSONObject = {"name": "tokens", "ph": "C", "pid": _PROCESS, "ts": _at(point.at_seconds)}
        events.append({**counted, "args": {"tokens": point.tokens}})
        if point.usd is not None:
            events.append({**counted, "name": "usd", "args": {"usd": round(point.usd, 6)}})
    meta: JSONObject = {"run": str(report.run.record.run_id), "goal": clean_line(report.run.record.goal)[:500]}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": meta}) + "\n"


def _at(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)


def _named(what: str, thread: int, name: str) -> JSONObject:
    return {"name": what, "ph": "M", "pid": _PROCESS, "tid": thread, "args": {"name": clean_line(name)}}


def _bar(bar: TimelineBar, thread: int) -> JSONObject:
    name = clean_line(bar.label)[:200] or KIND_WORDS[bar.kind]
    return {
        "name": name,
        "cat": bar.kind.value,
        "ph": "X",
        "pid": _PROCESS,
        "tid": thread,
        "ts": _at(bar.start_seconds),
        "dur": max(1, _at(bar.end_seconds) - _at(bar.start_seconds)),
        "args": {"kind": KIND_WORDS[bar.kind], "stalled": bar.stalled},
    }


def _path(report: RunReport) -> list[JSONValue]:
    """Return the critical path as arrows, each from the end of a step to the beginning of the next."""
    threads = {lane.name: number for number, lane in enumerate(report.timeline.lanes, start=1)}
    arrows: list[JSONValue] = []
    for number, (step, after) in enumerate(zip(report.path, report.path[1:], strict=False), start=1):
        shared: JSONObject = {"name": "critical path", "cat": "path", "id": number, "pid": _PROCESS}
        # an arrow is bound to the slice that it lies in
        end, begin = max(_at(step.start_seconds), _at(step.end_seconds) - 1), _at(after.start_seconds)
        arrows.append({**shared, "ph": "s", "tid": threads[step.lane], "ts": end})
        arrows.append({**shared, "ph": "f", "bp": "e", "tid": threads[after.lane], "ts": max(begin, end)})
    return arrows
