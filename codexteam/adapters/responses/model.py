"""The real model: requests to a Responses API, streamed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from urllib.parse import quote

from codexteam.adapters.responses.call import Call
from codexteam.adapters.responses.clients import ProviderClient, credentials_of
from codexteam.adapters.responses.denials import denial_error
from codexteam.adapters.responses.failures import Denied, Failure, NotTaken, Phase, TryAgain
from codexteam.adapters.responses.fitting import Fitting, ShortMemory
from codexteam.adapters.responses.lazy_models import import_client
from codexteam.adapters.responses.optional_parts import as_asked
from codexteam.adapters.responses.request_body import as_sent, request_body
from codexteam.adapters.responses.request_limiter import RequestLimiter
from codexteam.adapters.responses.retries import Retries, RetryLimits
from codexteam.config.settings import ModelSettings, ProviderSettings
from codexteam.errors import ModelAccessError
from codexteam.ports.clock import Clock
from codexteam.ports.model import (
    CallFailed,
    CallGates,
    CutShort,
    ItemDone,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    Passage,
    ServerMemory,
    StreamRestarted,
)
from codexteam.system.cancellation import stopped


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What is not a provider's but ours to choose."""

    send_metadata: bool = True
    proxy_loopback: bool = False
    """Whether a proxy of the environment counts for servers on this machine too."""
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
        *,
        memory: ServerMemory | None = None,
        gates: CallGates | None = None,
    ) -> None:
        """Nothing is imported or opened yet.

        Args:
            providers: By id.
            environment: Where keys and header values are looked up.
            clock: For all waiting.
            jitter: Gives random numbers from 0 to 1.
            options: Our own choices.
            memory: Keeps what servers refuse of a request; None keeps it as long as this lives.
            gates: What calls pass, where others in other processes pass it too; None: this model's own.
        """
        self._providers = providers
        self._environment = environment
        self._clock = clock
        self._jitter = jitter
        self._options = options or ModelOptions()
        self._clients: dict[str, ProviderClient] = {}
        self._memory: ServerMemory = ShortMemory() if memory is None else memory
        self._fittings: dict[tuple[str, str], Fitting] = {}
        self._gates: dict[tuple[str, str], RequestLimiter] = {}
        self._shared_gates = gates
        self._warming: asyncio.Future[None] | None = None

    def start_warming(self) -> None:
        """Begin to import the client in a thread, so that the first call need not wait a second for it.

        May be repeated. Needs a running loop.
        """
        if self._warming is None:
            self._warming = asyncio.ensure_future(asyncio.to_thread(import_client))

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
        gates: CallGates = self if self._shared_gates is None else self._shared_gates
        fitting = self._fitting(provider.id, request.settings.model)
        await fitting.begin()
        asked = request_body(request, send_metadata=self._options.send_metadata)
        call = Call(client, self._clock, self._options.call_seconds)
        limits = RetryLimits.of(provider)
        retries = Retries(limits, self._jitter)
        # header values are ASCII; names of roles need not be
        key = quote(request.key.idempotency_key(request.settings.model), safe="-_.~:")
        while True:
            gate_seconds = 0.0
            body = fitting.fitted(asked)
            async with gates.passage(provider.id, request.settings.model, request.prompt_cache_key) as passage:
                async with aclosing(call.one_try(as_sent(body), key, passage)) as pieces:
                    async for piece in pieces:
                        yield _as_asked(piece, fitting, request)
                end: Failure | ModelAnswer | CutShort = call.end
                if isinstance(end, TryAgain) and end.phase is Phase.RATE:
                    gate_seconds = end.wait_seconds or 0.0
                    if gate_seconds <= limits.rate_limit_seconds:
                        gate_seconds = passage.slowed_down(end.wait_seconds)
            if isinstance(end, NotTaken):
                said = client.credentials.redact(end.end.message)
                final = await fitting.refused(end, body, said)
                if final is None:
                    yield StreamRestarted(said, 0.0, retries.refused(), end.usage, call.may_be_billed)
                    continue
                end = final
            if isinstance(end, Denied):
                said_so = replace(end, message=client.credentials.redact(end.message))
                raise denial_error(
                    said_so,
                    provider,
                    request.settings.model,
                    may_be_billed=call.may_be_billed,
                    wall_seconds=self._clock.wall_seconds(),
                )
            if not isinstance(end, TryAgain):
                fitting.heard(end)
                yield _as_asked(call.settled(end), fitting, request)
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
            client = self._clients[provider.id] = ProviderClient(
                provider, credentials, self._environment, proxy_loopback=self._options.proxy_loopback
            )
        return client

    def _fitting(self, provider_id: str, model: str) -> Fitting:
        fitting = self._fittings.get((provider_id, model))
        if fitting is None:
            fitting = self._fittings[(provider_id, model)] = Fitting(provider_id, model, self._memory)
        return fitting

    def passage(self, provider_id: str, model: str, cache_key: str) -> AbstractAsyncContextManager[Passage]:
        """Wait until a call may start; see `CallGates`."""
        return self._gate(provider_id, model).passage(cache_key)

    def crowding(self, settings: ModelSettings) -> str:
        """Say why one more agent of a model would only wait for its calls; empty where it would not."""
        gate = self._gates.get((settings.provider_id, settings.model))
        return "" if gate is None else gate.crowding

    def _gate(self, provider_id: str, model: str) -> RequestLimiter:
        gate = self._gates.get((provider_id, model))
        if gate is None:
            options = self._options
            gate = RequestLimiter(self._clock, self._jitter, max_width=options.max_width, warm_first=options.warm_first)
            self._gates[(provider_id, model)] = gate
        return gate


def _as_asked(event: ModelEvent, fitting: Fitting, request: ModelRequest) -> ModelEvent:
    """Return an event with its items in the form that the request's tools were asked with."""
    left_out = fitting.left_out
    if not left_out:
        return event
    match event:
        case ItemDone(item=item):
            return replace(event, item=as_asked(item, left_out, request.tools))
        case ModelAnswer(items=items) | CutShort(items=items):
            return replace(event, items=tuple(as_asked(item, left_out, request.tools) for item in items))
        case _:
            return event
