"""Runs codexteam's own commands as processes."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codexteam.adapters.machine.bound_start import bound_to_this_process
from codexteam.system.cancellation import together

#: The longest line that a command prints: an answer may be in it.
_LINE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """How a command ended."""

    code: int
    out: bytes
    err: bytes


class OwnCommands:
    """The command line of this very installation, in a folder, with options that every command gets."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        """Take where commands work, and what stands before each."""
        self._folder = folder
        self._start = (sys.executable, "-m", "codexteam", *options)

    async def run(self, words: Sequence[str]) -> EndedCommand:
        """Run a command to its end; it is told to end if the caller is cancelled."""
        process = await asyncio.create_subprocess_exec(
            *self._start,
            *words,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        return EndedCommand(process.returncode or 0, out, err)

    def spawn(self, words: Sequence[str], said: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start a command that outlives this process; its standard error goes to `said`."""
        return subprocess.Popen(
            (*self._start, *words),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )

    async def follow(
        self,
        words: Sequence[str],
        given: bytes,
        *,
        started: Callable[["asyncio.subprocess.Process"], None],
        on_line: Callable[[bytes], None],
        on_said: Callable[[bytes], None],
    ) -> int:
        """Run a command to its end and return its exit code; it is told to end when this process has ended.

        Args:
            words: the command.
            given: its standard input.
            started: gets the process, to send it signals; those of the terminal do not reach it.
            on_line: gets each line of its standard output.
            on_said: gets each line of its standard error.
        """
        process = await asyncio.create_subprocess_exec(
            *bound_to_this_process(signal.SIGTERM),
            *self._start,
            *words,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_BYTES,
        )
        started(process)
        try:
            await together(_write(process.stdin, given), _read(process.stdout, on_line), _read(process.stderr, on_said))
        except BaseException:
            if process.returncode is None:
                process.terminate()
            raise
        finally:
            await process.wait()
        return process.returncode or 0


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    stream.write(data)
    with suppress(ConnectionError):  # it has ended without a look at it, and says why
        await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader | None, take: Callable[[bytes], None]) -> None:
    while stream is not None and (line := await stream.readline()):
        take(line.rstrip(b"\n"))
