"""One line of `events.jsonl`: an event as JSON, and back.

Every line is one JSON object: `schema`, `sequence` (from 1, over all sessions), `at` (UTC, ISO 8601), `run`, `kind`, and
the fields of that kind.
"""

import json
from datetime import UTC, datetime

from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent

_HEAD = frozenset({"schema", "sequence", "at", "run", "kind"})
#: The version of the lines; a field is added without a new one, never taken away or changed in meaning.
SCHEMA_VERSION = 1


def event_of(line: bytes) -> RunEvent | None:
    """Return the event of one line; None when it is not one."""
    try:
        found = json.loads(line)
        at = datetime.fromisoformat(found["at"]).timestamp()
        kind, sequence = found["kind"], found.get("sequence")
        fields = {
            name: value
            for name, value in found.items()
            if name not in _HEAD or (name == "run" and kind == "run.opened")
        }
        return RunEvent(kind, at, fields, sequence if isinstance(sequence, int) else 0)
    except (ValueError, KeyError, TypeError):
        return None


def line_of(event: RunEvent, *, run_id: str) -> str:
    """Return an event's line."""
    at = datetime.fromtimestamp(event.at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head: JSONObject = {
        "schema": SCHEMA_VERSION,
        "sequence": event.sequence,
        "at": at,
        "run": run_id,
        "kind": event.kind,
    }
    line = {**head, **{name: value for name, value in event.fields.items() if name not in head}}
    return json.dumps(line, separators=(",", ":")) + "\n"
