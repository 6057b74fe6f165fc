"""What a model answered, written down, and played back.

A recording is JSON Lines: a header with the version of its form, then one line for each call. It has the name of the
call within its run, how the call ended and how long it took; no header, no key, no run id and no encrypted reasoning,
which no other account could use.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from codexteam.core.codec import StoredForm, decode, encode, encode_object, stored
from codexteam.core.ids import CallKey, JSONObject, JSONValue, Purpose
from codexteam.errors import ConfigError, StoreError, SurroundingsError
from codexteam.ports.clock import Clock
from codexteam.ports.model import (
    CallEnd,
    CallFailed,
    CallFailureKind,
    ContextExceeded,
    CutShort,
    ItemDone,
    Model,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    Sending,
    TextDelta,
)
from codexteam.system.cancellation import stopped

#: Of a recording's form. A reader takes its own version and older ones.
RECORDING_VERSION = 1
_HEADER = "codexteam_recording"


@stored(StoredForm(tag="", optional=("agent_purpose",)))
@dataclass(frozen=True, slots=True)
class CallName:
    """What names a call in every run that takes the same decisions."""

    role: str
    purpose: Purpose
    task_id: str
    attempt: int
    turn: int
    agent_purpose: Purpose | None = None
    """Set where it is not the call's: two agents of one role may both compact."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in encode_object(self).items())


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One line of a recording."""

    call: CallName
    model: str
    seconds: float
    answer: CallEnd


def call_name(key: CallKey) -> CallName:
    """Return a call's name."""
    agent = key.agent
    other = agent.purpose if key.purpose is not agent.purpose else None
    return CallName(agent.role, key.purpose, agent.task_id, agent.attempt, key.turn, other)


class RecordingModel:
    """A model that writes down how the calls to another one end."""

    def __init__(self, inner: Model, file: Path, clock: Clock, *, secrets: Sequence[str] = ()) -> None:
        """Nothing is written before the first call ends; a recording that is there already is continued.

        Args:
            inner: Who answers. Closed by `close`.
            file: The recording.
            clock: For the calls' durations.
            secrets: Values that must not be in the file, should a model say them.
        """
        self._inner = inner
        self._file = file
        self._clock = clock
        self._secrets = [json.dumps(secret)[1:-1] for secret in secrets if secret]
        self._open_file: IO[str] | None = None

    @property
    def recorded(self) -> Model:
        """The model whose answers are recorded."""
        return self._inner

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask; see `Model.stream`."""
        began_at = self._clock.monotonic_seconds()
        inner = cast("AsyncGenerator[ModelEvent, None]", self._inner.stream(request))
        async with aclosing(inner) as events:
            async for event in events:
                if isinstance(event, ModelAnswer | CutShort | ContextExceeded | CallFailed):
                    self._write(request, event, self._clock.monotonic_seconds() - began_at)
                yield event

    async def close(self) -> None:
        """Finish the file, and close the inner model."""
        if self._open_file is not None:
            self._open_file.close()
            self._open_file = None
        await self._inner.close()

    def _write(self, request: ModelRequest, end: CallEnd, seconds: float) -> None:
        line = RecordedCall(call_name(request.key), request.settings.model, round(seconds, 3), _kept(end))
        text = json.dumps(encode(line), ensure_ascii=True, separators=(",", ":"))
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        try:
            if self._open_file is None:
                self._open_file = self._begin()
            # whole lines, at once: what a crash leaves can be played back
            self._open_file.write(text + "\n")
            self._open_file.flush()
        except OSError as error:
            raise SurroundingsError(
                f"{self._file}: the recording cannot be written: {error.strerror or error}",
                hint="choose another file for --record, or leave it out",
            ) from error

    def _begin(self) -> IO[str]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._file.exists() and self._file.stat().st_size > 0:
            written = self._file.read_bytes()
            _check_header(self._file, written.partition(b"\n")[0].decode("utf-8", errors="replace"))
            continued = self._file.open("a", encoding="ascii", newline="\n")
            # what a kill left of a line would spoil the next one
            continued.truncate(written.rfind(b"\n") + 1)
            return continued
        opened = self._file.open("w", encoding="ascii", newline="\n")
        opened.write(json.dumps({_HEADER: RECORDING_VERSION}) + "\n")
        return opened


class ReplayModel:
    """A model that answers as a recording says, by role, purpose, task, attempt and turn."""

    def __init__(self, file: Path, clock: Clock, *, speed: float | None = None) -> None:
        """The file is read with the first call.

        Args:
            file: The recording.
            clock: For the delays.
            speed: How much faster than recorded the answers come; None is at once.
        """
        self._file = file
        self._clock = clock
        self._speed = speed
        self._reading: asyncio.Future[dict[CallName, RecordedCall]] | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer; see `Model.stream`.

        Raises:
            ConfigError: the file is not a recording.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(read_recording, self._file))
        lines = await asyncio.shield(self._reading)
        name = call_name(request.key)
        line = lines.get(name)
        if line is None:
            message = f"{self._file} has no answer for the call {name}"
            yield CallFailed(CallFailureKind.REJECTED, message)
            return
        yield Sending()
        if self._speed is not None:
            await self._clock.sleep(line.seconds / self._speed)
        end = line.answer
        if isinstance(end, ModelAnswer):
            for item in end.items:
                for text in _texts(item):
                    yield TextDelta(text)
                yield ItemDone(item)
        yield end

    async def close(self) -> None:
        """Let go of the file, should it still be read."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await stopped(reading)


def read_recording(file: Path) -> dict[CallName, RecordedCall]:
    """Read a recording; of several lines for one call the last one counts.

    Raises:
        ConfigError: it cannot be read; names the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the recording cannot be read: {error}", hint="check the path") from error
    rows = text.splitlines()
    _check_header(file, rows[0] if rows else "")
    lines: dict[CallName, RecordedCall] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            line = decode(RecordedCall, json.loads(row), "a call")
            lines[line.call] = line
        except (ValueError, StoreError) as error:
            if number == len(rows) and not text.endswith("\n"):
                break  # the writer was killed in this line
            raise ConfigError(
                f"{file}:{number}: not a line of a recording: {error}", hint="record the run again"
            ) from error
    return lines


def _check_header(file: Path, row: str) -> None:
    try:
        header: JSONValue = json.loads(row)
    except ValueError:
        header = None
    version = header.get(_HEADER) if isinstance(header, dict) else None
    if not isinstance(version, int):
        raise ConfigError(
            f'{file}:1: not a recording: its first line must be {{"{_HEADER}": {RECORDING_VERSION}}}',
            hint="recordings are written by `codexteam run --record FILE`",
        )
    if version > RECORDING_VERSION:
        raise ConfigError(
            f"{file}:1: a recording of version {version}; this codexteam reads versions up to {RECORDING_VERSION}",
            hint="use the codexteam that wrote it, or a newer one",
        )


def _kept(end: CallEnd) -> CallEnd:
    """Return what a recording keeps of an end: no id of the service's, and nothing that only one account can read."""
    match end:
        case ModelAnswer(items=items):
            return replace(end, items=_without_encrypted(items), response_id="")
        case CutShort(items=items):
            return replace(end, items=_without_encrypted(items))
        case ContextExceeded() | CallFailed():
            return end


def _without_encrypted(items: Sequence[JSONObject]) -> tuple[JSONObject, ...]:
    return tuple({name: value for name, value in item.items() if name != "encrypted_content"} for item in items)


def _texts(item: JSONObject) -> list[str]:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]  # type: ignore[misc]  # checked in the condition
