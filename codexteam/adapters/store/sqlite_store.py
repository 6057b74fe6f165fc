"""The Store port over SQLite. One thread owns the connection; what waits for it is written in one transaction."""

import asyncio
import contextlib
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar, cast

from codexteam.adapters.store.reading import open_for_reading
from codexteam.adapters.store.schema import open_database
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.errors import StoreError
from codexteam.ports.fault_points import reach
from codexteam.ports.store import OpenCall, RunRecord, StoredAnswer, StoredEvent, StoredSitting, StoredTurn

T = TypeVar("T")

#: The most jobs in one transaction: bounds how long the first of them waits.
_GROUP = 256

_CALL_KEY = "run_id = ? AND role = ? AND agent_purpose = ? AND task_id = ? AND attempt = ? AND turn = ? AND purpose = ?"


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[sqlite3.Connection], T]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[T]"
    result: T | None = None
    error: Exception | None = None
    writes: str = ""
    """The method that writes; empty for one that reads."""


class SqliteStore:
    """One repository's state file. Owned by who opened it, who closes it."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file; `read_only` neither makes, migrates nor writes it, and works while another process writes.

        Raises:
            StoreError: see `open_database`.
        """
        self._path = path
        self._db = open_for_reading(path) if read_only else open_database(path)
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="codexteam-store", daemon=True)
        self._thread.start()
        self._closed = False

    async def create_run(self, run: RunRecord) -> None:
        """Add a run; repeating it changes nothing."""
        row = (run.run_id, run.goal, run.base, run.state, run.created_at_seconds, _dump(run.settings))
        await self._do(
            lambda db: db.execute("INSERT OR IGNORE INTO run VALUES (?, ?, ?, ?, ?, ?)", row), writes="create_run"
        )

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        """Change a run's state."""
        await self._do(
            lambda db: db.execute("UPDATE run SET state = ? WHERE run_id = ?", (state, run_id)), writes="set_run_state"
        )

    async def runs(self) -> list[RunRecord]:
        """Give all runs, newest first."""
        sql = "SELECT run_id, goal, base, state, created_at, settings FROM run ORDER BY created_at DESC, run_id DESC"
        rows = await self._do(lambda db: db.execute(sql).fetchall())
        return [RunRecord(RunId(r[0]), r[1], r[2], r[3], r[4], _load(r[5])) for r in rows]

    async def begin_sitting(self, sitting: StoredSitting) -> int:
        """Add a sitting; give its number."""

        def work(db: sqlite3.Connection) -> int:
            last = db.execute("SELECT max(number) FROM sitting WHERE run_id = ?", (sitting.run_id,)).fetchone()[0]
            number = int(last or 0) + 1
            db.execute(
                "INSERT INTO sitting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(replace(sitting, number=number))
            )
            return number

        return await self._do(work, writes="begin_sitting")

    async def end_sitting(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        """Note how a sitting ended."""
        sql = "UPDATE sitting SET ended_at = ?, ending = ? WHERE run_id = ? AND number = ?"
        row = (at_seconds, _as_text(ending), run_id, number)
        await self._do(lambda db: db.execute(sql, row), writes="end_sitting")

    async def sittings(self, run_id: RunId) -> "list[StoredSitting]":
        """Give a run's sittings in order."""
        sql = """SELECT run_id, number, version, host, pid, process, started_at, ended_at, ending
                 FROM sitting WHERE run_id = ? ORDER BY number"""
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [StoredSitting(*row) for row in rows]

    async def append(self, run_id: RunId, events: Sequence[tuple[float, str, JSONObject]]) -> int:
        """Append events; give the last sequence number."""
        rows = [(at, kind, _dump(payload)) for at, kind, payload in events]

        def work(db: sqlite3.Connection) -> int:
            last = db.execute("SELECT max(sequence) FROM event WHERE run_id = ?", (run_id,)).fetchone()[0] or 0
            numbered = [(run_id, last + n, *row) for n, row in enumerate(rows, start=1)]
            db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", numbered)
            return int(last) + len(rows)

        return await self._do(work, writes="append")

    async def events(self, run_id: RunId, *, after: int = 0) -> list[StoredEvent]:
        """Give events in order."""
        sql = "SELECT sequence, at, kind, payload FROM event WHERE run_id = ? AND sequence > ? ORDER BY sequence"
        rows = await self._do(lambda db: db.execute(sql, (run_id, after)).fetchall())
        return [StoredEvent(r[0], r[1], r[2], _load(r[3])) for r in rows]

    async def save_checkpoint(self, run_id: RunId, sequence: int, state: JSONObject) -> None:
        """Keep a state; an older one is replaced, a newer one stays."""
        sql = """INSERT INTO checkpoint VALUES (?, ?, ?) ON CONFLICT (run_id) DO UPDATE
                 SET sequence = excluded.sequence, state = excluded.state WHERE excluded.sequence >= sequence"""
        await self._do(lambda db: db.execute(sql, (run_id, sequence, _dump(state))), writes="save_checkpoint")

    async def checkpoint(self, run_id: RunId) -> tuple[int, JSONObject] | None:
        """Give the newest checkpoint."""
        sql = "SELECT sequence, state FROM checkpoint WHERE run_id = ?"
        row = await self._do(lambda db: db.execute(sql, (run_id,)).fetchone())
        return (row[0], _load(row[1])) if row else None

    async def open_call(self, call: OpenCall) -> None:
        """Note that a call is about to be sent."""
        row = (*_call_row(call.key), call.request_hash, call.reserved_tokens, call.reserved_usd, call.reserved_credits)
        # an answered call is never opened again; an open one is sent once more under the newest request
        sql = f"""INSERT INTO call (run_id, role, agent_purpose, task_id, attempt, turn, purpose,
                  request_hash, reserved_tokens, reserved_usd, reserved_credits) VALUES ({", ".join("?" * 11)})
                  ON CONFLICT DO UPDATE SET request_hash = excluded.request_hash,
                  reserved_tokens = excluded.reserved_tokens, reserved_usd = excluded.reserved_usd,
                  reserved_credits = excluded.reserved_credits WHERE answer IS NULL"""  # noqa: S608 - only placeholders
        await self._do(lambda db: db.execute(sql, row), writes="open_call")

    async def close_call(self, key: CallKey) -> None:
        """Note that a call will not be billed."""
        sql = f"DELETE FROM call WHERE {_CALL_KEY} AND answer IS NULL"  # noqa: S608 - a constant
        await self._do(lambda db: db.execute(sql, _call_row(key)), writes="close_call")

    async def record_answer(self, answer: StoredAnswer) -> None:
        """Store an answer; the first one stays."""
        usage = astuple(answer.usage) if answer.usage else (None, None, None, None)
        row = (*_call_row(answer.key), answer.request_hash, _dump(answer.answer), *usage)
        sql = f"""INSERT INTO call (run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash,
                  answer, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens)
                  VALUES ({", ".join("?" * 13)})
                  ON CONFLICT DO UPDATE SET request_hash = excluded.request_hash, answer = excluded.answer,
                  input_tokens = excluded.input_tokens, cached_input_tokens = excluded.cached_input_tokens,
                  output_tokens = excluded.output_tokens, reasoning_tokens = excluded.reasoning_tokens
                  WHERE answer IS NULL"""  # noqa: S608 - only placeholders
        await self._do(lambda db: db.execute(sql, row), writes="record_answer")

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        """Give the stored answer of a call."""
        sql = f"SELECT {_ANSWER} FROM call WHERE {_CALL_KEY} AND answer IS NOT NULL"  # noqa: S608 - constants
        row = await self._do(lambda db: db.execute(sql, _call_row(key)).fetchone())
        return _answer(row) if row else None

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        """Give all answers of a run."""
        sql = f"SELECT {_ANSWER} FROM call WHERE run_id = ? AND answer IS NOT NULL"  # noqa: S608 - a constant
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [_answer(row) for row in rows]

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        """Give the calls that were sent and not answered."""
        sql = """SELECT run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash,
                 reserved_tokens, reserved_usd, reserved_credits FROM call WHERE run_id = ? AND answer IS NULL"""
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [OpenCall(_call_key(r), r[7], r[8], r[9], r[10]) for r in rows]

    async def record_turn(self, turn: StoredTurn) -> None:
        """Store a finished turn."""
        snapshot = None if turn.snapshot is None else _dump(turn.snapshot)
        row = (*_agent_row(turn.agent), turn.turn, _dump({"outputs": list(turn.outputs)}), snapshot)
        sql = "INSERT OR REPLACE INTO turn VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        await self._do(lambda db: db.execute(sql, row), writes="record_turn")

    async def turns(self, agent: AgentKey) -> list[StoredTurn]:
        """Give an agent's finished turns, in order."""
        sql = """SELECT turn, outputs, snapshot FROM turn WHERE run_id = ? AND role = ? AND purpose = ?
                 AND task_id = ? AND attempt = ? ORDER BY turn"""
        rows = await self._do(lambda db: db.execute(sql, _agent_row(agent)).fetchall())
        return [
            StoredTurn(
                agent, r[0], tuple(cast("list[JSONObject]", _load(r[1])["outputs"])), _load(r[2]) if r[2] else None
            )
            for r in rows
        ]

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name."""
        row = (space, key, _dump(value))
        await self._do(lambda db: db.execute("INSERT OR REPLACE INTO value VALUES (?, ?, ?)", row), writes="put")

    async def get(self, space: str, key: str) -> JSONObject | None:
        """Give the value under a name."""
        sql = "SELECT value FROM value WHERE space = ? AND key = ?"
        row = await self._do(lambda db: db.execute(sql, (space, key)).fetchone())
        return _load(row[0]) if row else None

    async def list(self, space: str, *, prefix: str = "") -> "list[tuple[str, JSONObject]]":
        """Give the values of a space by key."""
        sql = "SELECT key, value FROM value WHERE space = ? AND substr(key, 1, ?) = ? ORDER BY key"
        rows = await self._do(lambda db: db.execute(sql, (space, len(prefix), prefix)).fetchall())
        return [(row[0], _load(row[1])) for row in rows]

    async def close(self) -> None:
        """Finish what was asked for and close the file. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: str = "") -> T:
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(cast("_Job[object]", _Job(work, loop, future, writes=writes)))
        # a task that is cancelled while it waits does not take its write back: what was asked for is written
        return await asyncio.shield(future)

    def _work(self) -> None:
        """Run jobs until told to end; the store's own thread."""
        ended = False
        while not ended:
            job = self._jobs.get()
            group: list[_Job[object]] = []
            while job is not None:
                group.append(job)
                if len(group) >= _GROUP or self._jobs.empty():
                    break
                job = self._jobs.get()
            ended = job is None
            if group:
                self._run_group(group)
        self._db.close()

    def _run_group(self, group: Sequence[_Job[object]]) -> None:
        try:
            self._db.execute(self._begin)
            for job in group:
                self._run_job(job)
            writes = [job.writes for job in group if job.writes]
            _reach_each(writes, "before")
            self._db.execute("COMMIT")
            _reach_each(writes, "after")
        except Exception as error:  # noqa: BLE001 - those who wait for the jobs are told; without the thread they would wait for ever
            with contextlib.suppress(sqlite3.Error):  # a disk that broke: the next group meets it at its beginning
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            for job in group:
                job.error = job.error or error
        for job in group:
            with contextlib.suppress(RuntimeError):  # a loop that is closed: its tasks are gone, the write is done
                job.loop.call_soon_threadsafe(_settle, job, self._path)

    def _run_job(self, job: _Job[object]) -> None:
        self._db.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._db)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # a full disk has rolled everything back already
            self._db.execute("ROLLBACK TO job")
            job.error = error
        self._db.execute("RELEASE job")


def _reach_each(writes: Sequence[str], when: str) -> None:
    for name in writes:
        reach(f"store.{name}.{when}")


def _settle(job: _Job[object], path: Path) -> None:
    if job.future.done():
        return
    if job.error is None:
        job.future.set_result(job.result)
        return
    full = "full" in str(job.error)
    hint = "make room and run `codexteam resume`" if full else ""
    failure = StoreError(f"{path}: {job.error}", hint=hint)
    failure.__cause__ = job.error
    job.future.set_exception(failure)
    job.future.exception()  # looked at: the task that waited for it may have been cancelled


def _dump(value: JSONObject) -> str:
    # ASCII only: a lone surrogate (a file name that is no UTF-8) cannot be stored as SQLite text
    return json.dumps(value, separators=(",", ":"))


def _as_text(text: str) -> str:
    """Give text that SQLite takes: a lone surrogate is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _load(text: str) -> JSONObject:
    return cast("JSONObject", json.loads(text))


def _agent_row(agent: AgentKey) -> tuple[str, str, str, str, int]:
    return agent.run_id, agent.role, agent.purpose.value, agent.task_id, agent.attempt


def _call_row(key: CallKey) -> tuple[str | int, ...]:
    return (*_agent_row(key.agent), key.turn, key.purpose.value)


def _call_key(row: Sequence[object]) -> CallKey:
    run_id, role, agent_purpose, task_id, attempt, turn, purpose = cast(
        "tuple[str, str, str, str, int, int, str]", tuple(row[:7])
    )
    return CallKey(AgentKey(RunId(run_id), role, Purpose(agent_purpose), task_id, attempt), turn, Purpose(purpose))


_ANSWER = """run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash, answer,
             input_tokens, cached_input_tokens, output_tokens, reasoning_tokens"""


def _answer(row: Sequence[object]) -> StoredAnswer:
    usage = None if row[9] is None else Usage(*cast("tuple[int, int, int, int]", tuple(row[9:13])))
    return StoredAnswer(_call_key(row), cast("str", row[7]), _load(cast("str", row[8])), usage)
