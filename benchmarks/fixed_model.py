"""A Responses API server that takes a fixed time for each answer, and next to none of its own.

It asks for one command a turn and then ends, whatever it is sent. It knows nothing else: its answers are made before it
listens, so that what is measured is who asks.
"""

import asyncio

from codexteam.core.ids import JSONObject
from tests.scripted_api.prompt_cache import Prompt
from tests.scripted_api.script import Reply
from tests.scripted_api.wire import head_events, last_event

_DONE = b'"function_call_output"'
#: In the metadata of the agent that goes before the others.
_WARMING = b'"warming"'


class FixedModel:
    """What is answered to a request with so many tool outputs in it."""

    def __init__(self, turns: list[JSONObject], latency_seconds: float) -> None:
        self._answers = [_stream([item], number) for number, item in enumerate(turns)]
        self._latency_seconds = latency_seconds
        self._server: asyncio.Server | None = None

    async def listen(self) -> str:
        """Take connections until the process ends; give the base URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def answer(self, body: bytes, transport: asyncio.Transport) -> None:
        """Answer after the fixed time; at once to who only warms up."""
        answer = self._answers[min(body.count(_DONE), len(self._answers) - 1)]
        seconds = 0.0 if _WARMING in body else self._latency_seconds
        asyncio.get_running_loop().call_later(seconds, transport.write, answer)


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with one request after the other, each with its length."""

    def __init__(self, model: FixedModel) -> None:
        self._model = model
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head_end = self._data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._data[:head_end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        end = head_end + 4 + length
        if len(self._data) >= end:
            body = bytes(self._data[head_end + 4 : end])
            del self._data[:end]
            assert self._transport is not None
            self._model.answer(body, self._transport)


def _stream(items: list[JSONObject], number: int) -> bytes:
    reply = Reply(items)
    # in one piece: what reading many small ones costs is measured in `stream_clients`
    events = [
        *head_events(reply, f"resp_{number}"),
        last_event(reply, f"resp_{number}", Prompt(1000, 0, []), "bench-model"),
    ]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
