"""The machine's Docker engine behind a door that refuses what a test names."""

import contextlib
import os
import re
import select
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENGINE = "/var/run/docker.sock"
SANDBOX_IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")
_BODY = b'{"message":"refused by the test"}'
_REFUSED = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


@dataclass
class Door:
    """Where an engine is reached; what it lets through may change at any time."""

    url: str
    refuse: Callable[[str], bool] = lambda _: False
    """Says of a request, such as `DELETE /v1.43/containers/a`, whether it is answered with an error."""
    asked: list[str] = field(default_factory=list)
    """Every request, in order."""
    misread: tuple[bytes, bytes] = b"", b""
    """What the engine does not understand of requests, and what it takes it for, which is as long."""


def asks(pattern: str) -> Callable[[str], bool]:
    """Give what knows requests by a pattern."""
    return lambda request: re.search(pattern, request) is not None


@contextlib.contextmanager
def door() -> Iterator[Door]:
    """Have one for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp())  # a socket's path must be short
    made = Door(f"unix://{folder}/engine.sock")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                _serve(self.request, made)

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        block_on_close = False

    with Server(f"{folder}/engine.sock", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()
            shutil.rmtree(folder)


def _serve(client: socket.socket, found: Door) -> None:
    """Carry one request with all that follows it, or refuse it; a connection has one only."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1 << 16)
        if not more:
            return
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    request = lines[0].rsplit(b" ", 1)[0].decode()
    found.asked.append(request)
    if found.refuse(request):
        length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        while len(rest) < length:
            rest += client.recv(1 << 16)
        client.sendall(_REFUSED)
        return
    if b"upgrade: tcp" not in head.lower():
        lines = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close"]
    with socket.socket(socket.AF_UNIX) as engine:
        engine.connect(ENGINE)
        engine.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + _misread(rest, found))
        _carry(client, engine, found)


def _misread(data: bytes, found: Door) -> bytes:
    said, taken = found.misread
    assert len(said) == len(taken), "the request says how long it is"
    return data.replace(said, taken) if said else data


def _carry(client: socket.socket, engine: socket.socket, found: Door) -> None:
    to = {client: engine, engine: client}
    while to:
        readable, _, _ = select.select(list(to), [], [])
        for source in readable:
            data = source.recv(1 << 16)
            if data:
                to[source].sendall(_misread(data, found) if source is client else data)
            else:
                with contextlib.suppress(OSError):
                    to.pop(source).shutdown(socket.SHUT_WR)
