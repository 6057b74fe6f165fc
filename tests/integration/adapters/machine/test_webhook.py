"""A webhook, on loopback."""

import asyncio
import json
import time

import pytest

from codexteam.adapters.machine.webhook import Webhook
from codexteam.core.ids import JSONObject
from codexteam.report.notices import Notice

DONE = Notice("finished", "green: every gate passed", {"result": "green", "exit_code": 0})


async def posted(answer: bytes | None, lines: list[str], *, seconds: float = 20.0) -> tuple[list[bytes], float]:
    """Tell a server of two notices; give what it got, and how long the end took. None never answers."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
        )
        got.append(head + await reader.readexactly(length))
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/services/T0/s3cret"
    webhook = Webhook(url, seconds=seconds, run_id="r-1", goal="Add it.", warn=lines.append)
    webhook.tell(DONE)
    webhook.tell(Notice("stalled", "qa is silent", {}))
    begun = time.monotonic()
    await webhook.finish()
    took = time.monotonic() - begun
    server.close()
    await server.wait_closed()
    return got, took


async def test_a_notice_is_posted_as_json_that_chat_services_show() -> None:
    lines: list[str] = []
    got, _ = await posted(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", lines)

    bodies: list[JSONObject] = sorted(
        (json.loads(one.partition(b"\r\n\r\n")[2]) for one in got), key=lambda body: str(body["event"])
    )
    assert bodies[0] == {
        "text": "codexteam r-1: green: every gate passed",
        "event": "finished",
        "run": "r-1",
        "goal": "Add it.",
        "result": "green",
        "exit_code": 0,
    }
    assert (len(bodies), lines) == (2, [])


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404 Not Found"), (None, "no answer in")],
)
async def test_one_that_fails_is_one_line_without_its_secret(answer: bytes | None, words: str) -> None:
    lines: list[str] = []
    _, took = await posted(answer, lines, seconds=20.0 if answer else 0.3)

    [line] = lines
    assert words in line
    assert "s3cret" not in line
    assert took < 15


async def test_an_address_that_is_none_is_one_line() -> None:
    lines: list[str] = []
    webhook = Webhook("not an address", seconds=5, run_id="r", goal="g", warn=lines.append)
    webhook.tell(DONE)
    await webhook.finish()

    assert len(lines) == 1
