"""Connections: many clients of the `openai` package, each for few streams, since its pools get slow as they grow."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codexteam.adapters.responses.access import Credentials
from codexteam.config.settings import ProviderSettings

if TYPE_CHECKING:
    import httpx2
    import openai

#: A pool looks at all its connections with each request. Measured with 64 calls at once: 4.2 ms of CPU a call over pools
#: of 25, 3.3 over pools of 2. A client takes 4 KB and 0.3 ms.
STREAMS_PER_CLIENT = 2
_CONNECT_SECONDS = 15.0
#: An agent's tools may run this long between two turns and find their connection open.
_KEEP_ALIVE_SECONDS = 90.0


@dataclass(slots=True)
class _Pooled:
    client: "openai.AsyncOpenAI"
    streams: int = 0


class ClientPool:
    """The clients of one provider."""

    def __init__(self, provider: ProviderSettings, credentials: Credentials, environment: Mapping[str, str]) -> None:
        self.credentials = credentials
        self.provider = provider
        self._left_out = _names_set_by(environment.get("OPENAI_CUSTOM_HEADERS", ""))
        self._tls: ssl.SSLContext | None = None
        self._clients: list[_Pooled] = []

    @asynccontextmanager
    async def client(self) -> AsyncIterator["openai.AsyncOpenAI"]:
        """Lend a client that has room for one more stream."""
        # the fullest that has room, so that the last ones stay empty
        pooled = next((pooled for pooled in self._clients if pooled.streams < STREAMS_PER_CLIENT), None)
        if pooled is None:
            pooled = _Pooled(self._new_client())
            self._clients.append(pooled)
        pooled.streams += 1
        try:
            yield pooled.client
        finally:
            pooled.streams -= 1

    async def open(self, client: "openai.AsyncOpenAI", body: bytes, idempotency_key: str) -> "httpx2.Response":
        """Send a request; give the response with its stream unread. The caller closes it.

        Raises:
            openai.APIError: no 2xx came back.
        """
        import httpx2
        import openai

        # `responses.create` walks the whole input to apply its types: 100 ms of CPU for 100 items, measured. The
        # package's documented way for bodies of one's own does not.
        return await client.post(
            "/responses",
            cast_to=httpx2.Response,
            content=body,
            stream=True,
            stream_cls=openai.AsyncStream[object],
            options={"headers": self._headers(idempotency_key)},
        )  # type: ignore[return-value]  # asked for by cast_to; the declared type is that of parsed streams

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, []
        await asyncio.gather(*(pooled.client.close() for pooled in clients))

    def _headers(self, idempotency_key: str) -> "dict[str, str | openai.Omit]":
        import openai

        own = self.credentials.headers
        taken = {"authorization", *(name.lower() for name in own)}
        # what the environment holds for OpenAI is not for other providers; Codex does not send it either
        foreign = (*self._left_out, "OpenAI-Organization", "OpenAI-Project")
        headers: dict[str, str | openai.Omit] = {name: openai.omit for name in foreign if name.lower() not in taken}
        if not any(name.lower() == "authorization" for name in own):
            token = self.credentials.token
            headers["Authorization"] = f"Bearer {token}" if token else openai.omit
        headers |= {"Accept": "text/event-stream", "Content-Type": "application/json", **own}
        headers["Idempotency-Key"] = idempotency_key
        return headers

    def _new_client(self) -> "openai.AsyncOpenAI":
        import httpx2
        import openai

        if self._tls is None:
            # made once: loading the certificates takes 50 ms
            self._tls = httpx2.create_ssl_context()
        http = openai.DefaultAsyncHttpx2Client(
            verify=self._tls,
            follow_redirects=False,
            # only the connection has a deadline of its own here; a stream's are the reader's
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=STREAMS_PER_CLIENT,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
        )
        with warnings.catch_warnings():
            # what it warns of are variables in the environment that are overridden in each request
            warnings.simplefilter("ignore")
            return openai.AsyncOpenAI(
                # it insists on one; what is sent is set in each request
                api_key=self.credentials.token or "none",
                base_url=self.provider.base_url,
                default_query=dict(self.provider.query_params),
                max_retries=0,
                http_client=http,
            )


def _names_set_by(custom_headers: str) -> tuple[str, ...]:
    """Give the header names that the `openai` package takes from `OPENAI_CUSTOM_HEADERS`: `name: value` lines."""
    lines = (line.partition(":") for line in custom_headers.splitlines())
    return tuple(name.strip() for name, colon, _ in lines if colon and name.strip())
