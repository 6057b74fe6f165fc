"""Whether an exec-server still answers: who works in a sandbox can stop it, and its command would be waited for in vain.

Nothing is heard of one whose command takes long, either. So one that has been silent for a while is asked for something
that no exec-server knows, which it refuses at once.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Final

from codexteam.system.cancellation import awake_timeout

#: How long an exec-server may say nothing before it is asked, and how long it may take to answer, also on a busy machine.
SILENCE_SECONDS: Final = 30.0
_ID: Final = "codexteam-pulse"
_QUESTION: Final = json.dumps({"id": _ID, "method": "codexteam/pulse", "params": {}}).encode() + b"\n"
#: An answer to it is no longer than this.
_ANSWER_BYTES: Final = 4_096


class Pulse:
    """That of one exec-server."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """Take the way to its standard input."""
        self._write = write
        self._silence_seconds = silence_seconds
        self._heard = asyncio.Event()

    def heard(self) -> None:
        """Note that it has said something."""
        self._heard.set()

    @staticmethod
    def is_answer(line: bytes | bytearray) -> bool:
        """Return whether a line is its answer to us, which nobody else asked for."""
        if len(line) > _ANSWER_BYTES or _ID.encode() not in line:
            return False
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(said, dict) and said.get("id") == _ID

    async def stops(self) -> None:
        """Return once it does not answer any more."""
        while True:
            self._heard.clear()
            if await self._says_something():
                continue
            await self._write(_QUESTION)
            if not await self._says_something():
                return

    async def _says_something(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with awake_timeout(self._silence_seconds):
                await self._heard.wait()
        return self._heard.is_set()
