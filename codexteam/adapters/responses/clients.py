"""The connection to one provider: the `openai` package's client over its aiohttp transport."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from codexteam.adapters.responses.access import Credentials
from codexteam.adapters.responses.pace import Pace
from codexteam.config.settings import ProviderSettings

if TYPE_CHECKING:
    import httpx2
    import openai

_CONNECT_SECONDS = 15.0
#: An agent's tools may run this long between two turns and find their connection open.
_KEEP_ALIVE_SECONDS = 90.0
#: How many calls run at once is the gate's to say; aiohttp's own limit of 100 would make calls wait unseen.
_MOST_CONNECTIONS = 100_000


class ProviderClient:
    """One provider's client, its headers and its connections. Made at the first call; owned by who closes it."""

    def __init__(self, provider: ProviderSettings, credentials: Credentials, environment: Mapping[str, str]) -> None:
        self.credentials = credentials
        self.provider = provider
        self._left_out = _names_set_by(environment.get("OPENAI_CUSTOM_HEADERS", ""))
        self._client: openai.AsyncOpenAI | None = None
        self._pace = Pace()

    async def open(self, body: bytes, idempotency_key: str) -> "httpx2.Response":
        """Send a request; give the response with its stream unread. The caller closes it.

        Raises:
            openai.APIError: no 2xx came back.
        """
        import httpx2
        import openai

        if self._client is None:
            self._client = self._new_client()
        await self._pace.turn()
        # `responses.create` walks the whole input to apply its types: 100 ms of CPU for 100 items, measured. The
        # package's documented way for bodies of one's own does not.
        return await self._client.post(
            "/responses",
            cast_to=httpx2.Response,
            content=body,
            stream=True,
            stream_cls=openai.AsyncStream[object],
            # the key as an option too, or it makes up one first
            options={"headers": self._headers(idempotency_key), "idempotency_key": idempotency_key},
        )  # type: ignore[return-value]  # asked for by cast_to; the declared type is that of parsed streams

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

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

        # its own transport takes 6.5 ms of CPU a call with 64 at once, and more the more there are; this one 3.9
        http = openai.DefaultAioHttpClient(
            verify=httpx2.create_ssl_context(),
            follow_redirects=False,
            # only the connection has a deadline of its own here; a stream's are the reader's
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_SECONDS),
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
