"""The connection to one provider: the `openai` package's client over its aiohttp transport, through the environment's proxy."""

import ipaddress
import warnings
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codexteam.adapters.responses.request_limiter import Pace
from codexteam.config.settings import ProviderSettings
from codexteam.errors import ModelAccessError

if TYPE_CHECKING:
    import httpx2
    import openai


#: What to do where Codex is signed in with ChatGPT, and there is no key.
CHATGPT_HINT = (
    "leave [codexteam] engine at auto, or set an API key with export CODEX_API_KEY=..., or store one with "
    "codex login --with-api-key"
)
_CONNECT_SECONDS = 15.0
#: An agent's tools may run this long between two turns and find their connection open.
_KEEP_ALIVE_SECONDS = 90.0
#: How many calls run at once is the gate's to say; aiohttp's own limit of 100 would make calls wait unseen.
_MOST_CONNECTIONS = 100_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What goes into the headers of each request to one provider."""

    token: str
    """Empty where the provider takes none."""
    headers: Mapping[str, str]

    def redact(self, text: str) -> str:
        """Return `text` without anything secret that a server may have echoed."""
        for secret in (self.token, *self.headers.values()):
            # shorter ones are not secrets, and redacting them would cut into ordinary words
            if len(secret) >= 8:
                text = text.replace(secret, "[redacted]")
        return text


def credentials_of(provider: ProviderSettings, environment: Mapping[str, str]) -> Credentials:
    """Find a provider's token and headers.

    Raises:
        ModelAccessError: the variable that shall hold the token is not set.
    """
    headers = dict(provider.http_headers)
    for name, source in provider.env_http_headers.items():
        value = environment.get(source, "").strip()
        if value:
            headers[name] = value
    token = (provider.bearer_token or "").strip()
    variable = provider.api_key_variable
    if not token and variable is not None:
        token = environment.get(variable, "").strip()
        if not token:
            raise ModelAccessError(
                f"Missing environment variable: `{variable}`, which holds the key of the model provider {provider.id}",
                hint=provider.api_key_help
                or f"export {variable}=..., or set env_key of [model_providers.{provider.id}]",
            )
    has_own = any(name.lower() in {"authorization", "api-key", "x-api-key"} for name in headers)
    if not token and provider.requires_openai_auth and not has_own:
        if provider.chatgpt_login is not None:
            raise ModelAccessError(
                f"you are signed in to Codex with ChatGPT ({provider.chatgpt_login}), which the engine codex alone can "
                f"use: {CHATGPT_HINT}",
                hint="or name another provider with `model_provider`; codexteam doctor checks what a run needs",
            )
        raise ModelAccessError(
            f"no credentials for the model provider {provider.id}",
            hint=provider.api_key_help or "export OPENAI_API_KEY=..., or log in with `codex login`",
        )
    if any(mark in value for value in (token, *headers.values()) for mark in "\r\n\0"):
        raise ModelAccessError(
            f"a credential of the model provider {provider.id} has a line break or a NUL in it",
            hint="check the variables that its settings name",
        )
    return Credentials(token, headers)


class ProviderClient:
    """One provider's client, its headers and its connections. Made at the first call; owned by who closes it."""

    def __init__(
        self,
        provider: ProviderSettings,
        credentials: Credentials,
        environment: Mapping[str, str],
        *,
        proxy_loopback: bool = False,
    ) -> None:
        self.credentials = credentials
        self.provider = provider
        # a server on this machine is asked directly: what `http_proxy` names is for the rest of the world
        self._heeds_proxies = proxy_loopback or not is_loopback(provider.base_url)
        proxy = proxy_used(provider.base_url, environment) if self._heeds_proxies else None
        self.proxy_words = "" if proxy is None else proxy.words
        """What an error says of the proxy in between; empty without one."""
        self._left_out = _names_set_by(environment.get("OPENAI_CUSTOM_HEADERS", ""))
        self._client: openai.AsyncOpenAI | None = None
        self._pace = Pace()

    async def open(self, body: AsyncIterable[bytes], length_bytes: int, idempotency_key: str) -> "httpx2.Response":
        """Send a request; return the response with its stream unread. The caller closes it.

        `body` is asked for its bytes once there is a connection for them.

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
            options={
                "headers": {**self._headers(idempotency_key), "Content-Length": str(length_bytes)},
                "idempotency_key": idempotency_key,
            },
        )  # type: ignore[return-value]  # asked for by cast_to; the declared type is that of parsed streams

    async def get(self, path: str, *, most_bytes: int) -> tuple[int, bytes]:
        """Ask for something that costs nothing; give its status and its body, or so much of it.

        Raises:
            OSError: nobody answers.
        """
        import httpx2
        import openai

        if self._client is None:
            self._client = self._new_client()
        headers = {name: value for name, value in self._headers("").items() if name != "Idempotency-Key"}
        headers["Accept"] = "application/json"
        try:
            response = await self._client.get(path, cast_to=httpx2.Response, options={"headers": headers})
        except openai.APIStatusError as error:
            return error.status_code, error.response.content[:most_bytes]
        except openai.APIConnectionError as error:
            raise OSError(str(error.__cause__ or error)) from error
        return response.status_code, response.content[:most_bytes]

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
            trust_env=self._heeds_proxies,
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
    """Return the header names that the `openai` package takes from `OPENAI_CUSTOM_HEADERS`: `name: value` lines."""
    lines = (line.partition(":") for line in custom_headers.splitlines())
    return tuple(name.strip() for name, colon, _ in lines if colon and name.strip())


@dataclass(frozen=True, slots=True)
class ProxyUse:
    """A proxy that requests go through."""

    variable: str
    url: str
    """Without credentials."""
    host: str
    """Whom it is asked for."""

    @property
    def words(self) -> str:
        """Say it behind an error, with the way around it."""
        return f" (asked through the proxy {self.url} of {self.variable}; no_proxy={self.host} goes around it)"


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine: no proxy elsewhere can reach it."""
    host = (urlsplit(url).hostname or "").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_used(url: str, environment: Mapping[str, str]) -> ProxyUse | None:
    """Return the proxy that the environment names for a server; None when it is asked directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if any(_covers(entry.strip().lower(), host.lower()) for entry in no_proxy.split(",")):
        return None
    names = [f"{parts.scheme}_proxy", "all_proxy"]
    for variable in [spelling for name in names for spelling in (name, name.upper())]:
        value = environment.get(variable)
        if value:
            proxy = urlsplit(value if "://" in value else f"http://{value}")
            address = proxy.netloc.rpartition("@")[2]
            return ProxyUse(variable, f"{proxy.scheme}://{address}", host)
    return None


def _covers(entry: str, host: str) -> bool:
    domain = entry.rpartition("://")[2].lstrip("*.")
    return entry == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))
