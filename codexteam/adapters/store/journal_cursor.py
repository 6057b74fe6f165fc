"""Reads a run's journal while another process writes it."""

import os
import sqlite3
from pathlib import Path

from codexteam.adapters.store.journal import read_facts
from codexteam.adapters.store.schema import is_at_rest, open_for_reading
from codexteam.errors import StoreError
from codexteam.ports.reporter import RunEvent


class JournalCursor:
    """A place in a run's journal, which moves on as it is read. Owned by who opened it, who closes it."""

    def __init__(self, path: Path, run_id: str) -> None:
        """Open the state file at the beginning of a run's journal.

        Raises:
            StoreError: it does not exist, cannot be read, or is not a state file.
        """
        self._path = path
        self._run_id = run_id
        self._last = 0
        self._open()

    def _open(self) -> None:
        self._at_rest = is_at_rest(self._path)
        self._db = open_for_reading(self._path, at_rest=self._at_rest)

    def read(self) -> list[RunEvent]:
        """Return what has been written since the last time, in order.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            found = self._read_at_rest() if self._at_rest else read_facts(self._db, self._run_id, after=self._last)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: {error}", hint="may you read it?") from error
        self._last = found[-1].sequence if found else self._last
        return found

    def _read_at_rest(self) -> list[RunEvent]:
        """Read a file that was opened as one that nobody writes.

        SQLite looks at such a file once. Meanwhile a run may have opened it, or opened, written and closed it: it is
        opened anew for each look, and read again where it changed under the look.
        """
        while True:
            before = self._path.stat()
            self.close()
            self._open()
            try:
                found = read_facts(self._db, self._run_id, after=self._last)
            except sqlite3.DatabaseError:
                if not self._at_rest or self._is_as(before):
                    raise
                continue
            if not self._at_rest or self._is_as(before):
                return found

    def _is_as(self, before: os.stat_result) -> bool:
        now = self._path.stat()
        same = (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
        return same and is_at_rest(self._path)

    def close(self) -> None:
        """Close the file. May be repeated."""
        self._db.close()
