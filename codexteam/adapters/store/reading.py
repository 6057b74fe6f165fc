"""Opens the state file to look at it: nothing is made, migrated or written, whoever else works on it."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from codexteam.adapters.store.schema import MIGRATIONS, readable_version
from codexteam.errors import StoreError


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the state file read-only. One of an older version is brought up to date in memory.

    Raises:
        StoreVersionError: a newer codexteam wrote it.
        StoreError: there is none, it cannot be read, or is no state file.
    """
    try:
        return _open(path)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", hint="was it written by codexteam, and may you read it?") from error


def _open(path: Path) -> sqlite3.Connection:
    # without a log beside it nobody has it open, and the file is all there is: then SQLite need not make its own files
    # there, which it could not in a folder that is read-only
    whole = not path.with_name(f"{path.name}-wal").exists()
    db = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro{'&immutable=1' if whole else ''}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA busy_timeout = 10000")
        version = readable_version(db, path)
        if version == len(MIGRATIONS):
            return db
        return _migrated(db, version)
    except BaseException:
        db.close()
        raise


def _migrated(db: sqlite3.Connection, version: int) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.backup(copy)
    db.close()
    for migrate in MIGRATIONS[version:]:
        migrate(copy)
    return copy
