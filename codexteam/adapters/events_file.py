"""`events.jsonl`: a run's history, a line each, appended as it happens.

Every line is one JSON object: `schema`, `sequence` (from 1, over all sittings), `at` (UTC, ISO 8601), `run`, `kind`, and
the fields of that kind.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from codexteam.core.json_types import JSONObject
from codexteam.ports.fault_points import reach
from codexteam.ports.reporter import RunEvent

#: The version of the lines; a field is added without a new one, never taken away or changed in meaning.
SCHEMA_VERSION = 1


def line_of(event: RunEvent, *, run_id: str, sequence: int) -> JSONObject:
    """Give the object of an event's line."""
    at = datetime.fromtimestamp(event.at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head: JSONObject = {"schema": SCHEMA_VERSION, "sequence": sequence, "at": at, "run": run_id, "kind": event.kind}
    return {**head, **{name: value for name, value in event.fields.items() if name not in head}}


class EventsFile:
    """The Reporter that writes `events.jsonl`. A line cut by a crash is taken off when the file is opened again."""

    def __init__(self, path: Path, run_id: str) -> None:
        """Open the file to append. Owned by the run, which closes it."""
        self._run_id = run_id
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sequence = _mend(path)
        self._out: TextIO = path.open("a", encoding="ascii")
        path.chmod(0o600)

    def report(self, event: RunEvent) -> None:
        """Append one line."""
        self._sequence += 1
        line = line_of(event, run_id=self._run_id, sequence=self._sequence)
        reach("events.line.before")
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._out.flush()
        reach("events.line.after")

    @property
    def told(self) -> int:
        """Give the number of the last line."""
        return self._sequence

    def close(self) -> None:
        """Close the file."""
        self._out.close()


class JsonLines:
    """The Reporter of `--json`: the same lines, on standard output."""

    def __init__(self, out: TextIO, run_id: str, *, told: int) -> None:
        """Write to `out`, which stays open; `told` is how many lines the history has already."""
        self._out = out
        self._run_id = run_id
        self._sequence = told

    def report(self, event: RunEvent) -> None:
        """Write one line."""
        self._sequence += 1
        line = line_of(event, run_id=self._run_id, sequence=self._sequence)
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Leave the stream as it is."""


def _mend(path: Path) -> int:
    """Cut the file back to its last whole line; give that line's sequence number, 0 when there is none."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    lines = whole.splitlines()
    if not lines:
        return 0
    sequence = json.loads(lines[-1]).get("sequence")
    return sequence if isinstance(sequence, int) else len(lines)
