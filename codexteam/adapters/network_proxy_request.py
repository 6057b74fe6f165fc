"""The head of a request to the proxy, read strictly: what is not plain is refused, for nobody may read it otherwise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from codexteam.adapters.network_policy import split_port

HEAD_LIMIT_BYTES = 64 << 10
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: Meant for the proxy, or between two neighbours only.
_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"te",
        b"upgrade",
    }
)


class BadRequestError(ValueError):
    """What came is no request that the proxy takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a tunnel (`CONNECT`), or a resource by its whole address."""

    method: str
    host: str
    port: int
    target: str
    """Path and query; empty for a tunnel."""
    headers: Sequence[tuple[bytes, bytes]]
    body_bytes: int
    chunked: bool

    def head(self, *, secret: str | None) -> bytes:
        """Give the head that goes to the host, which then closes the connection."""
        port = "" if self.port in {80, 443} else f":{self.port}"
        name = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), f"Host: {name}{port}".encode()]
        left_out = _HOP | {b"host"} | ({b"authorization"} if secret is not None else set())
        lines += [key + b": " + value for key, value in self.headers if key.lower() not in left_out]
        if secret is not None:
            lines.append(b"Authorization: Bearer " + secret.encode("latin-1"))
        return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def read_head(data: bytes) -> Request:
    """Read a head, its empty line included.

    Raises:
        BadRequestError: it is none, or one that two readers could read differently.
    """
    first, *rest = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not _TOKEN.fullmatch(parts[0]):
        raise BadRequestError("the first line is no request")
    headers = []
    for line in rest:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadRequestError("a header line is none")
        headers.append((name, value.strip()))
    method = parts[0].decode()
    host, port, target = _target(method, parts[1])
    body_bytes, chunked = _body(headers)
    return Request(method, host, port, target, tuple(headers), body_bytes, chunked)


def _target(method: str, raw: bytes) -> tuple[str, int, str]:
    try:
        text = raw.decode("ascii")
        if method == "CONNECT":
            host, port = split_port(text)
            found = host, port or 443, ""
        else:
            url = urlsplit(text)
            if url.scheme != "http" or url.username is not None:
                raise BadRequestError("only http:// addresses and CONNECT are taken")
            path = text.split("://", 1)[1]
            path = path[len(url.netloc) :].split("#", 1)[0]
            found = url.hostname or "", url.port or 80, path if path.startswith("/") else f"/{path}"
    except ValueError as error:
        raise BadRequestError(f"the address is none: {error}") from error
    if not _HOST.fullmatch(found[0]):
        raise BadRequestError("the host is none")
    return found


def _body(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, bool]:
    lengths = {value for name, value in headers if name.lower() == b"content-length"}
    codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise BadRequestError("how long the body is, is not clear")
        return 0, True
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise BadRequestError("how long the body is, is not clear")
    return int(next(iter(lengths), b"0")), False
