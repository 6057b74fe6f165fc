"""All models of a run behind one door: real providers, a recording, and the writing of one."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import cast

from codexteam.adapters.recording import RecordingModel, ReplayModel
from codexteam.adapters.responses.model import ModelOptions, ResponsesModel
from codexteam.config.settings import ProviderSettings
from codexteam.ports.clock import Clock
from codexteam.ports.model import Model, ModelEvent, ModelRequest


class ProviderModels:
    """Sends each call to its provider: those with a `replay_file` are played back, all others are asked."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        environment: Mapping[str, str],
        clock: Clock,
        jitter: Callable[[], float],
        options: ModelOptions | None = None,
    ) -> None:
        """Nothing is imported, opened or read yet; the arguments are those of `ResponsesModel`."""
        self._real = ResponsesModel(providers, environment, clock, jitter, options)
        self._replays = {
            provider.id: ReplayModel(provider.replay_file, clock)
            for provider in providers.values()
            if provider.replay_file is not None
        }

    async def warm(self, provider_ids: set[str]) -> None:
        """Import the client while there is time, if one of these providers needs it."""
        if provider_ids - self._replays.keys():
            await self._real.warm()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask; see `Model.stream`."""
        model: Model = self._replays.get(request.settings.provider_id, self._real)
        inner = cast("AsyncGenerator[ModelEvent, None]", model.stream(request))
        async with aclosing(inner) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        """Close all connections."""
        await self._real.close()


def recorded(
    model: Model,
    file: Path,
    clock: Clock,
    providers: Mapping[str, ProviderSettings],
    environment: Mapping[str, str],
) -> RecordingModel:
    """Record a model's answers, with the providers' secrets kept out of the file."""
    secrets = [provider.bearer_token or "" for provider in providers.values()]
    for provider in providers.values():
        names = (provider.api_key_variable, *provider.env_http_headers.values())
        secrets += [environment.get(name, "") for name in names if name is not None]
    return RecordingModel(model, file, clock, secrets=[secret for secret in secrets if len(secret) >= 8])
