"""Looking at the state file changes nothing, whoever works on it."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from codexteam.adapters.store.journal_cursor import JournalCursor
from codexteam.adapters.store.schema import APPLICATION_ID, MIGRATIONS
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.ids import RunId
from codexteam.errors import StoreError, StoreVersionError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord

RUN = RunRecord(RunId("20261121-0231-7f3a"), "goal", "base", "running", 1.0, {})


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_file_that_nobody_has_open_is_read_and_nothing_is_made_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "with ? and #.sqlite"
    store = SqliteStore(path)
    await store.create_run(RUN)
    await store.close()
    before = contents(tmp_path)

    reading = SqliteStore(path, read_only=True)
    assert await reading.runs() == [RUN]
    assert await reading.append(RUN.run_id, []) == 0, "what only reads is allowed"
    with pytest.raises(StoreError, match="readonly"):
        await reading.set_run_state(RUN.run_id, "green")
    await reading.close()

    assert contents(tmp_path) == before


async def test_what_another_connection_wrote_last_is_seen_while_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    writing = SqliteStore(path)
    await writing.create_run(RUN)
    reading = SqliteStore(path, read_only=True)

    assert await reading.runs() == [RUN]
    await writing.set_run_state(RUN.run_id, "waiting")
    assert (await reading.runs())[0].state == "waiting"

    await reading.close()
    await writing.set_run_state(RUN.run_id, "green")
    await writing.close()


async def record(store: SqliteStore, text: str) -> None:
    store.record_facts(RUN.run_id, [RunEvent("notice", 1.0, {"text": text})])
    await store.facts_recorded()


def texts(cursor: JournalCursor) -> list[object]:
    return [fact.fields["text"] for fact in cursor.read()]


async def test_a_cursor_sees_what_was_written_and_closed_between_two_reads(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    writing = SqliteStore(path)
    await writing.create_run(RUN)
    await record(writing, "before")
    await writing.close()
    cursor = JournalCursor(path, RUN.run_id)
    assert texts(cursor) == ["before"]

    for session in ("second", "third"):
        again = SqliteStore(path)
        await record(again, session)
        await again.close()
        assert contents(tmp_path).keys() == {path.name}, "nothing beside the file shows that it was written"
        assert texts(cursor) == [session]
    assert texts(cursor) == []
    cursor.close()


async def test_a_cursor_opened_before_a_run_follows_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    writing = SqliteStore(path)
    await writing.create_run(RUN)
    await writing.close()
    cursor = JournalCursor(path, RUN.run_id)
    assert texts(cursor) == []

    again = SqliteStore(path)
    await record(again, "first")
    assert texts(cursor) == ["first"]
    await record(again, "second")
    assert texts(cursor) == ["second"]
    await record(again, "last")
    await again.close()
    assert texts(cursor) == ["last"]
    cursor.close()


def test_a_cursor_says_in_one_error_that_its_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).close()
    path.touch()
    cursor = JournalCursor(path, RUN.run_id)
    path.unlink()
    with pytest.raises(StoreError, match=r"state\.sqlite"):
        cursor.read()
    cursor.close()


async def test_an_older_file_is_brought_up_to_date_in_memory_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).close()
    path.touch()

    reading = SqliteStore(path, read_only=True)
    assert await reading.runs() == []
    await reading.close()

    assert path.read_bytes() == b""


def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.sqlite"):
        SqliteStore(tmp_path / "none.sqlite", read_only=True)
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "text").write_text("no database, and long enough to be looked at as if it were one\n" * 40)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(tmp_path / "text", read_only=True)
    newer = tmp_path / "newer.sqlite"
    db = sqlite3.connect(newer)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.commit()
    db.close()
    with pytest.raises(StoreVersionError, match="this version reads up to"):
        SqliteStore(newer, read_only=True)
