"""A store that forgets everything when the test ends. Values pass through JSON, as in the real one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import AgentKey, CallKey, JSONObject, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import ForkRecord, OpenCall, RunRecord, StoredAnswer, StoredEvent, StoredSession, StoredTurn

T = TypeVar("T")


def _copy(value: JSONObject) -> JSONObject:
    return cast("JSONObject", json.loads(json.dumps(value)))


def _through_json(value: T) -> T:
    return decode(type(value), _copy(encode_object(value)), "a value in memory")


class MemoryStore:
    """The Store port in dictionaries."""

    def __init__(self) -> None:
        self._runs: dict[RunId, RunRecord] = {}
        self._sessions: dict[RunId, list[StoredSession]] = {}
        self._events: dict[RunId, list[tuple[float, str, JSONObject]]] = {}
        self._checkpoints: dict[RunId, tuple[int, JSONObject]] = {}
        self._open: dict[CallKey, OpenCall] = {}
        self._answers: dict[CallKey, StoredAnswer] = {}
        self._turns: dict[AgentKey, dict[int, StoredTurn]] = {}
        self._values: dict[str, dict[str, JSONObject]] = {}
        self._facts: dict[RunId, list[RunEvent]] = {}
        self._watching: dict[RunId, list[Callable[[Sequence[RunEvent]], None]]] = {}

    def rows(self, run_id: RunId) -> list[tuple[float, str, JSONObject]]:
        """What is stored of a run's events, for a look without waiting."""
        return list(self._events.get(run_id, []))

    async def create_run(self, run: RunRecord) -> None:
        self._runs.setdefault(run.run_id, replace(run, settings=_copy(run.settings)))

    async def create_fork(self, fork: ForkRecord) -> None:
        run_id = fork.run.run_id
        assert run_id not in self._runs
        await self.create_run(fork.run)
        nothing: list[Sequence[RunEvent]] = [()] * (len(fork.events) - 1)
        await self.append(run_id, fork.events, [*nothing, fork.facts], fork.values)
        await self.save_checkpoint(run_id, len(fork.events), fork.checkpoint)
        if fork.replaces is not None:
            await self.set_run_state(*fork.replaces)

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        if run_id in self._runs:
            self._runs[run_id] = replace(self._runs[run_id], state=state)

    async def runs(self) -> list[RunRecord]:
        return sorted(self._runs.values(), key=lambda run: (run.created_at_seconds, run.run_id), reverse=True)

    async def begin_session(self, session: StoredSession) -> int:
        kept = self._sessions.setdefault(session.run_id, [])
        kept.append(replace(session, number=len(kept) + 1))
        return len(kept)

    async def end_session(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        kept = self._sessions[run_id]
        kept[number - 1] = replace(kept[number - 1], ended_at_seconds=at_seconds, ending=ending)

    async def sessions(self, run_id: RunId) -> list[StoredSession]:
        return list(self._sessions.get(run_id, []))

    async def append(
        self,
        run_id: RunId,
        events: Sequence[tuple[float, str, JSONObject]],
        facts: Sequence[Sequence[RunEvent]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
    ) -> int:
        for space, key, value in values:
            await self.put(space, key, value)
        kept = self._events.setdefault(run_id, [])
        first = len(kept) + 1
        kept += [(at, kind, _copy(payload)) for at, kind, payload in events]
        for number, told in enumerate(facts, start=first):
            self.record_facts(run_id, [replace(fact, fields={**fact.fields, "event": number}) for fact in told])
        return len(kept)

    async def events(self, run_id: RunId, *, after: int = 0) -> list[StoredEvent]:
        kept = self._events.get(run_id, [])
        return [StoredEvent(n, *row) for n, row in enumerate(kept, start=1) if n > after]

    async def save_checkpoint(self, run_id: RunId, sequence: int, state: JSONObject) -> None:
        if run_id not in self._checkpoints or self._checkpoints[run_id][0] <= sequence:
            self._checkpoints[run_id] = (sequence, _copy(state))

    async def checkpoint(self, run_id: RunId) -> tuple[int, JSONObject] | None:
        return self._checkpoints.get(run_id)

    async def open_call(self, call: OpenCall) -> None:
        if call.key not in self._answers:
            self._open[call.key] = call

    async def close_call(self, key: CallKey) -> None:
        self._open.pop(key, None)

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        self._open.pop(answer.key, None)
        if answer.key not in self._answers:
            self._answers[answer.key] = replace(answer, answer=_through_json(answer.answer))
            self.record_facts(answer.key.agent.run_id, facts)

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        return self._answers.get(key)

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        return [answer for key, answer in self._answers.items() if key.agent.run_id == run_id]

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        return [call for key, call in self._open.items() if key.agent.run_id == run_id]

    async def record_turn(self, turn: StoredTurn, facts: Sequence[RunEvent] = ()) -> None:
        self.record_facts(turn.agent.run_id, facts)
        outputs, workspace = tuple(_copy(item) for item in turn.outputs), _through_json(turn.workspace)
        self._turns.setdefault(turn.agent, {})[turn.turn] = replace(turn, outputs=outputs, workspace=workspace)

    async def turns(self, agent: AgentKey, *, after: int = 0) -> list[StoredTurn]:
        return [turn for number, turn in sorted(self._turns.get(agent, {}).items()) if number > after]

    def record_facts(self, run_id: RunId, facts: Sequence[RunEvent]) -> None:
        kept = self._facts.setdefault(run_id, [])
        new = [
            replace(fact, fields=_copy(fact.fields), sequence=number)
            for number, fact in enumerate(facts, start=len(kept) + 1)
        ]
        kept += new
        for seen in self._watching.get(run_id, []) if new else ():
            seen(new)

    async def facts_recorded(self) -> None:
        return None

    async def facts(self, run_id: RunId, *, after: int = 0) -> "list[RunEvent]":
        return self._facts.get(run_id, [])[after:]

    def watch(self, run_id: RunId, seen: Callable[[Sequence[RunEvent]], None]) -> Callable[[], None]:
        watching = self._watching.setdefault(run_id, [])
        watching.append(seen)
        return lambda: watching.remove(seen)

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        self._values.setdefault(space, {})[key] = _copy(value)

    def put_soon(self, space: str, key: str, value: JSONObject) -> None:
        self._values.setdefault(space, {})[key] = _copy(value)

    async def get(self, space: str, key: str) -> JSONObject | None:
        return self._values.get(space, {}).get(key)

    async def list(self, space: str, *, prefix: str = "") -> list[tuple[str, JSONObject]]:
        return [(key, value) for key, value in sorted(self._values.get(space, {}).items()) if key.startswith(prefix)]

    async def clear(self, space: str) -> int:
        return len(self._values.pop(space, {}))

    async def close(self) -> None:
        return None
