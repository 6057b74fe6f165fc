"""Whatever a sandbox sends to the proxy: one plain request continues, or nothing does and a 400 comes back."""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st

from codexteam.adapters.sandbox.network.policy import ProxyPolicy
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.network.proxy_request import (
    BODY_LIMIT_BYTES,
    BadRequestError,
    read_chunk_head,
    read_head,
)
from tests.fuzz.mutations import ByteEdit, byte_edits, edited_bytes
from tests.fuzz.running import TIMEOUT, fuzz, require

pytestmark = TIMEOUT


def _mostly(good: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """Give one of the good in two of three cases: of requests that are wrong in five ways only one way is seen."""
    return st.one_of(st.sampled_from(good), st.sampled_from(good), st.sampled_from(odd))


#: Stands for the port of the host that listens.
_PORT = b":8080"
_METHODS = _mostly([b"GET", b"POST", b"CONNECT"], [b"HEAD", b"OPTIONS", b"TRACE", b"trace", b"TRACK", b"G@T", b""])
_TARGETS = _mostly(
    [b"http://localhost:8080/", b"http://localhost:8080", b"http://localhost:8080/a?b=c#d", b"localhost:8080"],
    [
        b"HTTP://LOCALHOST.:8080/", b"http://[::1]:80/", b"[::1]:443", b"[::1", b"[localhost]:8080", b"http:x", b"http://",
        b"http:///a", b"/", b"*", b"http://user@localhost:8080/", b"http://localhost:8080\\@evil.test/", b"http://[x]/",
        b"http://localhost:-1/", b"http://localhost:99999999999999999999/", b"http://localhost:+80/", b"::1:443",
        b"http://localhost:8_0/", b"http://localhost:8080/\tHTTP/1.1\nX:y\n\nGET /", b"http://localhost:8080/\x0b\x85",
        b"http://localhost:8080/\xc3\xa9", b"http://localhost:8080/\r\nX: y", b"\thttp://localhost:8080/",
    ],
)  # fmt: skip
_VERSIONS = _mostly([b"HTTP/1.1"], [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2", b"http/1.1", b"HTTP/1.1 "])
_LINES = _mostly(
    [b"Host: example.org", b"X-A: b", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Authorization: Bearer mine"],
    [
        b"Content-Length: 0", b"Content-Length: -5", b"Transfer-Encoding: Chunked", b"TE: trailers", b"Upgrade: h2c",
        b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 5_0", b"Content-Length: " + b"9" * 5000,
        b"content-length: 5", b"Content-Length : 5", b"Content-Length:\t5", b"Content-Length:\x0b5", b"Content-Length:",
        b"Transfer-Encoding:\x0bchunked", b"Trailer: X", b"Connection: close, Content-Length",
        b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity", b"Transfer_Encoding: chunked",
        b" folded: x", b"\tfolded", b"no colon", b": no name", b"X: a\rb", b"X: a\nY: b", b"X: a\0b",
    ],
)  # fmt: skip
_BODIES = _mostly(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"],
    [
        b"hello, and more", b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", b"-5\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello and more\r\n0\r\n\r\n", b"f" * 40 + b"\r\n", b"\r\n", b"z\r\n", b"5\r\nhel", b"a" * 5000,
    ],
)  # fmt: skip
_ENDS = st.sampled_from([*[b"\r\n"] * 14, b"\n", b"\r"])
_CASE = st.tuples(
    st.tuples(_METHODS, _TARGETS, _VERSIONS, st.lists(_LINES, max_size=4), _ENDS, _BODIES),
    st.one_of(st.just([]), st.just([]), byte_edits()),
    st.lists(st.integers(0, 400), max_size=5),
)
_Parts = tuple[bytes, bytes, bytes, list[bytes], bytes, bytes]
_TUNNEL: tuple[_Parts, list[ByteEdit], list[int]] = (
    (b"CONNECT", b"localhost:8080", b"HTTP/1.1", [b"Host: example.org"], b"\r\n", b""),
    [],
    [],
)
_TOKEN = "tok-canary"


@dataclass
class Pieces:
    """A connection whose bytes are known beforehand."""

    pieces: list[bytes]
    came: bytearray = field(default_factory=bytearray)

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, data: bytes) -> None:
        self.came += data

    def write_eof(self) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is to be done."""


class Host:
    """A host that keeps what came, and answers once all of it is there."""

    def __init__(self) -> None:
        self.seen = b""
        self.serving: list[asyncio.Task[None]] = []

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(1 << 20)
        self.seen = head
        while not self._whole() and (more := await reader.read(1 << 20)):
            self.seen += more
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def _whole(self) -> bool:
        head, _, body = self.seen.partition(b"\r\n\r\n")
        if found := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
            return len(body) >= int(found[1])
        return b"chunked" not in head.lower() or body.endswith(b"0\r\n\r\n")


def _bytes_of(parts: _Parts) -> bytes:
    method, target, version, lines, end, body = parts
    return end.join([b" ".join([method, target, version]), *lines, b"", b""]) + body


def _head_holds(case: tuple[_Parts, list[ByteEdit], list[int]]) -> str:
    parts, edits, _ = case
    whole = edited_bytes(_bytes_of(parts), edits)
    head, mark, rest = whole.partition(b"\r\n\r\n")
    with contextlib.suppress(BadRequestError):  # the one way to say that it is none
        read_chunk_head(rest.partition(b"\r\n")[0])
    try:
        request = read_head(head + mark)
    except BadRequestError as error:
        require(str(error).isascii() and str(error).isprintable(), "what is said of it is one line of plain text")
        return "refused"
    require(0 <= request.body_bytes <= BODY_LIMIT_BYTES, "a body has a length that can be")
    require(request.method.upper() not in ("TRACE", "TRACK"), "a request that is answered with itself is refused")
    if request.method == "CONNECT":
        return "tunnel"
    sent = request.head(secret=_TOKEN)
    require(sent.endswith(b"\r\n\r\n") and sent.count(b"\r\n\r\n") == 1, "it is one head")
    require(not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", sent), "no reader finds another end of a line")
    first, *lines = sent.removesuffix(b"\r\n\r\n").split(b"\r\n")
    require(re.fullmatch(rb"\S+ /[\x21-\x7e]* HTTP/1\.1", first) is not None, "the first line is three visible words")
    names = [line.partition(b":")[0].lower() for line in lines]
    framing = [name for name in names if name in (b"content-length", b"transfer-encoding")]
    require(len(framing) <= 1, "how long it is, is said once")
    require(names.count(b"host") == names.count(b"authorization") == 1, "one host, one token")
    return "request"


def test_any_head_is_one_plain_request_or_refused() -> None:
    met = fuzz("proxy head", _CASE, _head_holds, short=600)
    assert all(met[word] > 1 for word in ("refused", "request")), met
    # by chance hardly one is tried
    assert _head_holds(_TUNNEL) == "tunnel"


def _connection_holds(case: tuple[_Parts, list[ByteEdit], list[int]]) -> str:
    return asyncio.run(_serve(*case))


async def _serve(parts: _Parts, edits: list[ByteEdit], cuts: list[int]) -> str:
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
    host = Host()
    server = await asyncio.start_server(host.connected, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    whole = edited_bytes(_bytes_of(parts), edits).replace(_PORT, b":%d" % port)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    pipe = Pieces([piece for start, end in pairwise(places) if (piece := whole[start:end])])
    async with server, asyncio.timeout(30):
        await Proxy(ProxyPolicy((f"localhost:{port}",), {"localhost": _TOKEN})).serve(pipe)
        await asyncio.gather(*host.serving)
    require(not failures, f"nothing is told elsewhere: {failures}")
    found = re.match(rb"HTTP/1\.1 (200|400|403|502) ", pipe.came)
    require(found is not None, f"it is answered: {bytes(pipe.came)!r}")
    require(_TOKEN.encode() not in pipe.came, "the token never comes back")
    tunnel = pipe.came.startswith(b"HTTP/1.1 200 Connection")
    require(tunnel or host.seen.count(b"HTTP/1.") <= 1, f"the host gets one request: {host.seen!r}")
    return "tunnel" if tunnel else found[1].decode() if found else ""


def test_any_connection_is_answered_and_nothing_else_is_told() -> None:
    met = fuzz("proxy connection", _CASE, _connection_holds, short=400)
    assert all(met[word] > 1 for word in ("200", "400")), met
    assert _connection_holds(_TUNNEL) == "tunnel"
