"""The tables, and how older files become newer ones. A released migration is never edited."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from codexteam.adapters.store.journal import EVENTS_NAME, insert_facts, read_events
from codexteam.errors import StoreError, StoreVersionError
from codexteam.system.fault_points import reach

#: Says that a SQLite file is codexteam's ("cxtm"); https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID = 0x6378746D


def _m001_first(db: sqlite3.Connection, _folder: Path) -> None:
    db.execute(
        """CREATE TABLE run (
            run_id TEXT PRIMARY KEY, goal TEXT NOT NULL, base TEXT NOT NULL, state TEXT NOT NULL,
            created_at REAL NOT NULL, settings TEXT NOT NULL) STRICT"""
    )
    db.execute(
        """CREATE TABLE event (
            run_id TEXT NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
            payload TEXT NOT NULL, PRIMARY KEY (run_id, sequence)) STRICT, WITHOUT ROWID"""
    )
    db.execute(
        """CREATE TABLE checkpoint (
            run_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, state TEXT NOT NULL) STRICT"""
    )
    db.execute(
        """CREATE TABLE call (
            run_id TEXT NOT NULL, role TEXT NOT NULL, agent_purpose TEXT NOT NULL, task_id TEXT NOT NULL,
            attempt INTEGER NOT NULL, turn INTEGER NOT NULL, purpose TEXT NOT NULL,
            request_hash TEXT NOT NULL, reserved_tokens INTEGER, reserved_usd REAL, reserved_credits REAL,
            answer TEXT, input_tokens INTEGER, cached_input_tokens INTEGER, output_tokens INTEGER,
            reasoning_tokens INTEGER,
            PRIMARY KEY (run_id, role, agent_purpose, task_id, attempt, turn, purpose)) STRICT"""
    )
    db.execute(
        """CREATE TABLE turn (
            run_id TEXT NOT NULL, role TEXT NOT NULL, purpose TEXT NOT NULL, task_id TEXT NOT NULL,
            attempt INTEGER NOT NULL, turn INTEGER NOT NULL, outputs TEXT NOT NULL, snapshot TEXT,
            PRIMARY KEY (run_id, role, purpose, task_id, attempt, turn)) STRICT"""
    )
    db.execute(
        """CREATE TABLE value (
            space TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (space, key)) STRICT, WITHOUT ROWID"""
    )


def _m002_sittings(db: sqlite3.Connection, _folder: Path) -> None:
    db.execute(
        """CREATE TABLE sitting (
            run_id TEXT NOT NULL, number INTEGER NOT NULL, version TEXT NOT NULL, host TEXT NOT NULL,
            pid INTEGER NOT NULL, process TEXT NOT NULL, started_at REAL NOT NULL, ended_at REAL, ending TEXT NOT NULL,
            PRIMARY KEY (run_id, number)) STRICT, WITHOUT ROWID"""
    )


def _m003_facts(db: sqlite3.Connection, folder: Path) -> None:
    db.execute(
        """CREATE TABLE fact (
            run_id TEXT NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
            fields TEXT NOT NULL, PRIMARY KEY (run_id, sequence)) STRICT, WITHOUT ROWID"""
    )
    for (run_id,) in db.execute("SELECT run_id FROM run").fetchall():
        insert_facts(db, run_id, read_events(folder / "runs" / run_id / EVENTS_NAME))


#: In the order in which they are applied, each with the state folder; the file's `user_version` counts those that were.
MIGRATIONS: tuple[Callable[[sqlite3.Connection, Path], None], ...] = (_m001_first, _m002_sittings, _m003_facts)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the state file, made or brought up to date where needed. A copy is kept beside it before a migration.

    Raises:
        StoreVersionError: a newer codexteam wrote it.
        StoreError: it cannot be opened or is not a state file.
    """
    try:
        return _open(path)
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: {error}", hint="move the file away to begin anew; runs in it cannot be resumed"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="--state-dir moves the state folder") from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_file():
        _refuse_newer(path)
    elif not path.exists():
        path.touch(mode=0o600)
    # the connection lives on the store's own thread, but is opened where errors reach the user first
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA busy_timeout = 10000")
        version = _checked_version(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        # a commit is on the disk before it is answered: 6.5 ms, once for many events
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        if version < len(MIGRATIONS):
            _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_newer(path: Path) -> None:
    """Look at the version through a connection that cannot write: closing another would tidy up the file's log."""
    with _reader(path) as db:
        db.execute("PRAGMA busy_timeout = 10000")
        readable_version(db, path)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    # all or nothing: a file between two versions would look like one that an older codexteam left
    db.execute("BEGIN IMMEDIATE")
    # another command may have opened the same older file at the same moment
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version < len(MIGRATIONS):
        if version:
            _keep_copy(path, path.with_name(f"{path.name}.v{version}"))
        for migrate in MIGRATIONS[version:]:
            migrate(db, path.parent)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        reach("store.migrate.before")
    db.execute("COMMIT")
    reach("store.migrate.after")


def readable_version(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of a state file; 0 for an empty one.

    Raises:
        StoreVersionError: a newer codexteam wrote it.
        StoreError: it is not a state file.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    found = int(db.execute("PRAGMA application_id").fetchone()[0])
    if version and found != APPLICATION_ID:
        raise StoreError(f"{path}: this is not a codexteam state file")
    if version > len(MIGRATIONS):
        raise StoreVersionError(
            f"{path}: schema {version}; this version reads up to {len(MIGRATIONS)}",
            hint="use the codexteam that wrote it, or a newer one",
        )
    return version


def _checked_version(db: sqlite3.Connection, path: Path) -> int:
    version = readable_version(db, path)
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise StoreError(f"{path}: the file is damaged", hint="restore it from a copy beside it, or move it away")
    return version


def _keep_copy(path: Path, to: Path) -> None:
    """Copy what was last committed, through a connection of its own; nobody else writes meanwhile."""
    to.touch(mode=0o600)
    with (
        _reader(path) as db,
        closing(sqlite3.connect(to)) as copy,
    ):
        db.backup(copy)


def _reader(path: Path) -> "closing[sqlite3.Connection]":
    """Open the file so that nothing can be written to it."""
    return closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True))


def is_at_rest(path: Path) -> bool:
    """Return whether nobody has the state file open: there is no log beside it, and the file is all there is."""
    return not path.with_name(f"{path.name}-wal").exists()


def open_for_reading(path: Path, *, at_rest: bool | None = None) -> sqlite3.Connection:
    """Open the state file read-only. One of an older version is brought up to date in memory.

    What is written to a file after it was opened at rest is not seen.

    Args:
        path: the file.
        at_rest: what `is_at_rest` said of it; it is asked where this is None.

    Raises:
        StoreVersionError: a newer codexteam wrote it.
        StoreError: it does not exist, cannot be read, or is not a state file.
    """
    try:
        return _read_only_database(path, at_rest=is_at_rest(path) if at_rest is None else at_rest)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", hint="was it written by codexteam, and may you read it?") from error


def _read_only_database(path: Path, *, at_rest: bool) -> sqlite3.Connection:
    # at rest SQLite need not make its own files there, which it could not in a folder that is read-only
    db = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro{'&immutable=1' if at_rest else ''}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA busy_timeout = 10000")
        version = readable_version(db, path)
        if version == len(MIGRATIONS):
            return db
        return _migrated(db, version, path.parent)
    except BaseException:
        db.close()
        raise


def _migrated(db: sqlite3.Connection, version: int, folder: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.backup(copy)
    db.close()
    for migrate in MIGRATIONS[version:]:
        migrate(copy, folder)
    return copy
