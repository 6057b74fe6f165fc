"""What only a file can show: versions, damage, kills, a full disk."""

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from codexteam.adapters.store.journal import EventsFile
from codexteam.adapters.store.schema import APPLICATION_ID, MIGRATIONS, open_database
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.ids import RunId
from codexteam.errors import StoreError, StoreVersionError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord

RUN = RunId("r")


async def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "deep" / "state.sqlite")
    await first.append(RUN, [(1.0, "A", {"x": "é\udce4"})])
    await first.close()
    await first.close()

    again = SqliteStore(tmp_path / "deep" / "state.sqlite")

    assert [event.payload for event in await again.events(RUN)] == [{"x": "é\udce4"}]
    assert (tmp_path / "deep" / "state.sqlite").stat().st_mode & 0o077 == 0
    await again.close()
    with pytest.raises(StoreError, match="the store is closed"):
        await again.events(RUN)


async def test_what_sqlite_cannot_hold_is_an_error_and_the_next_write_works(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    with pytest.raises(StoreError, match="too large"):
        await store.save_checkpoint(RUN, 10**30, {})

    await store.append(RUN, [(1.0, "A", {})])

    assert len(await store.events(RUN)) == 1
    await store.close()


async def test_a_failed_write_that_nobody_awaits_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    writing = asyncio.ensure_future(store.save_checkpoint(RUN, 10**30, {}))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await store.close()  # what was asked for is done by then
    await asyncio.sleep(0)
    del writing
    gc.collect()  # of an error that nobody took, asyncio tells as its future is thrown away
    assert caplog.text == ""


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    before = path.read_bytes()

    with pytest.raises(StoreVersionError, match=f"schema {len(MIGRATIONS) + 1}"):
        SqliteStore(path)

    assert path.read_bytes() == before


def test_commands_opening_an_older_file_together_all_get_it_migrated(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE sitting")
        db.execute("DROP TABLE fact")
        db.execute("PRAGMA user_version = 1")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from codexteam.adapters.store.schema import open_database\n"
        "sys.stdin.read()\n"
        "open_database(Path(sys.argv[1])).close()\n"
    )
    argv = [sys.executable, "-c", code, str(path)]
    openers = [subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=Path(__file__).parents[4]) for _ in range(4)]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.close()  # lets it continue
    for opener in openers:
        opener.wait(timeout=60)

    assert [opener.returncode for opener in openers] == [0] * 4
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("SELECT count(*) FROM sitting").fetchone() == (0,)
    with closing(sqlite3.connect(path.with_name("state.sqlite.v1"))) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


async def test_the_lines_of_an_older_version_become_facts_with_their_numbers(tmp_path: Path) -> None:
    path, run = tmp_path / "state.sqlite", RunId("20261121-0231-7f3a")
    first = SqliteStore(path)
    await first.create_run(RunRecord(run, "goal", "base", "running", 1.0, {}))
    await first.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE fact")
        db.execute("PRAGMA user_version = 2")
    file = EventsFile(tmp_path / "runs" / run / "events.jsonl", run, newest=9)
    told = [
        RunEvent("run.opened", 1.5, {"run": run, "goal": "goal"}, 1),
        RunEvent("task.merged", 2.0, {"task": "T1"}, 2),
    ]
    file.write(told)
    file.close()
    with (tmp_path / "runs" / run / "events.jsonl").open("ab") as cut:
        cut.write(b'{"schema":1,"sequ')

    looking = SqliteStore(path, read_only=True)
    assert await looking.facts(run) == told
    await looking.close()
    again = SqliteStore(path)
    again.record_facts(run, [RunEvent("run.finished", 3.0, {})])
    await again.facts_recorded()
    assert await again.facts(run) == [*told, RunEvent("run.finished", 3.0, {}, 3)]
    await again.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"this is not a database, but long enough to look at" * 50, "not a database", id="text"),
        pytest.param(None, "unable to open", id="a folder"),
    ],
)
def test_what_is_no_state_file_is_one_clear_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "state.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    with pytest.raises(StoreError, match=message) as error:
        SqliteStore(path)

    assert str(path) in str(error.value)


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")

    with pytest.raises(StoreError, match="not a codexteam state file"):
        SqliteStore(path)


async def test_events_of_many_tasks_share_a_transaction(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")

    await asyncio.gather(*(store.append(RUN, [(0.0, "E", {})]) for _ in range(1_000)))

    # 1,000 commits of their own take 6 s and more; a handful of groups a fraction of that
    assert 0 < _commits(tmp_path / "state.sqlite-wal") < 100
    await store.close()


def _commits(log: Path) -> int:
    """Count the commits in a write-ahead log: a frame that ends one says how many pages the file has then."""
    data = log.read_bytes()
    frame = 24 + int.from_bytes(data[8:12], "big")
    return sum(data[at + 4 : at + 8] != bytes(4) for at in range(32, len(data) - frame + 1, frame))


_WRITER = """
import asyncio, sys
from pathlib import Path
from codexteam.adapters.store.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    for number in range(10_000):
        last = await store.append("r", [(0.0, "E", {"n": number})])
        print(last, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 7, 40])
def test_no_acknowledged_event_is_lost_by_a_kill(tmp_path: Path, after: int) -> None:
    path = tmp_path / "state.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = 0
    for line in writer.stdout:
        acknowledged = int(line)
        if acknowledged >= after:
            break
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged

    async def count() -> int:
        store = SqliteStore(path)
        events = await store.events(RUN)
        await store.close()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        return len(events)

    assert asyncio.run(count()) in {acknowledged, acknowledged + 1}


async def test_a_full_disk_is_an_error_that_says_what_to_do_and_loses_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.decode(errors='replace')}")
    try:
        store = SqliteStore(small / "state.sqlite")
        written = 0
        with pytest.raises(StoreError, match="full") as error:
            while True:
                await store.append(RUN, [(0.0, "E", {"fill": "x" * 20_000})])
                written += 1
        assert "make room" in error.value.hint
        assert len(await store.events(RUN)) == written
        await store.close()
        again = SqliteStore(small / "state.sqlite")
        assert len(await again.events(RUN)) == written
        await again.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)
