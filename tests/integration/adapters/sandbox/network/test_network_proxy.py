"""The proxy and its relay, over loopback: names decide, denials are told and counted, secrets stay outside."""

import ast
import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.network import relay as network_relay
from codexteam.adapters.sandbox.network.policy import ProxyPolicy, bearer_tokens
from codexteam.adapters.sandbox.network.proxy import Proxy, serve_unix
from codexteam.adapters.sandbox.network.upstream import Upstreams, read_upstreams
from codexteam.core.ids import JSONObject
from codexteam.errors import SurroundingsError
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
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", "169.254.169.254", False),
        ("*.corp", "git.corp", "2606:2800:220:1::1", True),
        # a name of a wildcard may be anybody's: nothing of a special range
        *(
            ("*.corp", "git.corp", address, False)
            for address in (
                *("100.64.0.1", "172.31.0.1", "192.168.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
                *("0.0.0.1", "240.0.0.1", "224.0.0.1", "255.255.255.255", "203.0.113.7", "198.51.100.7"),
                *(
                    "fec0::1",
                    "fc00::1",
                    "fd12::1",
                    "fe80::1",
                    "febf::1",
                    "ff02::1",
                    "2001:db8::1",
                    "3fff::1",
                    "5f00::1",
                ),
                *("100::1", "2001::1", "64:ff9b:1::a00:1", "4000::1", "::", "fe80::1%2"),
            )
        ),
        ("git.corp", "git.corp", "fec0::1", True),
        # an address inside an address
        *(
            ("example.org", "example.org", address, False)
            for address in (
                *("::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
                *(
                    "2002:a9fe:a9fe::1",
                    "2001:0:7f00:1::1",
                    "2001:0:1:1:1:1:80ff:fffe",
                    "fd00::5efe:7f00:1",
                    "::ffff:0:0",
                ),
            )
        ),
        ("*.corp", "git.corp", "64:ff9b::a00:1", False),
        ("*.corp", "git.corp", "2002:a00:1::", False),
        ("*.corp", "git.corp", "64:ff9b::5db8:d80e", True),
        ("*.corp", "git.corp", "::ffff:93.184.215.14", True),
        # where clouds tell a machine its credentials
        *(
            ("example.org", "example.org", address, False)
            for address in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
        ),
        ("example.org", "example.org", "no address", False),
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
        # what one reader takes for the end of a line, or of a request, and another does not
        b"GET http://example.org/\tHTTP/1.1\nX:y\n\nGET /second HTTP/1.1\r\n\r\n",
        b"GET http://example.org/\nX: HTTP/1.1\r\n\r\n",
        b"GET http://exa\tmple.org/ HTTP/1.1\r\n\r\n",
        b"GET http://example.org/\r/ HTTP/1.1\r\n\r\n",
        b"GET http://example.org/\x7f HTTP/1.1\r\n\r\n",
        b"GET http://example.org/\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\nX : a\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\nX: a\n\n",
        # no address, though the words before it look like one
        b"GET http:example.org HTTP/1.1\r\n\r\n",
        b"GET http:///path HTTP/1.1\r\n\r\n",
        b"GET http://example.org\\@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://example.org:+80/ HTTP/1.1\r\n\r\n",
        b"GET http://example.org:" + b"9" * 5000 + b"/ HTTP/1.1\r\n\r\n",
        b"CONNECT ::1:443 HTTP/1.1\r\n\r\n",
        b"CONNECT [::1]443 HTTP/1.1\r\n\r\n",
        b"CONNECT [::1 HTTP/1.1\r\n\r\n",
        # answered with the request itself, token and all
        b"TRACE http://example.org/ HTTP/1.1\r\n\r\n",
        b"trace http://example.org/ HTTP/1.1\r\n\r\n",
        b"TRACK http://example.org/ HTTP/1.1\r\n\r\n",
        # how long it is
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length:\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://example.org/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST http://example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET http://example.org/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_what_is_not_plainly_a_request_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    async with proxied(Proxy(policy("example.org")), tmp_path) as ask:
        assert (await ask(request_bytes)).startswith(b"HTTP/1.1 400 ")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "body",
    [
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello and more\r\n0\r\n\r\n",
        b"f" * 5000 + b"\r\n",
        b"5\r\nhel",
        b"",
    ],
)
async def test_a_body_that_breaks_off_or_is_not_in_chunks_gets_a_400(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    """The host waits for the rest, so its answer never comes: nobody waits for that."""

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        writer.close()

    server = await asyncio.start_server(waits, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, proxied(Proxy(policy(f"127.0.0.1:{port}")), tmp_path) as ask:
        head = f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await ask(head.encode() + body)).startswith(b"HTTP/1.1 400 ")
    assert caplog.text == ""


async def test_a_second_request_in_the_address_never_leaves_with_the_token(tmp_path: Path) -> None:
    async with upstream() as (port, seen):
        rules = policy(f"localhost:{port}", secrets={"localhost": "tok-canary"})
        async with proxied(Proxy(rules), tmp_path) as ask:
            smuggled = f"GET http://localhost:{port}/\tHTTP/1.1\nHost:a\n\nPOST\t/echo?\tHTTP/1.1\nX: HTTP/1.1\r\n\r\n"
            answer = await ask(smuggled.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not seen


async def test_a_tunnel_that_breaks_ends_and_says_nothing_of_its_own_inside(tmp_path: Path) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(breaks, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, proxied(Proxy(policy(f"127.0.0.1:{port}")), tmp_path) as ask:
        answer = await ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello".encode())
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "ü", "\x7f"])
def test_a_token_no_header_can_hold_is_refused_by_its_variables_name(token: str) -> None:
    with pytest.raises(SurroundingsError, match="variable TOKEN holds no bearer token for example.org"):
        bearer_tokens({"example.org": "TOKEN"}, {"TOKEN": token})
    assert bearer_tokens({"Example.org": "TOKEN", "b": "UNSET"}, {"TOKEN": " abc\n"}) == {"example.org": "abc"}


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


@asynccontextmanager
async def users_proxy(answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy that keeps the heads it gets, and connects every tunnel to this machine's port of the same number."""
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if head.startswith(b"CONNECT") and b" 200 " in answer:
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(answer)
            far_writer.write(await reader.readuntil(b"\r\n\r\n"))
            writer.write(await far_reader.read())
            far_writer.close()
        elif head.startswith(b"CONNECT"):
            writer.write(answer)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


def upstreams(port: int, **more: str) -> Upstreams:
    place = f"http://me:pass%21@127.0.0.1:{port}"
    return read_upstreams({"HTTPS_PROXY": place, "http_proxy": place, **more})


async def test_hosts_are_asked_for_through_the_users_own_proxy(tmp_path: Path) -> None:
    async with upstream() as (host_port, seen), users_proxy() as (port, heads):
        rules = ProxyPolicy((f"registry.test:{host_port}", "plain.test"), upstreams=upstreams(port))
        async with proxied(Proxy(rules), tmp_path) as ask:
            tunnel = f"CONNECT registry.test:{host_port} HTTP/1.1\r\n\r\nGET /through HTTP/1.1\r\nHost: x\r\n\r\n"
            assert (await ask(tunnel.encode())).endswith(b"hi")
            assert (await ask(b"GET http://plain.test/a HTTP/1.1\r\n\r\n")).endswith(b"seen")
    assert seen[0].startswith(b"GET /through")
    assert heads[0].startswith(f"CONNECT registry.test:{host_port} HTTP/1.1\r\n".encode())
    assert heads[1].startswith(b"GET http://plain.test/a HTTP/1.1\r\n")
    for head in heads:
        assert b"Proxy-Authorization: Basic bWU6cGFzcyE=\r\n" in head


async def test_what_is_not_listed_never_reaches_the_users_proxy(tmp_path: Path) -> None:
    async with users_proxy() as (port, heads):
        rules = ProxyPolicy(("registry.test", "10.0.0.7", "169.254.169.254"), upstreams=upstreams(port))
        async with proxied(Proxy(rules), tmp_path) as ask:
            for target in ("evil.test:443", "169.254.1.1:443", "registry.test:22"):
                assert b" 403 " in await ask(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    assert heads == []


async def test_a_refusal_of_the_users_proxy_is_said(tmp_path: Path) -> None:
    async with users_proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as (port, _):
        rules = ProxyPolicy(("registry.test",), upstreams=upstreams(port))
        async with proxied(Proxy(rules), tmp_path) as ask:
            answer = await ask(b"CONNECT registry.test:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"407 Proxy Authentication Required" in answer
    assert b"pass" not in answer


async def test_this_machine_and_no_proxy_are_reached_directly(tmp_path: Path) -> None:
    found = upstreams(1, no_proxy="direct.test,.corp.test")
    for host in ("localhost", "127.0.0.1", "::1", "direct.test", "a.corp.test"):
        assert found.way_to(host, tunnel=True) is None
    assert found.way_to("corp2.test", tunnel=True) is not None
    assert read_upstreams({"ALL_PROXY": "socks5://127.0.0.1:9"}).https is None
    assert read_upstreams({"HTTP_PROXY": "http://from-a-client.test"}).http is None
    assert "pass" not in repr(found)


async def test_a_name_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    async with upstream() as (port, seen):
        asked = []

        async def resolve(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            if len(asked) < 3:
                raise socket.gaierror(socket.EAI_AGAIN, "busy")
            return ["127.0.0.1"]

        proxy = Proxy(policy(f"localhost:{port}"), resolve=resolve)
        async with proxied(proxy, tmp_path) as ask:
            assert (await ask(f"GET http://localhost:{port}/ HTTP/1.1\r\n\r\n".encode())).endswith(b"hi")
    assert len(asked) == 3
    assert len(seen) == 1
