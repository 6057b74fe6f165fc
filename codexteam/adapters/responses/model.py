"""The real model: requests to a Responses API, streamed."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from codexteam.adapters.responses.access import credentials_of, denial_error
from codexteam.adapters.responses.call import Call
from codexteam.adapters.responses.clients import ProviderClient
from codexteam.adapters.responses.failures import Denied, Phase, TryAgain
from codexteam.adapters.responses.gate import Gate
from codexteam.adapters.responses.request_body import request_body
from codexteam.adapters.responses.retries import Retries, RetryLimits
from codexteam.config.settings import ProviderSettings
from codexteam.errors import ModelAccessError
from codexteam.ports.clock import Clock
from codexteam.ports.endings import stopped
from codexteam.ports.model import CallFailed, ModelEvent, ModelRequest, StreamRestarted


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What is not a provider's but ours to choose."""

    send_metadata: bool = True
    call_seconds: float = 3600.0
    """The longest that one call may stream, over all its tries; waits between them not counted."""
    max_width: int = 1000
    """Calls to one provider and model at the same time, where the provider never says 429."""
    warm_first: bool = False
    """Whether the first of several calls with one cache key goes ahead until its answer begins."""


class ResponsesModel:
    """`Model` over the `openai` package, for any number of providers."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        environment: Mapping[str, str],
        clock: Clock,
        jitter: Callable[[], float],
        options: ModelOptions | None = None,
    ) -> None:
        """Nothing is imported or opened yet.

        Args:
            providers: By id.
            environment: Where keys and header values are looked up.
            clock: For all waiting.
            jitter: Gives random numbers from 0 to 1.
            options: Our own choices.
        """
        self._providers = providers
        self._environment = environment
        self._clock = clock
        self._jitter = jitter
        self._options = options or ModelOptions()
        self._clients: dict[str, ProviderClient] = {}
        self._gates: dict[tuple[str, str], Gate] = {}
        self._warming: asyncio.Future[None] | None = None

    def start_warming(self) -> None:
        """Begin to import the client in a thread, so that the first call need not wait a second for it.

        May be repeated. Needs a running loop.
        """
        if self._warming is None:
            self._warming = asyncio.ensure_future(asyncio.to_thread(_import_client))

    async def warm(self) -> None:
        """Wait until the client is imported; begin with it if nobody has."""
        self.start_warming()
        if self._warming is not None:
            await asyncio.shield(self._warming)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask; see `Model.stream`."""
        provider = self._provider(request.settings.provider_id)
        await self.warm()
        client = self._client(provider)
        gate = self._gate(provider.id, request.settings.model)
        call = Call(
            request_body(request, send_metadata=self._options.send_metadata),
            # header values are ASCII; names of roles need not be
            quote(request.key.idempotency_key(), safe="-_.~:"),
            client,
            self._clock,
            self._options.call_seconds,
        )
        limits = RetryLimits.of(provider)
        retries = Retries(limits, self._jitter)
        while True:
            gate_seconds = 0.0
            async with gate.passage(request.prompt_cache_key) as passage:
                async with aclosing(call.one_try(passage)) as pieces:
                    async for piece in pieces:
                        yield piece
                end = call.end
                if isinstance(end, TryAgain) and end.phase is Phase.RATE:
                    gate_seconds = end.wait_seconds or 0.0
                    if gate_seconds <= limits.rate_limit_seconds:
                        gate_seconds = passage.slowed_down(end.wait_seconds)
            if isinstance(end, Denied):
                said = Denied(end.denial, client.credentials.redact(end.message))
                raise denial_error(said, provider, request.settings.model, may_be_billed=call.may_be_billed)
            if not isinstance(end, TryAgain):
                yield call.settled(end)
                return
            reason = client.credentials.redact(end.reason)
            wait_seconds = retries.wait_seconds(end, gate_seconds=gate_seconds)
            if wait_seconds is None or call.out_of_time:
                if gate_seconds > limits.rate_limit_seconds:
                    reason = f"{reason}; it asks to wait {gate_seconds:,.0f} s"
                tries = "1 try" if retries.tries == 1 else f"{retries.tries} tries"
                message = f"{provider.name}: {reason} ({tries})"
                yield CallFailed(end.kind, message, end.usage, call.may_be_billed)
                return
            yield StreamRestarted(reason, wait_seconds, retries.tries, end.usage, call.may_be_billed)
            if end.phase is not Phase.RATE:
                # after a 429 it is the gate that waits, for all calls
                await self._clock.sleep(wait_seconds)

    async def close(self) -> None:
        """Close all connections."""
        warming, self._warming = self._warming, None
        if warming is not None:
            await stopped(warming)
        gates, self._gates = self._gates, {}
        clients, self._clients = self._clients, {}
        await asyncio.gather(
            *(gate.close() for gate in gates.values()), *(client.close() for client in clients.values())
        )

    def _provider(self, provider_id: str) -> ProviderSettings:
        provider = self._providers.get(provider_id)
        if provider is None:
            raise ModelAccessError(
                f"unknown model provider `{provider_id}`; known are {', '.join(sorted(self._providers)) or 'none'}",
                hint=f"add [model_providers.{provider_id}] to config.toml, or set another `model_provider`",
            )
        return provider

    def _client(self, provider: ProviderSettings) -> ProviderClient:
        client = self._clients.get(provider.id)
        if client is None:
            credentials = credentials_of(provider, self._environment)
            client = self._clients[provider.id] = ProviderClient(provider, credentials, self._environment)
        return client

    def _gate(self, provider_id: str, model: str) -> Gate:
        gate = self._gates.get((provider_id, model))
        if gate is None:
            options = self._options
            gate = Gate(self._clock, self._jitter, max_width=options.max_width, warm_first=options.warm_first)
            self._gates[(provider_id, model)] = gate
        return gate


def _import_client() -> None:
    for module in ("httpx2", "aiohttp", "openai", "openai.lib._client_auth"):
        importlib.import_module(module)
