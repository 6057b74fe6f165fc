"""Detects agents that repeat themselves, from their calls and outputs alone: a resumed agent is judged the same."""

import hashlib
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.agent.tools.tool import PROBLEM_PREFIX
from codexteam.agent.tools.toolbox import ToolCall
from codexteam.agent.transcript import as_bytes
from codexteam.core.ids import JSONObject

#: Repetitions of the same turn, or of the same pair of turns: first a word, then the end.
_TOLD_AT = 3
_STUCK_AT = 5
#: Turns in a row in which every call was wrong.
_WRONG_AT = 8
#: Answers in a row with neither a call nor a text.
_EMPTY_AT = 2

#: The lines of an output that differ each time: its id and how long it took.
_VARYING = re.compile(r"\AChunk ID: .*\nWall time: .*\n")


@dataclass(frozen=True, slots=True)
class Continue:
    """No loop, or one for which the agent gets a `hint`."""

    hint: str = ""


@dataclass(frozen=True, slots=True)
class Looping:
    """The agent is stuck."""

    reason: str


Judgement: TypeAlias = Continue | Looping


@dataclass(slots=True)
class StuckDetector:
    """Judges turn by turn."""

    _turns: deque[bytes] = field(default_factory=lambda: deque(maxlen=2 * _STUCK_AT))
    _wrong: int = 0
    _empty: int = 0

    def after_calls(self, calls: Sequence[ToolCall], outputs: Sequence[JSONObject]) -> Judgement:
        """Judge a turn with tool calls."""
        self._empty = 0
        texts = [str(output.get("output", "")) for output in outputs]
        self._wrong = self._wrong + 1 if all(text.startswith(PROBLEM_PREFIX) for text in texts) else 0
        if self._wrong >= _WRONG_AT:
            return Looping(f"every tool call of {_WRONG_AT} turns in a row was wrong; the last: {texts[-1][:200]}")
        if _waits(calls, texts):
            # looking in on a command that runs is patience; the command has a time limit of its own
            return Continue()
        self._turns.append(_signature(calls, texts))
        return max(self._repeats(1), self._repeats(2), key=lambda found: (found[0], -found[1]))[2]

    def after_nothing(self) -> Judgement:
        """Judge an answer with neither a call nor a text."""
        self._empty += 1
        if self._empty >= _EMPTY_AT:
            return Looping(f"{_EMPTY_AT} answers in a row had neither a tool call nor a text")
        return Continue("Your answer was empty. Call a tool, or give the final answer.")

    def _repeats(self, period: int) -> tuple[int, int, Judgement]:
        """Count how often the last `period` turns stand at the end, one after the other."""
        turns = list(self._turns)
        if period > 1 and len(set(turns[-period:])) == 1:
            return 0, period, Continue()
        last = turns[-period:]
        count = 0
        while last and turns[len(turns) - period * (count + 1) : len(turns) - period * count] == last:
            count += 1
            if period * (count + 1) > len(turns):
                break
        what = "the same tool calls" if period == 1 else "the same two turns"
        if count >= _STUCK_AT:
            return 2, period, Looping(f"{what} gave the same outputs {count} times in a row")
        if count >= _TOLD_AT:
            hint = f"You made {what} {count} times and got the same outputs. Try something else, or answer."
            return 1, period, Continue(hint)
        return 0, period, Continue()


def _waits(calls: Sequence[ToolCall], texts: Sequence[str]) -> bool:
    looks = all(call.name == "write_stdin" for call in calls)
    return looks and all("\nProcess running with session ID " in text[:400] for text in texts)


def _signature(calls: Sequence[ToolCall], texts: Sequence[str]) -> bytes:
    asked = [[call.name, call.arguments] for call in calls]
    seen = [_VARYING.sub("", text) for text in texts]
    return hashlib.sha256(as_bytes([asked, seen])).digest()
