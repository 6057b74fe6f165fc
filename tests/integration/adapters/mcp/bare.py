"""A sandbox that confines nothing: the program inside every sandbox as a local process, over a folder of the test."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.program import PROGRAM_NAME, server_program, server_settings, start_command
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, CommitId, Purpose, RunId
from codexteam.errors import SandboxLost
from codexteam.ports.sandbox import BaseSource, Command, Sandbox, SandboxFacts, SandboxSpec, Session

_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}


@asynccontextmanager
async def bare_sandbox(work: Path) -> AsyncIterator[Sandbox]:
    """Give one over a folder, which stands for the workspace."""
    settings = server_settings(
        workspace=str(work), private=str(work.parent / "private"), alone=False, output_cap_bytes=64 << 10
    )
    program = work.parent / PROGRAM_NAME
    program.write_bytes(server_program())
    process = await asyncio.create_subprocess_exec(
        *start_command(sys.executable, str(program), settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_ENV,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    channel = Channel(process.stdout, process.stdin)
    await channel.ready()

    async def gone() -> Channel:
        raise SandboxLost("gone")

    async def shut() -> None:
        await process.wait()

    key = AgentKey(RunId("20261121-0231-7f3a"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    mode, network = SandboxMode.WORKSPACE_WRITE, NetworkPolicy()
    base = BaseSource(CommitId("0" * 40), work, CommitId("0" * 40))
    sandbox = _InFolder(
        facts=SandboxFacts("bare", "bare-1", "none", mode, network),
        spec=SandboxSpec(key, base, mode, network, SandboxLimits()),
        environment=_ENV,
        channel=channel,
        respawn=gone,
        shut=shut,
    )
    sandbox.work = work
    try:
        yield sandbox
    finally:
        await sandbox.close()


class _InFolder(ChannelSandbox):
    """What names the workspace works in the folder."""

    work: Path

    async def open(self, command: Command, **more: object) -> Session:
        words = [
            str(self.work) + word[5:] if word == "/work" or word.startswith("/work/") else word for word in command.argv
        ]
        return await super().open(replace(command, argv=words, cwd=str(self.work)), **more)  # type: ignore[arg-type]
