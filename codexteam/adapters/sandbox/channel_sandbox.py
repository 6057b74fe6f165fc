"""The port `Sandbox` over a channel: what docker and bubblewrap share once their server runs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError, result_of
from codexteam.adapters.sandbox.server.output import Output
from codexteam.config.settings import SandboxMode
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean
from codexteam.errors import HostLost, SandboxLost
from codexteam.ports.sandbox import (
    Command,
    CommandResult,
    Remark,
    SandboxFacts,
    SandboxSpec,
    Session,
    SessionOutput,
    Snapshot,
)

_RESTARTED = (
    "The sandbox's server was started again before this command: the files are as they were, "
    "sessions and background processes are gone."
)
_UNKNOWN = (
    "The sandbox's server ended while this ran ({why}) and was started again: whether it finished is unknown, "
    "the files are as it left them, sessions and background processes are gone."
)


class ChannelSandbox:
    """A sandbox whose commands go through one server; starts the server again when it dies.

    `respawn` gives a ready channel to a new server over the same workspace, or raises SandboxLost; `shut` removes
    everything.
    """

    def __init__(
        self,
        *,
        facts: SandboxFacts,
        spec: SandboxSpec,
        environment: Mapping[str, str],
        channel: Channel,
        respawn: Callable[[], Awaitable[Channel]],
        shut: Callable[[], Awaitable[None]],
    ) -> None:
        self._facts = facts
        self._spec = spec
        self._environment = {**environment, **spec.environment}
        self._channel = channel
        self._respawn = respawn
        self._shut = shut
        self._closed = False
        self._lost: SandboxLost | None = None
        self._tell_restart = False
        self._lock = asyncio.Lock()

    @property
    def facts(self) -> SandboxFacts:
        return self._facts

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What the last snapshot left out or changed."""
        return self._channel.remarks

    async def run(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> CommandResult:
        """Run a command to its end; several may run at once. Cancelling kills its process tree."""
        channel = await self._live()
        try:
            result = await channel.run(command, self._environment, on_output=on_output)
        except BlockingIOError:
            channel = await self._emptied()
            try:
                result = await channel.run(command, self._environment, on_output=on_output)
            except (ChannelClosedError, BlockingIOError) as error:
                raise self._again_lost() from error
        except ChannelClosedError as error:
            await self._live()
            self._take_note()
            return _unknown(str(error))
        note = self._take_note()
        return _with_note(result, f"{note} {result.note}".strip()) if note else result

    async def open(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> Session:
        """Start a command that is talked to later."""
        channel = await self._live()
        return ChannelSession(channel, command, self._environment, note=self._take_note(), on_output=on_output)

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Return a regular file's bytes; None when there is none."""
        for _ in range(2):
            try:
                return await (await self._live()).read_file(path, limit_bytes=limit_bytes)
            except ChannelClosedError:
                continue
            except OSError as error:  # the agent may have taken its rights away, or made its name up
                raise ValueError(clean(error.strerror or str(error))) from error
        raise self._again_lost()

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        """Write a file whole, folders included; `None` deletes it."""
        if self._spec.mode is SandboxMode.READ_ONLY:
            raise PermissionError(f"{clean(path)} cannot be written: the sandbox is read-only")
        for _ in range(2):  # writing the same again changes nothing
            try:
                return await (await self._live()).write_file(path, data, executable=executable)
            except ChannelClosedError:
                continue
        raise self._again_lost()

    async def snapshot(self, destination: Path) -> Snapshot | None:
        """Take the work out into `destination`, a file; None when nothing differs from the base."""
        if self._spec.mode is SandboxMode.READ_ONLY and self._spec.restore is None:
            return None
        limit = self._spec.limits.workspace_bytes
        for _ in range(2):
            try:
                channel = await self._live()
                return await channel.snapshot(
                    self._spec.base.commit, destination, max_bytes=limit, paths=self._spec.paths
                )
            except ChannelClosedError:
                continue
            except BlockingIOError:
                await self._emptied()
            except GitInSandboxError as error:
                raise SandboxLost(f"the work in {self._facts.name} cannot be taken out: {clean(str(error))}") from error
            except OSError as error:
                if error.filename is not None:  # the host's disk
                    raise
                raise ValueError(f"in the sandbox, {clean(error.strerror or str(error))}") from error
        raise self._again_lost()

    async def close(self) -> None:
        """Remove it with all that is in it. May be repeated."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._channel.close()
        finally:
            await self._shut()

    async def _live(self) -> Channel:
        """Return a channel that works, a new one if need be."""
        if self._channel.closed is None and not self._closed:
            return self._channel
        async with self._lock:
            if self._closed:
                raise SandboxLost(f"the sandbox {self._facts.name} is closed")
            if self._lost is not None:
                raise self._lost
            if self._channel.closed is not None:
                why = self._channel.closed
                await self._channel.close()
                try:
                    self._channel = await self._respawn()
                except (SandboxLost, ChannelClosedError) as error:
                    kind = HostLost if isinstance(error, HostLost) else SandboxLost
                    self._lost = kind(f"the sandbox {self._facts.name} is gone: {clean(why)}; {clean(str(error))}")
                    raise self._lost from error
                self._tell_restart = True
            return self._channel

    async def _emptied(self) -> Channel:
        """Start the server again where processes of earlier commands have taken all that may run: they go with it."""
        await self._channel.close()
        return await self._live()

    def _again_lost(self) -> SandboxLost:
        self._lost = SandboxLost(f"the sandbox {self._facts.name} ended again right after it was started again")
        return self._lost

    def _take_note(self) -> str:
        due, self._tell_restart = self._tell_restart, False
        return _RESTARTED if due else ""


class ChannelSession:
    """A command that outlives one tool call."""

    def __init__(
        self,
        channel: Channel,
        command: Command,
        environment: Mapping[str, str],
        *,
        note: str = "",
        on_output: Callable[[bytes], None] | None = None,
    ) -> None:
        """Start it; `note` is what is said of the sandbox once it has ended, `on_output` gets what it prints."""
        self._channel = channel
        self._note = note
        self._limit = command.output_limit_bytes
        self._output = Output(self._limit)
        dialogue = on_output is not None
        self._number, self._end = channel.start_session(
            command, environment, on_output or self._take, dialogue=dialogue
        )
        self._result: CommandResult | None = None

    def _take(self, data: bytes) -> None:
        self._output.add(data)

    async def read(self, *, wait_seconds: float) -> SessionOutput:
        """Return what was printed since the last read; wait at most `wait_seconds`, less when the command ends."""
        await asyncio.wait([self._end], timeout=wait_seconds)
        if self._result is None and self._end.done():
            result = self._ended(self._end)
            self._result = _with_note(result, f"{self._note} {result.note}".strip())
        output, self._output = self._output, Output(self._limit)
        return SessionOutput(output=output.value(), output_bytes=output.total, result=self._result)

    def printed(self) -> bytes:
        """Return what the next `read` will give of what was printed so far, and leave it there."""
        return self._output.value()

    @staticmethod
    def _ended(end: "asyncio.Future[tuple[JSONObject, bytes]]") -> CommandResult:
        error = end.exception()
        if error is None:
            return result_of(*end.result())
        return _unknown(str(error))

    async def write(self, data: bytes) -> None:
        """Write to its standard input (its terminal, when it has one)."""
        if self._end.done():
            return
        try:
            await self._channel.write(self._number, data)
        except ChannelClosedError:
            return  # the next read says so

    async def kill(self) -> None:
        """Kill its whole process tree; nothing happens when it has ended."""
        self._channel.kill(self._number)
        await asyncio.wait([self._end], timeout=10.0)


def _unknown(why: str) -> CommandResult:
    note = _UNKNOWN.format(why=clean(why))
    return CommandResult(None, None, timed_out=False, output=b"", output_bytes=0, wall_seconds=0.0, note=note)


def _with_note(result: CommandResult, note: str) -> CommandResult:
    return CommandResult(
        exit_code=result.exit_code,
        signal=result.signal,
        timed_out=result.timed_out,
        output=result.output,
        output_bytes=result.output_bytes,
        wall_seconds=result.wall_seconds,
        killed_for_output=result.killed_for_output,
        note=note,
    )
