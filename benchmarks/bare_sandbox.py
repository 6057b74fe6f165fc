"""A folder and bare processes behind the Sandbox port. It confines nothing: for measuring what everything else costs.

Commands are started by this process, or by a `BareStarter`: one long-lived process that starts those of many sandboxes,
as the real adapters have one in each sandbox.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSession
from codexteam.adapters.sandbox.program import PROGRAM_NAME, server_program, start_command
from codexteam.config.settings import NetworkPolicy, SandboxMode
from codexteam.ports.sandbox import (
    WORKSPACE,
    Command,
    CommandResult,
    Remark,
    SandboxFacts,
    Session,
    SessionOutput,
    Snapshot,
)

_READ_BYTES = 1 << 16


class BareSession:
    """One process and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command) -> None:
        self._process = process
        self._limit_bytes = command.output_limit_bytes
        self._started_at = time.monotonic()
        self._unread = bytearray()
        self._total_bytes = 0
        self._killed_for_output = False
        self._reader = asyncio.ensure_future(self._collect())

    async def _collect(self) -> CommandResult:
        output = self._process.stdout
        assert output is not None
        while data := await output.read(_READ_BYTES):
            self._total_bytes += len(data)
            self._unread += data
            if self._total_bytes > self._limit_bytes:
                self._killed_for_output = True
                self._signal()
        code = await self._process.wait()
        return CommandResult(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=False,
            output=b"",
            output_bytes=self._total_bytes,
            wall_seconds=time.monotonic() - self._started_at,
            killed_for_output=self._killed_for_output,
        )

    async def read(self, *, wait_seconds: float) -> SessionOutput:
        done, _ = await asyncio.wait({self._reader}, timeout=wait_seconds)
        output = bytes(self._unread)
        self._unread.clear()
        return SessionOutput(output, len(output), self._reader.result() if done else None)

    def printed(self) -> bytes:
        return bytes(self._unread)

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def kill(self) -> None:
        self._signal()
        await self._reader

    def _signal(self) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)


class BareStarter:
    """The program that runs inside real sandboxes, as a bare process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # as small as a sandbox's
        self._environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"}

    def open(self, command: Command) -> Session:
        """Start a command; its `cwd` is a path of this machine."""
        return ChannelSession(self._channel, command, self._environment)


@asynccontextmanager
async def bare_starter() -> AsyncIterator[BareStarter]:
    """Give a starter that lasts as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"workspace": folder, "private": f"{folder}/private", "base_git": None, "alone": False}
        program = Path(folder, PROGRAM_NAME)
        await asyncio.to_thread(program.write_bytes, server_program())
        process = await asyncio.create_subprocess_exec(
            *start_command(sys.executable, str(program), json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        channel = Channel(process.stdout, process.stdin)
        try:
            await channel.ready()
            yield BareStarter(channel)
        finally:
            await channel.close()
            await process.wait()


class BareSandbox:
    """Runs commands in a folder, without any bounds."""

    def __init__(self, folder: Path, starter: BareStarter | None = None) -> None:
        self.folder = folder
        self._starter = starter
        self._sessions: list[BareSession] = []
        self.remarks: tuple[Remark, ...] = ()

    @property
    def facts(self) -> SandboxFacts:
        return SandboxFacts("bare", str(self.folder), "none", SandboxMode.DANGER_FULL_ACCESS, NetworkPolicy())

    async def run(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> CommandResult:
        session = await self.open(command)
        seen = await session.read(wait_seconds=command.timeout_seconds)
        if seen.result is None:
            await session.kill()
            return CommandResult(None, None, True, seen.output, seen.output_bytes, command.timeout_seconds)
        if on_output is not None:
            on_output(seen.output)
        result = seen.result
        return CommandResult(
            result.exit_code, result.signal, False, seen.output, result.output_bytes, result.wall_seconds
        )

    async def open(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> Session:
        if on_output is not None:
            raise NotImplementedError("no benchmark listens to a session")
        if self._starter is not None:
            return self._starter.open(replace(command, cwd=str(self._path(command.cwd))))
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=self._path(command.cwd),
            stdin=asyncio.subprocess.PIPE if command.tty else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        session = BareSession(process, command)
        self._sessions = [known for known in self._sessions if not known._reader.done()]
        self._sessions.append(session)
        return session

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        file = self._path(path)
        if not file.is_file():
            return None
        if file.stat().st_size > limit_bytes:
            raise ValueError(f"{path} is larger than {limit_bytes} bytes")
        return file.read_bytes()

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        file = self._path(path)
        if data is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    async def snapshot(self, destination: Path) -> Snapshot | None:
        """Nothing is taken out: what that costs is another benchmark's."""
        return None

    async def close(self) -> None:
        for session in self._sessions:
            await session.kill()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    def _path(self, path: str) -> Path:
        relative = os.path.relpath(os.path.normpath(os.path.join(WORKSPACE, path)), WORKSPACE)  # noqa: PTH118
        return self.folder / relative
