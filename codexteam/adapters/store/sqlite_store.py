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

from codexteam.adapters.store.journal import insert_facts, read_facts
from codexteam.adapters.store.schema import open_database, open_for_reading
from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.errors import StoreError
from codexteam.ports.model import AnsweredCall
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import WorkspaceState
from codexteam.ports.store import ForkRecord, OpenCall, RunRecord, StoredAnswer, StoredEvent, StoredSession, StoredTurn
from codexteam.system.fault_points import reach

T = TypeVar("T")

#: The most jobs in one transaction: bounds how long the first of them waits.
_GROUP = 256
#: How long facts alone wait for a write that takes them along; half as long again for each job that joins them.
_FACTS_WAIT_SECONDS = 0.1

_CALL_KEY = "run_id = ? AND role = ? AND agent_purpose = ? AND task_id = ? AND attempt = ? AND turn = ? AND purpose = ?"
_ANSWER = """run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash, answer,
             input_tokens, cached_input_tokens, output_tokens, reasoning_tokens"""


@dataclass(slots=True)
class _StoreJob(Generic[T]):
    work: Callable[[sqlite3.Connection], T]
    future: "asyncio.Future[T] | None"
    """None where nobody waits."""
    result: T | None = None
    error: Exception | None = None
    writes: str = ""
    """The method that writes; empty for one that reads."""
    facts: "_Facts[T] | None" = None
    numbered: Sequence[RunEvent] = ()
    """The facts with their numbers, once they are written."""

    @property
    def can_wait(self) -> bool:
        """Whether it waits for other jobs to take it along."""
        return self.future is None


@dataclass(slots=True)
class _Watcher:
    """Who is shown a run's facts, on the loop on which it asked for them."""

    loop: asyncio.AbstractEventLoop
    seen: Callable[[Sequence[RunEvent]], None]
    active: bool = True

    def show(self, facts: Sequence[RunEvent]) -> None:
        """Show facts, unless it has ended meanwhile."""
        if self.active:
            self.seen(facts)


@dataclass(frozen=True, slots=True)
class _Facts(Generic[T]):
    """What a job tells."""

    run_id: RunId
    of: Callable[[T], Sequence[RunEvent]]
    """Gives the facts by what the job's work gave."""


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
        self._synchronous = "FULL"
        self._watching: dict[RunId, list[_Watcher]] = {}
        self._unwritten: list[_StoreJob[object]] = []
        """Facts whose transaction failed."""
        self._jobs: queue.SimpleQueue[_StoreJob[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="codexteam-store", daemon=True)
        self._thread.start()
        self._closed = False

    async def create_run(self, run: RunRecord) -> None:
        """Add a run; repeating it changes nothing."""
        row = (run.run_id, run.goal, run.base, run.state, run.created_at_seconds, _dump(run.settings))
        await self._do(
            lambda db: db.execute("INSERT OR IGNORE INTO run VALUES (?, ?, ?, ?, ?, ?)", row), writes="create_run"
        )

    async def create_fork(self, fork: ForkRecord) -> None:
        """Add a run with its first events; nothing of it is there, or all."""
        run, count = fork.run, len(fork.events)
        row = (run.run_id, run.goal, run.base, run.state, run.created_at_seconds, _dump(run.settings))
        events = [
            (run.run_id, number, at, kind, _dump(payload))
            for number, (at, kind, payload) in enumerate(fork.events, start=1)
        ]
        put = [(space, key, _dump(value)) for space, key, value in fork.values]
        checkpoint = (run.run_id, count, _dump(fork.checkpoint))
        told = [replace(fact, fields={**fact.fields, "event": count}) for fact in fork.facts]

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", row)
            db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", events)
            db.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", checkpoint)
            db.executemany("INSERT OR REPLACE INTO value VALUES (?, ?, ?)", put)
            if fork.replaces is not None:
                db.execute("UPDATE run SET state = ? WHERE run_id = ?", fork.replaces[::-1])

        await self._do(work, writes="create_fork", facts=_Facts(run.run_id, lambda _: told))

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        """Change a run's state."""
        await self._do(
            lambda db: db.execute("UPDATE run SET state = ? WHERE run_id = ?", (state, run_id)), writes="set_run_state"
        )

    async def runs(self) -> list[RunRecord]:
        """Return all runs, newest first."""
        sql = "SELECT run_id, goal, base, state, created_at, settings FROM run ORDER BY created_at DESC, run_id DESC"
        rows = await self._do(lambda db: db.execute(sql).fetchall())
        return [RunRecord(RunId(r[0]), r[1], r[2], r[3], r[4], _load(r[5])) for r in rows]

    async def begin_session(self, session: StoredSession) -> int:
        """Add a session and return its number."""

        def work(db: sqlite3.Connection) -> int:
            last = db.execute("SELECT max(number) FROM sitting WHERE run_id = ?", (session.run_id,)).fetchone()[0]
            number = int(last or 0) + 1
            db.execute(
                "INSERT INTO sitting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(replace(session, number=number))
            )
            return number

        return await self._do(work, writes="begin_session")

    async def end_session(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        """Record how a session ended."""
        sql = "UPDATE sitting SET ended_at = ?, ending = ? WHERE run_id = ? AND number = ?"
        row = (at_seconds, _as_text(ending), run_id, number)
        await self._do(lambda db: db.execute(sql, row), writes="end_session")

    async def sessions(self, run_id: RunId) -> "list[StoredSession]":
        """Return a run's sessions in order."""
        sql = """SELECT run_id, number, version, host, pid, process, started_at, ended_at, ending
                 FROM sitting WHERE run_id = ? ORDER BY number"""
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [StoredSession(*row) for row in rows]

    async def append(
        self,
        run_id: RunId,
        events: Sequence[tuple[float, str, JSONObject]],
        facts: Sequence[Sequence[RunEvent]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
    ) -> int:
        """Append events with their facts and values; return the last sequence number."""
        put = [(space, key, _dump(value)) for space, key, value in values]
        rows = [(at, kind, _dump(payload)) for at, kind, payload in events]

        def told(last: int) -> list[RunEvent]:
            first = last - len(rows) + 1
            return [
                replace(fact, fields={**fact.fields, "event": number})
                for number, of_event in enumerate(facts, start=first)
                for fact in of_event
            ]

        def work(db: sqlite3.Connection) -> int:
            last = db.execute("SELECT max(sequence) FROM event WHERE run_id = ?", (run_id,)).fetchone()[0] or 0
            numbered = [(run_id, last + n, *row) for n, row in enumerate(rows, start=1)]
            db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", numbered)
            db.executemany("INSERT OR REPLACE INTO value VALUES (?, ?, ?)", put)
            return int(last) + len(rows)

        return await self._do(work, writes="append", facts=_Facts(run_id, told))

    async def events(self, run_id: RunId, *, after: int = 0) -> list[StoredEvent]:
        """Return events in order."""
        sql = "SELECT sequence, at, kind, payload FROM event WHERE run_id = ? AND sequence > ? ORDER BY sequence"
        rows = await self._do(lambda db: db.execute(sql, (run_id, after)).fetchall())
        return [StoredEvent(r[0], r[1], r[2], _load(r[3])) for r in rows]

    async def save_checkpoint(self, run_id: RunId, sequence: int, state: JSONObject) -> None:
        """Keep a state; an older one is replaced, a newer one stays."""
        sql = """INSERT INTO checkpoint VALUES (?, ?, ?) ON CONFLICT (run_id) DO UPDATE
                 SET sequence = excluded.sequence, state = excluded.state WHERE excluded.sequence >= sequence"""
        await self._do(lambda db: db.execute(sql, (run_id, sequence, _dump(state))), writes="save_checkpoint")

    async def checkpoint(self, run_id: RunId) -> tuple[int, JSONObject] | None:
        """Return the newest checkpoint."""
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

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        """Store an answer and its facts; the first one stays."""
        usage = astuple(answer.usage)[:4] if answer.usage else (None, None, None, None)
        row = (*_call_row(answer.key), answer.request_hash, _dump(encode_object(answer.answer)), *usage)
        sql = f"""INSERT INTO call (run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash,
                  answer, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens)
                  VALUES ({", ".join("?" * 13)})
                  ON CONFLICT DO UPDATE SET request_hash = excluded.request_hash, answer = excluded.answer,
                  input_tokens = excluded.input_tokens, cached_input_tokens = excluded.cached_input_tokens,
                  output_tokens = excluded.output_tokens, reasoning_tokens = excluded.reasoning_tokens
                  WHERE answer IS NULL"""  # noqa: S608 - only placeholders
        told: _Facts[int] = _Facts(answer.key.agent.run_id, lambda stored: facts if stored else ())
        await self._do(lambda db: db.execute(sql, row).rowcount, writes="record_answer", facts=told)

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        sql = f"SELECT {_ANSWER} FROM call WHERE {_CALL_KEY} AND answer IS NOT NULL"  # noqa: S608 - constants
        row = await self._do(lambda db: db.execute(sql, _call_row(key)).fetchone())
        return _answer(row) if row else None

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        sql = f"SELECT {_ANSWER} FROM call WHERE run_id = ? AND answer IS NOT NULL"  # noqa: S608 - a constant
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [_answer(row) for row in rows]

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        """Return the calls that were sent and not answered."""
        sql = """SELECT run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash,
                 reserved_tokens, reserved_usd, reserved_credits FROM call WHERE run_id = ? AND answer IS NULL"""
        rows = await self._do(lambda db: db.execute(sql, (run_id,)).fetchall())
        return [OpenCall(_call_key(r), r[7], r[8], r[9], r[10]) for r in rows]

    async def record_turn(self, turn: StoredTurn, facts: Sequence[RunEvent] = ()) -> None:
        """Store a finished turn and its facts."""
        snapshot = None if turn.workspace == WorkspaceState() else _dump(encode_object(turn.workspace))
        row = (*_agent_row(turn.agent), turn.turn, _dump({"outputs": list(turn.outputs)}), snapshot)
        sql = "INSERT OR REPLACE INTO turn VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        told: _Facts[object] = _Facts(turn.agent.run_id, lambda _: facts)
        await self._do(lambda db: db.execute(sql, row), writes="record_turn", facts=told)

    async def turns(self, agent: AgentKey, *, after: int = 0) -> list[StoredTurn]:
        """Return an agent's finished turns with a number above `after`, in order."""
        sql = """SELECT turn, outputs, snapshot FROM turn WHERE run_id = ? AND role = ? AND purpose = ?
                 AND task_id = ? AND attempt = ? AND turn > ? ORDER BY turn"""
        rows = await self._do(lambda db: db.execute(sql, (*_agent_row(agent), after)).fetchall())
        return [
            StoredTurn(
                agent,
                r[0],
                tuple(cast("list[JSONObject]", _load(r[1])["outputs"])),
                decode(WorkspaceState, _load(r[2]) if r[2] else {}, f"a stored workspace of {agent.role}, turn {r[0]}"),
            )
            for r in rows
        ]

    def record_facts(self, run_id: RunId, facts: Sequence[RunEvent]) -> None:
        """Write facts with the next transaction; returns at once."""
        self._refuse_closed()
        for fact in facts:
            _dump(fact.fields)  # what cannot be written is an error here, not on the store's thread
        told: _Facts[object] = _Facts(run_id, lambda _: facts)
        self._jobs.put(_StoreJob(_nothing, None, writes="record_facts", facts=told))

    async def facts_recorded(self) -> None:
        """Return once earlier facts are written and shown."""
        await self._do(_nothing)
        if self._unwritten and (error := self._unwritten[0].error) is not None:
            raise _failure(error, self._path)

    async def facts(self, run_id: RunId, *, after: int = 0) -> "list[RunEvent]":
        """Return a run's facts in order."""
        return await self._do(lambda db: read_facts(db, run_id, after=after))

    def watch(self, run_id: RunId, seen: Callable[[Sequence[RunEvent]], None]) -> Callable[[], None]:
        """Show facts to `seen` from now on, until the result is called."""
        watcher, watching = _Watcher(asyncio.get_running_loop(), seen), self._watching.setdefault(run_id, [])
        watching.append(watcher)

        def end() -> None:
            watcher.active = False
            watching.remove(watcher)

        return end

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name."""
        row = (space, key, _dump(value))
        await self._do(lambda db: db.execute("INSERT OR REPLACE INTO value VALUES (?, ?, ?)", row), writes="put")

    def put_soon(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name with the next transaction; returns at once."""
        self._refuse_closed()
        sql, row = "INSERT OR REPLACE INTO value VALUES (?, ?, ?)", (space, key, _dump(value))
        self._jobs.put(_StoreJob(lambda db: db.execute(sql, row), None, writes="put_soon"))

    async def get(self, space: str, key: str) -> JSONObject | None:
        """Return the value under a name."""
        sql = "SELECT value FROM value WHERE space = ? AND key = ?"
        row = await self._do(lambda db: db.execute(sql, (space, key)).fetchone())
        return _load(row[0]) if row else None

    async def list(self, space: str, *, prefix: str = "") -> "list[tuple[str, JSONObject]]":
        """Return the values of a space by key."""
        sql = "SELECT key, value FROM value WHERE space = ? AND substr(key, 1, ?) = ? ORDER BY key"
        rows = await self._do(lambda db: db.execute(sql, (space, len(prefix), prefix)).fetchall())
        return [(row[0], _load(row[1])) for row in rows]

    async def clear(self, space: str) -> int:
        """Remove the values of a space."""
        sql = "DELETE FROM value WHERE space = ?"
        return await self._do(lambda db: db.execute(sql, (space,)).rowcount, writes="clear")

    async def close(self) -> None:
        """Finish what was asked for and close the file. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed")

    async def _do(
        self, work: Callable[[sqlite3.Connection], T], *, writes: str = "", facts: _Facts[T] | None = None
    ) -> T:
        self._refuse_closed()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(cast("_StoreJob[object]", _StoreJob(work, future, writes=writes, facts=facts)))
        # a task that is cancelled while it waits does not take its write back: what was asked for is written
        return await asyncio.shield(future)

    def _work(self) -> None:
        """Run jobs until asked to end; the store's own thread."""
        ended = False
        while not ended:
            group, ended = self._collect()
            group, self._unwritten = [*self._unwritten, *group], []
            if group:
                self._run_group(group)
        self._db.close()

    def _collect(self) -> tuple[Sequence[_StoreJob[object]], bool]:
        """Return the jobs of one transaction, and whether they are the last; facts alone wait a moment for others."""
        group: list[_StoreJob[object]] = []
        wait_seconds: float | None = None
        while len(group) < _GROUP:
            try:
                job = self._jobs.get(block=wait_seconds != 0.0, timeout=wait_seconds)
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
            wait_seconds = _FACTS_WAIT_SECONDS if wait_seconds is None else wait_seconds / 2
            if not job.can_wait:
                wait_seconds = 0.0
        return group, False

    def _run_group(self, group: Sequence[_StoreJob[object]]) -> None:
        try:
            self._sync_for(group)
            self._db.execute(self._begin)
            for job in group:
                self._run_job(job)
            writes = [job.writes for job in group if job.writes]
            _reach_each(writes, "before")
            self._db.execute("COMMIT")
            _reach_each(writes, "after")
        except Exception as error:  # noqa: BLE001 - those who wait for the jobs get the error; without the thread they would wait for ever
            with contextlib.suppress(sqlite3.Error):  # a disk that broke: the next group meets it at its beginning
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            for job in group:
                job.error = job.error or error
        self._unwritten = [job for job in group if job.can_wait and job.error is not None]
        for job in group:
            self._show(job)
            if job.future is not None:
                with contextlib.suppress(RuntimeError):  # a loop that is closed: its tasks are gone, the write is done
                    job.future.get_loop().call_soon_threadsafe(_settle, job.future, job, self._path)

    def _sync_for(self, group: Sequence[_StoreJob[object]]) -> None:
        """Let the disk be waited for where something is written that somebody relies on; facts alone are not."""
        wanted = "FULL" if any(job.writes and not job.can_wait for job in group) else "NORMAL"
        if wanted != self._synchronous:
            self._db.execute(f"PRAGMA synchronous = {wanted}")
            self._synchronous = wanted

    def _run_job(self, job: _StoreJob[object]) -> None:
        job.error = None
        self._db.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._db)
            job.numbered = _write_facts(self._db, job)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # a full disk has rolled everything back already
            self._db.execute("ROLLBACK TO job")
            job.error = error
        self._db.execute("RELEASE job")

    def _show(self, job: _StoreJob[object]) -> None:
        """Show who watches what is written, before who asked hears that it is."""
        if job.error is None and job.numbered and job.facts is not None:
            for watcher in [*self._watching.get(job.facts.run_id, ())]:
                with contextlib.suppress(RuntimeError):  # a loop that is closed: nobody watches any more
                    watcher.loop.call_soon_threadsafe(watcher.show, job.numbered)


def _settle(future: "asyncio.Future[object]", job: _StoreJob[object], path: Path) -> None:
    if future.done():
        return
    if job.error is None:
        future.set_result(job.result)
        return
    future.set_exception(_failure(job.error, path))
    future.exception()  # looked at: the task that waited for it may have been cancelled


def _reach_each(writes: Sequence[str], when: str) -> None:
    for name in writes:
        reach(f"store.{name}.{when}")


def _nothing(_db: sqlite3.Connection) -> None:
    """Write nothing: what is waited for is what comes with it, or before it."""


def _write_facts(db: sqlite3.Connection, job: _StoreJob[object]) -> Sequence[RunEvent]:
    facts = job.facts.of(job.result) if job.facts is not None else ()
    return insert_facts(db, job.facts.run_id, facts) if job.facts is not None and facts else ()


def _failure(error: Exception, path: Path) -> StoreError:
    full = "full" in str(error)
    failure = StoreError(f"{path}: {error}", hint="make room and run `codexteam resume`" if full else "")
    failure.__cause__ = error
    return failure


def _dump(value: JSONObject) -> str:
    # ASCII only: a lone surrogate (a file name that is not UTF-8) cannot be stored as SQLite text
    return json.dumps(value, separators=(",", ":"))


def _as_text(text: str) -> str:
    """Return text that SQLite takes: a lone surrogate is written as its escape."""
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


def _answer(row: Sequence[object]) -> StoredAnswer:
    answer = decode(AnsweredCall, _load(cast("str", row[8])), "a stored answer")
    # what was charged has no column of its own
    charged = None if answer.end.usage is None else answer.end.usage.charged_nano_usd
    usage = None if row[9] is None else Usage(*cast("tuple[int, int, int, int]", tuple(row[9:13])), charged)
    return StoredAnswer(_call_key(row), cast("str", row[7]), answer, usage)
