"""A store that forgets everything when the test ends. Values pass through JSON, as in the real one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from codexteam.core.ids import AgentKey, CallKey, RunId
from codexteam.core.json_types import JSONObject
from codexteam.ports.store import OpenCall, RunRecord, StoredAnswer, StoredEvent, StoredSitting, StoredTurn


def _copy(value: JSONObject) -> JSONObject:
    return cast("JSONObject", json.loads(json.dumps(value)))


class MemoryStore:
    """The Store port in dictionaries."""

    def __init__(self) -> None:
        self._runs: dict[RunId, RunRecord] = {}
        self._sittings: dict[RunId, list[StoredSitting]] = {}
        self._events: dict[RunId, list[tuple[float, str, JSONObject]]] = {}
        self._checkpoints: dict[RunId, tuple[int, JSONObject]] = {}
        self._open: dict[CallKey, OpenCall] = {}
        self._answers: dict[CallKey, StoredAnswer] = {}
        self._turns: dict[AgentKey, dict[int, StoredTurn]] = {}
        self._values: dict[str, dict[str, JSONObject]] = {}

    def rows(self, run_id: RunId) -> list[tuple[float, str, JSONObject]]:
        """What is stored of a run's events, for a look without waiting."""
        return list(self._events.get(run_id, []))

    async def create_run(self, run: RunRecord) -> None:
        self._runs.setdefault(run.run_id, replace(run, settings=_copy(run.settings)))

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        if run_id in self._runs:
            self._runs[run_id] = replace(self._runs[run_id], state=state)

    async def runs(self) -> list[RunRecord]:
        return sorted(self._runs.values(), key=lambda run: (run.created_at_seconds, run.run_id), reverse=True)

    async def begin_sitting(self, sitting: StoredSitting) -> int:
        kept = self._sittings.setdefault(sitting.run_id, [])
        kept.append(replace(sitting, number=len(kept) + 1))
        return len(kept)

    async def end_sitting(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        kept = self._sittings[run_id]
        kept[number - 1] = replace(kept[number - 1], ended_at_seconds=at_seconds, ending=ending)

    async def sittings(self, run_id: RunId) -> list[StoredSitting]:
        return list(self._sittings.get(run_id, []))

    async def append(self, run_id: RunId, events: Sequence[tuple[float, str, JSONObject]]) -> int:
        kept = self._events.setdefault(run_id, [])
        kept += [(at, kind, _copy(payload)) for at, kind, payload in events]
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

    async def record_answer(self, answer: StoredAnswer) -> None:
        self._open.pop(answer.key, None)
        self._answers.setdefault(answer.key, replace(answer, answer=_copy(answer.answer)))

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        return self._answers.get(key)

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        return [answer for key, answer in self._answers.items() if key.agent.run_id == run_id]

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        return [call for key, call in self._open.items() if key.agent.run_id == run_id]

    async def record_turn(self, turn: StoredTurn) -> None:
        outputs = tuple(_copy(item) for item in turn.outputs)
        self._turns.setdefault(turn.agent, {})[turn.turn] = replace(turn, outputs=outputs)

    async def turns(self, agent: AgentKey) -> list[StoredTurn]:
        return [turn for _, turn in sorted(self._turns.get(agent, {}).items())]

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        self._values.setdefault(space, {})[key] = _copy(value)

    async def get(self, space: str, key: str) -> JSONObject | None:
        return self._values.get(space, {}).get(key)

    async def list(self, space: str, *, prefix: str = "") -> list[tuple[str, JSONObject]]:
        return [(key, value) for key, value in sorted(self._values.get(space, {}).items()) if key.startswith(prefix)]

    async def close(self) -> None:
        return None
