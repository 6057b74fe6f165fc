"""When an exec-server is taken for one that was stopped."""

import asyncio
import json

import pytest

from codexteam.adapters.codex_cli.hands import Pulse


class Server:
    """An exec-server that refuses what it does not know, until it is stopped."""

    def __init__(self) -> None:
        self.stopped = False
        self.asked: list[bytes] = []
        self.said: list[bytes] = []
        self.pulse = Pulse(self.take, silence_seconds=0.01)

    async def take(self, data: bytes) -> None:
        self.asked.append(data)
        if not self.stopped:
            refusal = {"error": {"code": -32601, "message": "no such method"}, "id": json.loads(data)["id"]}
            self.said.append(json.dumps(refusal).encode())
            asyncio.get_running_loop().call_soon(self.pulse.heard)


async def test_a_silent_server_that_answers_is_left_alone() -> None:
    server = Server()
    watching = asyncio.create_task(server.pulse.stops())
    async with asyncio.timeout(20):
        while len(server.asked) < 3:
            await asyncio.sleep(0.001)
    assert not watching.done()
    server.stopped = True
    async with asyncio.timeout(20):
        await watching


async def test_its_answers_to_us_are_told_from_others() -> None:
    server = Server()
    await server.take(b'{"id": "codexteam-pulse"}')
    (refusal,) = server.said
    assert Pulse.is_answer(refusal)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 1, "result": {}}',
        b'{"id": 2, "result": "codexteam-pulse"}',
        b"codexteam-pulse",
        b'["codexteam-pulse"]',
        b'{"id": "codexteam-pulse", "x": "' + b"x" * 5_000 + b'"}',
    ],
)
def test_what_is_no_answer_to_us_is_passed_on(line: bytes) -> None:
    assert not Pulse.is_answer(line)
