"""Runs the commands of `[codexteam.hooks]` on the host, as the user: bounded in time and in what is read of them."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codexteam.config.hooks import HookCommand, HookEvent, HookSettings
from codexteam.core.ids import JSONObject
from codexteam.ports.hooks import HookOutcome
from codexteam.system.cancellation import stopped, to_its_end

#: What is kept of each stream; the rest is read and dropped.
_OUTPUT_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class HookCommands:
    """The port `Hooks`."""

    settings: HookSettings
    folder: Path
    """Where they run: the user's repository."""
    environment: Mapping[str, str]
    """The user's own."""
    common: JSONObject
    """What every event says: `run_id`, `cwd`, `git_dir`, ..."""

    def has(self, event: HookEvent) -> bool:
        """As `Hooks` says."""
        return bool(self.settings.commands(event))

    async def run(self, event: HookEvent, fields: JSONObject) -> tuple[HookOutcome, ...]:
        """As `Hooks` says."""
        said: JSONObject = {"hook_event_name": event.value, **self.common, **fields}
        data = json.dumps(said).encode() + b"\n"
        return tuple([await self._run(command, data) for command in self.settings.commands(event)])

    async def _run(self, hook: HookCommand, data: bytes) -> HookOutcome:
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                hook.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.folder,
                env=dict(self.environment),
                start_new_session=True,  # a Ctrl-C is ours alone, and what it starts ends with it
            )
        except (OSError, ValueError) as error:
            return HookOutcome(hook.command, problem=f"it cannot be started: {error}")
        said = asyncio.ensure_future(_talk(process, data))
        try:
            async with asyncio.timeout(hook.timeout):
                stdout, stderr = await asyncio.shield(said)
        except TimeoutError:
            return HookOutcome(hook.command, problem=f"it did not end within {hook.timeout:g} s")
        finally:
            await to_its_end(_end(process, said))
        code = await process.wait()
        if code < 0:
            return HookOutcome(hook.command, None, stdout, stderr, f"it was killed by signal {-code}")
        return HookOutcome(hook.command, code, stdout, stderr)


async def _talk(process: asyncio.subprocess.Process, data: bytes) -> tuple[str, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.gather(_kept(process.stdout), _kept(process.stderr))
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it is given
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    stdout, stderr = await reading
    await process.wait()
    return stdout, stderr


async def _kept(stream: asyncio.StreamReader) -> str:
    kept = bytearray()
    while data := await stream.read(1 << 16):
        kept += data[: _OUTPUT_BYTES - len(kept)]
    return kept.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process, said: "asyncio.Future[tuple[str, str]]") -> None:
    """End what is left of it, with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()
    await stopped(said)
