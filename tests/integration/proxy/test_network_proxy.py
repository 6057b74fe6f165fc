"""The proxy and its relay, over loopback: names decide, denials are told and counted, secrets stay outside."""

import ast
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codexteam.adapters import network_relay
from codexteam.adapters.network_policy import ProxyPolicy
from codexteam.adapters.network_proxy import Proxy, serve_unix
from codexteam.core.json_types import JSONObject
from tests.scripted_api.server import kept_port

Ask = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A host that keeps what it was asked and answers each connection once."""
    seen: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: 5" in head.lower():
            head += await reader.readexactly(5)
        if b"chunked" in head:
            head += await reader.readuntil(b"0\r\n\r\n")
        seen.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


@asynccontextmanager
async def proxied(proxy: Proxy, tmp_path: Path) -> AsyncIterator[Ask]:
    """A proxy on a socket of its own; gives what asks it."""
    path = tmp_path / "proxy.sock"
    server = await serve_unix(proxy, path)

    async def ask(data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        return answer

    async with server:
        yield ask


def policy(*hosts: str, secrets: dict[str, str] | None = None) -> ProxyPolicy:
    return ProxyPolicy(hosts, secrets or {})


async def test_a_listed_host_is_reached_by_http_and_by_a_tunnel(tmp_path: Path) -> None:
    async with upstream() as (port, seen), proxied(Proxy(policy(f"127.0.0.1:{port}")), tmp_path) as ask:
        answer = await ask(f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n".encode())
        assert answer.endswith(b"hi")
        assert seen[0].startswith(b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"other" not in seen[0]
        tunnel = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nGET /through HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        answer = await ask(tunnel)
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert answer.endswith(b"hi")
        assert seen[1].startswith(b"GET /through")


async def test_what_is_not_listed_is_denied_and_told(tmp_path: Path) -> None:
    told: list[JSONObject] = []
    proxy = Proxy(policy("example.org", "*.example.com"), on_denied=told.append)
    async with proxied(proxy, tmp_path) as ask:
        for target in ("CONNECT evil.test:443", "GET http://evil.test/", "CONNECT example.com:443"):
            answer = await ask(f"{target} HTTP/1.1\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"cannot be reached from this sandbox" in answer
            assert b"Allowed hosts: example.org, *.example.com" in answer
    assert [(entry["host"], entry["port"]) for entry in told] == [
        ("evil.test", 443),
        ("evil.test", 80),
        ("example.com", 443),
    ]


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("example.org", "EXAMPLE.org.", 443, True),
        ("example.org", "example.org", 22, False),
        ("example.org:22", "example.org", 22, True),
        ("example.org:22", "example.org", 443, False),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "badexample.org", 443, False),
        ("example.org", "sub.example.org", 443, False),
        ("example.org", "93.184.215.14", 443, False),
        ("93.184.215.14", "93.184.215.14", 443, True),
        ("[::1]:8080", "::1", 8080, True),
    ],
)
def test_names_decide(entry: str, host: str, port: int, *, allowed: bool) -> None:
    assert policy(entry).allows(host, port) is allowed


@pytest.mark.parametrize(
    ("entry", "host", "address", "allowed"),
    [
        ("example.org", "example.org", "93.184.215.14", True),
        ("git.corp", "git.corp", "10.0.0.7", True),
        ("*.corp", "git.corp", "10.0.0.7", False),
        ("example.org", "example.org", "127.0.0.1", False),
        ("example.org", "example.org", "169.254.169.254", False),
        ("example.org", "example.org", "::ffff:127.0.0.1", False),
        ("example.org", "example.org", "::1", False),
        ("example.org", "example.org", "0.0.0.0", False),
        ("localhost", "localhost", "127.0.0.1", True),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254", True),
    ],
)
def test_where_a_name_leads_decides_too(entry: str, host: str, address: str, *, allowed: bool) -> None:
    assert policy(entry).allows_address(host, 443, address) is allowed


async def test_a_listed_name_that_leads_inside_is_denied(tmp_path: Path) -> None:
    async with upstream() as (port, seen):

        async def rebound(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        proxy = Proxy(policy(f"rebound.test:{port}"), resolve=rebound)
        async with proxied(proxy, tmp_path) as ask:
            answer = await ask(f"CONNECT rebound.test:{port} HTTP/1.1\r\n\r\n".encode())
        assert b"403" in answer
        assert b"this machine" in answer
        assert not seen


async def test_a_secret_is_added_outside_and_replaces_what_came(tmp_path: Path) -> None:
    async with upstream() as (port, seen):
        rules = policy(f"localhost:{port}", secrets={"localhost": "tok-canary"})
        async with proxied(Proxy(rules), tmp_path) as ask:
            answer = await ask(f"GET http://localhost:{port}/ HTTP/1.1\r\nAuthorization: Bearer mine\r\n\r\n".encode())
        assert answer.endswith(b"hi")
        assert b"Authorization: Bearer tok-canary" in seen[0]
        assert b"mine" not in seen[0]
    assert "tok-canary" not in repr(rules)


async def test_bodies_go_through_and_a_second_request_behind_one_does_not(tmp_path: Path) -> None:
    async with upstream() as (port, seen), proxied(Proxy(policy(f"127.0.0.1:{port}")), tmp_path) as ask:
        head = f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\n"
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"
        await ask(head.encode() + b"Content-Length: 5\r\n\r\nhello" + smuggled)
        await ask(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n" + smuggled)
    assert seen[0].endswith(b"hello")
    assert seen[1].endswith(b"5\r\nhello\r\n0\r\n\r\n")
    assert not any(b"smuggled" in request for request in seen)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET https://example.org/ HTTP/1.1\r\n\r\n",
        b"GET http://user@example.org/ HTTP/1.1\r\n\r\n",
        b"GET http://example.org/ HTTP/2.0\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\n X: folded\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"CONNECT example.org:99999 HTTP/1.1\r\n\r\n",
        b"CONNECT exa\x00mple.org:443 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET http://example.org/" + b"a" * 70_000,
        b"",
    ],
)
async def test_what_is_not_plainly_a_request_is_refused(tmp_path: Path, request_bytes: bytes) -> None:
    async with proxied(Proxy(policy("example.org")), tmp_path) as ask:
        assert (await ask(request_bytes)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "."], ids=["long", "empty", "dot"])
async def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    async with proxied(Proxy(policy("*.example.com")), tmp_path) as ask:
        answer = await ask(f"CONNECT {name}.example.com:443 HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))


async def test_a_host_that_does_not_answer_is_said(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with proxied(Proxy(policy(f"127.0.0.1:{port}")), tmp_path) as ask:
        answer = await ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 ")


async def test_the_relay_carries_many_connections_over_one_pair_of_streams(free_port: int) -> None:
    """The relay as a real process; what it carries is echoed, 2 MB each, ten at once."""

    async def echo(stream: network_relay.Stream) -> None:
        while data := await stream.read():
            await stream.write(data)
        stream.close()

    settings = json.dumps({"port": free_port, "socket": None})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", network_relay.__file__, settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readexactly(9)
    mux = asyncio.create_task(network_relay.Mux(process.stdout, process.stdin, echo).run())

    async def talk(number: int) -> None:
        data = bytes([number]) * (2 << 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(data)
        sending = asyncio.create_task(writer.drain())
        assert await reader.readexactly(len(data)) == data
        await sending
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(talk(number) for number in range(10)))
    process.stdin.close()
    await process.wait()
    await mux


def test_the_relay_is_written_for_the_interpreters_of_old_images() -> None:
    ast.parse(Path(network_relay.__file__).read_text(), feature_version=(3, 7))


@pytest.fixture
def free_port() -> Iterator[int]:
    with kept_port() as kept:
        yield int(kept.getsockname()[1])
