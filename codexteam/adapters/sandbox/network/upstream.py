"""The user's own proxy: where a machine reaches the network through one, what sandboxes may reach is asked for there.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` mean what they mean to curl. Its credentials stay in this process.
Such a proxy looks names up itself, so that where a name leads cannot be judged here: the list of allowed names decides.
"""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

from codexteam.core.text import clean_line

_HEAD_LIMIT_BYTES = 64 << 10


class RefusedByUpstreamError(OSError):
    """The user's proxy does not pass a connection on; the message has its answer."""


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """One proxy of the user's."""

    host: str
    port: int
    secure: bool = False
    """Whether it is spoken to over TLS."""
    authorization: str = field(default="", repr=False)
    """The value of `Proxy-Authorization`; empty: none."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the proxy itself."""
        context = await asyncio.to_thread(ssl.create_default_context) if self.secure else None
        return await asyncio.open_connection(self.host, self.port, ssl=context, limit=_HEAD_LIMIT_BYTES)

    async def tunnel(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a host through it.

        Raises:
            RefusedByUpstreamError: it does not pass the connection on.
        """
        reader, writer = await self.connect()
        try:
            name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
            lines += [f"Proxy-Authorization: {self.authorization}"] if self.authorization else []
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii"))
            await writer.drain()
            await _see_accepted(reader, f"{self.host}:{self.port}")
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def _see_accepted(reader: asyncio.StreamReader, proxy: str) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise RefusedByUpstreamError("the proxy breaks off before it answers") from error
    first = head.partition(b"\r\n")[0].decode("latin-1")
    words = first.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise RefusedByUpstreamError(f"what answers is not a proxy: {clean_line(first)[:80]}")
    if not 200 <= int(words[1]) < 300:
        raise RefusedByUpstreamError(f"the proxy {proxy} answers {clean_line(' '.join(words[1:]))[:80]}")


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Which proxy a host is asked for through, if any."""

    https: UpstreamProxy | None = None
    http: UpstreamProxy | None = None
    direct: str = ""
    """`NO_PROXY`."""

    def way_to(self, host: str, *, tunnel: bool) -> UpstreamProxy | None:
        """Return the proxy for a host; None where it is reached directly, as this machine always is."""
        found = self.https if tunnel else self.http
        if found is None or _is_here(host):
            return None
        return None if self.direct and proxy_bypass_environment(host, {"no": self.direct}) else found


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def read_upstreams(environment: Mapping[str, str]) -> Upstreams:
    """Return what the user's variables say; what is not an HTTP proxy (`socks5://`) counts as none."""

    def first(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    every = first("all_proxy", "ALL_PROXY")
    return Upstreams(
        https=_proxy(first("https_proxy", "HTTPS_PROXY") or every),
        # in capitals a web server sets it to what a client sent: nobody reads that one
        http=_proxy(first("http_proxy") or every),
        direct=first("no_proxy", "NO_PROXY"),
    )


def _proxy(text: str) -> UpstreamProxy | None:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        return None
    secure = parts.scheme == "https"
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    authorization = f"Basic {base64.b64encode(user.encode()).decode()}" if parts.username else ""
    return UpstreamProxy(parts.hostname, port or (443 if secure else 80), secure, authorization)
