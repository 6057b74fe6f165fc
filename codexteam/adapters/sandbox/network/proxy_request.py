"""The head of a request to the proxy, read strictly: what is not plain is refused, for nobody may read it otherwise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.adapters.sandbox.network.policy import split_port
from codexteam.adapters.sandbox.network.upstream import UpstreamProxy

HEAD_LIMIT_BYTES = 64 << 10
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
#: No white space and no control characters: where one reader's line ends, another's might continue.
_TARGET = re.compile(rb"[\x21-\x7e]+")
_AUTHORITY_END = re.compile(r"[/?#]")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,13}")
_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,10})(?:;[\t\x20-\x7e]*)?")
#: A host answers these with the request itself, a secret that was added included.
_ECHOING = frozenset({"TRACE", "TRACK"})
#: Named twice, two readers could take one each.
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
#: The most that one body, or one chunk of it, may say that it has.
BODY_LIMIT_BYTES = 1 << 40
#: Meant for the proxy, or between two neighbours only.
_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"upgrade",
    }
)


class BadRequestError(ValueError):
    """Not a request that the proxy accepts."""


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

    def head(self, *, secret: str | None, through: UpstreamProxy | None = None) -> bytes:
        """Return the head that goes to the host, or to a proxy that asks it, which then closes the connection."""
        port = "" if self.port in {80, 443} else f":{self.port}"
        name = f"[{self.host}]" if ":" in self.host else self.host
        place = f"http://{name}{port}" if through is not None else ""
        lines = [f"{self.method} {place}{self.target} HTTP/1.1".encode(), f"Host: {name}{port}".encode()]
        left_out = _HOP | {b"host"} | ({b"authorization"} if secret is not None else set())
        lines += [key + b": " + value for key, value in self.headers if key.lower() not in left_out]
        if secret is not None:
            lines.append(b"Authorization: Bearer " + secret.encode("latin-1"))
        if through is not None and through.authorization:
            lines.append(f"Proxy-Authorization: {through.authorization}".encode("ascii"))
        return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def read_head(data: bytes) -> Request:
    """Read a head, its empty line included.

    Raises:
        BadRequestError: it is not a request, or two readers could read it differently.
    """
    first, *rest = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0") or not _TOKEN.fullmatch(parts[0]):
        raise BadRequestError("the first line is not `METHOD http://HOST/PATH HTTP/1.1`")
    method = parts[0].decode()
    if method.upper() in _ECHOING:
        raise BadRequestError(f"{method.upper()} is not passed on")
    if not _TARGET.fullmatch(parts[1]):
        raise BadRequestError("the address contains bytes that are not visible ASCII characters")
    headers = []
    for line in rest:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadRequestError("a line of the head is not `Name: value`")
        headers.append((name, value.strip(b" \t")))
    names = [name.lower() for name, _ in headers]
    twice = next((name for name in names if name in _ONCE and names.count(name) > 1), None)
    if twice is not None:
        raise BadRequestError(f"there is more than one {twice.decode()}")
    address = parts[1].decode()
    host, port, target = _tunnel_end(address) if method == "CONNECT" else _resource(address)
    body_bytes, chunked = _body(headers)
    if chunked and parts[2] == b"HTTP/1.0":
        raise BadRequestError("HTTP/1.0 has no chunked bodies")
    if method == "CONNECT" and (chunked or body_bytes):
        raise BadRequestError("a CONNECT has no body")
    return Request(method, host, port, target, tuple(headers), body_bytes, chunked)


def read_chunk_head(line: bytes) -> int:
    """Return the length of a chunk from the line before it; what stands behind a `;` there is of no interest.

    Raises:
        BadRequestError: it says none.
    """
    found = _CHUNK_HEAD.fullmatch(line)
    if found is None:
        raise BadRequestError("the line before a chunk is not its length")
    size = int(found[1], 16)
    if size > BODY_LIMIT_BYTES:
        raise BadRequestError("a chunk is longer than this proxy passes on")
    return size


def _address(text: str) -> tuple[str, int | None]:
    if not text.startswith("[") and text.count(":") > 1:
        raise BadRequestError("an IPv6 address must be in brackets")
    try:
        host, port = split_port(text)
    except ValueError as error:
        raise BadRequestError(f"the address is not HOST:PORT: {error}") from error
    if not _HOST.fullmatch(host):
        raise BadRequestError("the host is not a name or an address")
    return host, port


def _tunnel_end(target: str) -> tuple[str, int, str]:
    host, port = _address(target)
    return host, port or 443, ""


def _resource(target: str) -> tuple[str, int, str]:
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() != "http":
        raise BadRequestError("only http:// addresses and CONNECT are taken")
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    host, port = _address(authority)
    path = rest[len(authority) :].partition("#")[0]
    return host, port or 80, path if path.startswith("/") else f"/{path}"


def _body(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, bool]:
    length = next((value for name, value in headers if name.lower() == b"content-length"), None)
    coding = next((value for name, value in headers if name.lower() == b"transfer-encoding"), None)
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise BadRequestError("how long the body is, is not clear")
        return 0, True
    if length is None:
        return 0, False
    if not _LENGTH.fullmatch(length) or int(length) > BODY_LIMIT_BYTES:
        raise BadRequestError("the length of the body is not a number of bytes that this proxy passes on")
    return int(length), False
