"""The journal's rows, and `events.jsonl`: the same facts as lines of a file, written by a cursor over the rows."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from codexteam.core.ids import JSONObject
from codexteam.errors import StoreError
from codexteam.ports.reporter import RunEvent
from codexteam.report.event_lines import event_of, line_of
from codexteam.system.fault_points import reach

#: The file in a run's folder.
EVENTS_NAME = "events.jsonl"


def insert_facts(db: sqlite3.Connection, run_id: str, facts: Iterable[RunEvent]) -> Sequence[RunEvent]:
    """Add facts to a run's journal, within the transaction that is open; give them with their numbers."""
    last = int(db.execute("SELECT max(sequence) FROM fact WHERE run_id = ?", (run_id,)).fetchone()[0] or 0)
    numbered = []
    for fact in facts:
        last = max(last + 1, fact.sequence)  # a line of an older version's file keeps its number
        numbered.append(RunEvent(fact.kind, fact.at_seconds, fact.fields, last))
    rows = [
        # ASCII only: a lone surrogate (a file name that is not UTF-8) cannot be stored as SQLite text
        (run_id, fact.sequence, fact.at_seconds, fact.kind, json.dumps(fact.fields, separators=(",", ":")))
        for fact in numbered
    ]
    db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", rows)
    return numbered


def read_facts(db: sqlite3.Connection, run_id: str, *, after: int) -> list[RunEvent]:
    """Return a run's facts in order."""
    sql = "SELECT kind, at, fields, sequence FROM fact WHERE run_id = ? AND sequence > ? ORDER BY sequence"
    return [
        RunEvent(kind, at, cast("JSONObject", json.loads(fields)), sequence)
        for kind, at, fields, sequence in db.execute(sql, (run_id, after))
    ]


def read_events(path: Path) -> Iterator[RunEvent]:
    """Return the events of a file in order; none when there is no file. A line that a crash cut is left out."""
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


class EventsFile:
    """Writes a run's facts into `events.jsonl`, each once: a cursor whose place is the file's last line."""

    def __init__(self, path: Path, run_id: str, *, newest: int) -> None:
        """Open the file to append; `newest` is the last fact that is stored.

        A line that a crash cut is taken off, and one of a fact that a power failure took out of the store.

        Raises:
            StoreError: the file cannot be written.
        """
        self._path = path
        self._run_id = run_id
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._last = _mended(path, newest)
            # without a buffer, as what a full disk does not take must not be tried again when the file is closed
            self._out = path.open("ab", buffering=0)
            path.chmod(0o600)
        except OSError as error:
            raise _refused(path, error) from error

    @property
    def last(self) -> int:
        """Return the number of the fact of the last line."""
        return self._last

    def write(self, facts: Sequence[RunEvent]) -> None:
        """Append the lines of facts that it does not have.

        Raises:
            StoreError: the file cannot be written.
        """
        new = [fact for fact in facts if fact.sequence > self._last]
        if not new:
            return
        reach("events.line.before")
        try:
            data = "".join(line_of(fact, run_id=self._run_id) for fact in new).encode("ascii")
            while data:
                data = data[self._out.write(data) :]
        except OSError as error:
            raise _refused(self._path, error) from error
        self._last = new[-1].sequence
        reach("events.line.after")

    def close(self) -> None:
        self._out.close()


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: {error.strerror}", hint="make room, or make it writable; then `codexteam resume`")


def _mended(path: Path, newest: int) -> int:
    """Cut the file back to whole lines of facts up to `newest`; give the number of the last, 0 when there is none."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    end, last = data.rfind(b"\n") + 1, 0
    while end:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        last = _sequence(data[begin:end]) or data.count(b"\n", 0, end)
        if last <= newest:
            break
        end, last = begin, 0
    if end != len(data):
        with path.open("r+b") as file:
            file.truncate(end)
    return last


def _sequence(line: bytes) -> int:
    event = event_of(line)
    return 0 if event is None else event.sequence
