"""A model that plays a script, for tests of everything above the wire."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import CallKey, JSONObject
from codexteam.ports.model import (
    CallEnd,
    CallFailed,
    ContextExceeded,
    CutShort,
    ItemDone,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    Sending,
)

#: What an answer that is given as items alone is billed.
USAGE = Usage(input_tokens=100, cached_input_tokens=0, output_tokens=20, reasoning_tokens=0)


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that comes once an event is set; `asked` is set when it is asked for."""

    play: "Play"
    until: asyncio.Event
    asked: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """Events as they are; the last one is the end."""

    events: Sequence[ModelEvent]


Play: TypeAlias = CallEnd | Sequence[JSONObject] | Events | Held | Exception
"""An end (an answer's items are handed out before it), the items of an answer, or what to raise."""

CallName: TypeAlias = tuple[str, str, str, int, int]
"""Role, purpose, task id, attempt, turn."""


def name_of(key: CallKey) -> CallName:
    """Give what a script names a call by."""
    return (key.agent.role, key.purpose.value, key.agent.task_id, key.agent.attempt, key.turn)


class ScriptedModel:
    """Plays answers: in order, by call name, or as a function says. Fails on a call that the script does not have."""

    def __init__(self, script: Sequence[Play] | Mapping[CallName, Play] | Callable[[ModelRequest], Play]) -> None:
        self.requests: list[ModelRequest] = []
        """In the order they were asked."""
        self.closed = False
        self.open_streams = 0
        self._script = script
        self._played: set[CallName | int] = set()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        play = self._take(request)
        self.open_streams += 1
        try:
            if not isinstance(play, Exception):
                yield Sending()
            while isinstance(play, Held):
                if play.asked is not None:
                    play.asked.set()
                await play.until.wait()
                play = play.play
            for event in _events(play):
                yield event
        finally:
            self.open_streams -= 1

    async def close(self) -> None:
        self.closed = True

    def assert_complete(self) -> None:
        """Fail when the script has answers that nobody asked for."""
        if callable(self._script):
            return
        names = set(self._script) if isinstance(self._script, Mapping) else set(range(len(self._script)))
        left = names - self._played
        assert not left, f"never asked for: {sorted(left, key=str)}"

    def _take(self, request: ModelRequest) -> Play:
        name = name_of(request.key)
        if callable(self._script):
            return self._script(request)
        if isinstance(self._script, Mapping):
            assert name in self._script, f"the script has no answer for {name}"
            assert name not in self._played, f"asked twice: {name}"
            self._played.add(name)
            return self._script[name]
        number = len(self.requests) - 1
        assert number < len(self._script), f"the script has {len(self._script)} answers; one more was asked for: {name}"
        self._played.add(number)
        return self._script[number]


def _events(play: Play) -> list[ModelEvent]:
    match play:
        case Exception():
            raise play
        case Events():
            return list(play.events)
        case ModelAnswer():
            return [*_items(play.items), play]
        case CutShort() | ContextExceeded() | CallFailed():
            return [play]
        case Held():
            raise TypeError("held answers are waited for before")
        case _:
            items = tuple(play)
            return [*_items(items), ModelAnswer(items, USAGE, "resp_scripted", _refusal(items))]


def _items(items: Sequence[JSONObject]) -> list[ModelEvent]:
    return [ItemDone(item) for item in items]


def _refusal(items: Sequence[JSONObject]) -> str | None:
    for item in items:
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                return str(part.get("refusal"))
    return None
