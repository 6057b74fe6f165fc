"""A run's history as `logs` and `events` print it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from codexteam.app.inspect import History
from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.event_lines import line_of
from codexteam.report.progress import describe
from codexteam.views.streams import OutputStreams

#: What an agent does, of interest to who asks for one task.
_ACTIONS = {"agent.acted": "{agent}: {action}", "agent.waiting": "{agent} waits: {reason}"}


def print_logs(output: OutputStreams, history: History, *, follow: bool) -> None:
    """Print a line for each event worth one; with `follow` until the run ends."""
    shown = 0

    def printed(event: RunEvent) -> str:
        nonlocal shown
        if history.task_id and event.fields.get("task") != history.task_id:
            return ""
        words = describe(event) or (_action(event) if history.task_id else "")
        if not words:
            return ""
        shown += 1
        if output.json_lines:
            return line_of(event, run_id=history.run_id)
        at = datetime.fromtimestamp(event.at_seconds, UTC)
        return f"{at:%H:%M:%S} {clean_line(words)}\n"

    if follow or output.json_lines:
        _print(output.out.write, map(printed, history.facts(follow=follow)), flush=output.out.flush)
    else:
        with output.paged() as target:
            _print(target.write, map(printed, history.facts(follow=False)))
    if output.json_lines:
        output.record({"type": "logs.completed", "run": history.run_id, "count": shown})
    elif not shown:
        output.note(
            f"run {history.run_id} has reported nothing" + (f" on {history.task_id}" if history.task_id else "")
        )


def print_events(output: OutputStreams, history: History, *, follow: bool) -> None:
    """Print each fact as a line of `events.jsonl`; with `follow` until the run ends."""
    shown = 0
    for fact in history.facts(follow=follow):
        output.out.write(line_of(fact, run_id=history.run_id))
        if follow:
            output.out.flush()
        shown += 1
    if output.json_lines:
        output.record({"type": "events.completed", "run": history.run_id, "count": shown})


def _print(write: Callable[[str], object], lines: Iterable[str], *, flush: Callable[[], object] = lambda: None) -> None:
    for line in lines:
        if line:
            write(line)
            flush()


def _action(event: RunEvent) -> str:
    wording = _ACTIONS.get(event.kind, "")
    values = {name: str(value) for name, value in event.fields.items()}
    with suppress(KeyError):
        return wording.format_map(values)
    return ""
