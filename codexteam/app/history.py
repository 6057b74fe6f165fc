"""What a run reported, read back from its `events.jsonl`."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from codexteam.ports.reporter import RunEvent

_HEAD = frozenset({"schema", "sequence", "at", "run", "kind"})


def read_events(path: Path) -> Iterator[RunEvent]:
    """Give the events of a file in order; none when there is no file. A line that a crash cut is left out."""
    try:
        lines = path.open("rb")
    except FileNotFoundError:
        return
    with lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            event = event_of(line)
            if event is not None:
                yield event


def event_of(line: bytes) -> RunEvent | None:
    """Give the event of one line; None when it is none."""
    try:
        found = json.loads(line)
        at = datetime.fromisoformat(found["at"]).timestamp()
        fields = {name: value for name, value in found.items() if name not in _HEAD or (name == "run")}
        return RunEvent(found["kind"], at, fields)
    except (ValueError, KeyError, TypeError):
        return None
