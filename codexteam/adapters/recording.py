"""What a model answered, written down, and played back.

A recording is JSON Lines: a header with the version of its form, then one line for each call. It has the name of the
call within its run, how the call ended and how long it took; no header, no key, no run id and no encrypted reasoning,
which no other account could use.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import IO, cast

from codexteam.core.ids import CallKey
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.errors import ConfigError, StoreError, SurroundingsError
from codexteam.ports.answer_codec import decode_answer, encode_answer
from codexteam.ports.clock import Clock
from codexteam.ports.endings import stopped
from codexteam.ports.model import (
    Answered,
    CallEnd,
    CallFailed,
    ContextExceeded,
    CutShort,
    FailureKind,
    ItemDone,
    Model,
    ModelEvent,
    ModelRequest,
    TextDelta,
)

#: Of a recording's form. A reader takes its own version and older ones.
RECORDING_VERSION = 1
_HEADER = "codexteam_recording"


def call_name(key: CallKey) -> JSONObject:
    """Give what names a call in every run that takes the same decisions."""
    name: JSONObject = {
        "role": key.agent.role,
        "purpose": key.purpose.value,
        "task_id": key.agent.task_id,
        "attempt": key.agent.attempt,
        "turn": key.turn,
    }
    if key.purpose is not key.agent.purpose:
        # two agents of one role may both compact
        name["agent_purpose"] = key.agent.purpose.value
    return name


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

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask; see `Model.stream`."""
        began_at = self._clock.monotonic_seconds()
        inner = cast("AsyncGenerator[ModelEvent, None]", self._inner.stream(request))
        async with aclosing(inner) as events:
            async for event in events:
                if isinstance(event, Answered | CutShort | ContextExceeded | CallFailed):
                    self._write(request, event, self._clock.monotonic_seconds() - began_at)
                yield event

    async def close(self) -> None:
        """Finish the file, and close the inner model."""
        if self._open_file is not None:
            self._open_file.close()
            self._open_file = None
        await self._inner.close()

    def _write(self, request: ModelRequest, end: CallEnd, seconds: float) -> None:
        answer = encode_answer(end)
        answer.pop("response_id", None)
        if "items" in answer:
            answer["items"] = [_without_encrypted(item) for item in cast("list[JSONObject]", answer["items"])]
        line: JSONObject = {
            "call": call_name(request.key),
            "model": request.settings.model,
            "seconds": round(seconds, 3),
            "answer": answer,
        }
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":"))
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
        self._reading: asyncio.Future[dict[str, JSONObject]] | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer; see `Model.stream`.

        Raises:
            ConfigError: the file is no recording.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(read_recording, self._file))
        lines = await asyncio.shield(self._reading)
        name = call_name(request.key)
        line = lines.get(_index(name))
        if line is None:
            wanted = ", ".join(f"{field}={value}" for field, value in name.items())
            message = f"{self._file} has no answer for the call {wanted}"
            yield CallFailed(FailureKind.REJECTED, message)
            return
        if self._speed is not None:
            await self._clock.sleep(_seconds(line) / self._speed)
        end = decode_answer({"response_id": "", **cast("JSONObject", line["answer"])})
        if isinstance(end, Answered):
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


def read_recording(file: Path) -> dict[str, JSONObject]:
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
    lines: dict[str, JSONObject] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            line = cast("JSONObject", json.loads(row))
            decode_answer({"response_id": "", **cast("JSONObject", line["answer"])})
            lines[_index(cast("JSONObject", line["call"]))] = line
        except (ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
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


def _without_encrypted(item: JSONObject) -> JSONObject:
    return {name: value for name, value in item.items() if name != "encrypted_content"}


def _index(name: JSONObject) -> str:
    return json.dumps(name, sort_keys=True)


def _seconds(line: JSONObject) -> float:
    seconds = line.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _texts(item: JSONObject) -> list[str]:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]  # type: ignore[misc]  # checked in the condition
