"""The host's side of a sandbox's channel, with a server that says what the test says."""

import asyncio
import gc
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.protocol import ChannelClosedError
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.ports.sandbox import BaseSource, Command, SandboxFacts, SandboxSpec
from tests.support_cancelling import stop_at_each_step


@dataclass
class Server:
    """The other end: `asked` has what came, `answer` says something."""

    reader: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    asked: list[JSONObject] = field(default_factory=list)
    slow: bool = False
    """Takes nothing, as one whose pipe is full."""

    def write(self, data: bytes, /) -> None:
        (size,) = struct.unpack(">I", data[:4])
        self.asked.append(json.loads(data[8 : 8 + size]))

    async def drain(self) -> None:
        while self.slow:
            await asyncio.sleep(0)

    def close(self) -> None:
        self.reader.feed_eof()

    def answer(self, header: JSONObject | bytes, body: bytes = b"") -> None:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.reader.feed_data(struct.pack(">II", len(head), len(body)) + head + body)

    def refuse(self) -> None:
        self.answer({"kind": "error", "id": self.asked[0]["id"], "error": "os", "errno": 2, "message": "no folder"})


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_of_a_refusal_that_nobody_waits_for_any_more_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(slow=True)
    channel = Channel(server.reader, server)
    reading = asyncio.ensure_future(channel.read_file("a.txt", limit_bytes=10))
    await turns()
    reading.cancel()
    await asyncio.wait([reading])
    server.refuse()
    await turns()
    await channel.close()
    del reading
    gc.collect()  # of an error that nobody took, asyncio tells as its future is thrown away
    assert caplog.text == ""


async def test_a_server_that_nests_its_words_too_deep_is_gone_at_once() -> None:
    server = Server()
    channel = Channel(server.reader, server)
    reading = asyncio.ensure_future(channel.read_file("a.txt", limit_bytes=10))
    await turns()
    server.answer(b"[" * 200_000)
    with pytest.raises(ChannelClosedError, match="the server is gone"):
        async with asyncio.timeout(60):
            await reading
    await channel.close()


def spec_of(folder: Path) -> SandboxSpec:
    base = BaseSource(CommitId("0" * 40), folder / "root.tar", CommitId("0" * 40))
    agent = AgentKey(RunId("run"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    return SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())


async def test_a_command_stopped_while_its_server_restarts_is_stopped(tmp_path: Path) -> None:
    async def work() -> object:
        first, second = Server(), Server()

        async def respawn() -> Channel:
            await asyncio.sleep(0)
            return Channel(second.reader, second)

        async def shut() -> None:
            await asyncio.sleep(0)

        spec = spec_of(tmp_path)
        sandbox = ChannelSandbox(
            facts=SandboxFacts("test", "test", "", spec.mode, spec.network),
            spec=spec,
            environment={},
            channel=Channel(first.reader, first),
            respawn=respawn,
            shut=shut,
        )
        running = asyncio.ensure_future(sandbox.run(Command(("true",))))
        try:
            while not first.asked:
                await asyncio.sleep(0)
            first.close()
            return await running
        finally:
            running.cancel()
            await sandbox.close()

    async def nothing_left(where: str) -> None:
        await turns()
        assert len(asyncio.all_tasks()) == 1, where

    await stop_at_each_step(work, nothing_left)
