"""A scripted server and the real client in front of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from codexteam.adapters.responses.model import ModelOptions, ResponsesModel
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, provider
from tests.scripted_api import Played, Reply, ScriptedApi


class Bench:
    """Both ends of the wire."""

    def __init__(self, api: ScriptedApi, stack: AsyncExitStack) -> None:
        self.api = api
        self.clock = FastClock()
        self._stack = stack

    def model(
        self, options: ModelOptions | None = None, *, environment: Mapping[str, str] | None = None, **changes: object
    ) -> ResponsesModel:
        """A client with changed provider settings, closed at the test's end."""
        settings = provider(**{"base_url": self.api.base_url, **changes})  # type: ignore[arg-type]  # see provider
        model = ResponsesModel({"local": settings}, environment or {"LOCAL_KEY": KEY}, self.clock, lambda: 0.5, options)
        self._stack.push_async_callback(model.close)
        return model

    def play(self, *replies: Played) -> None:
        """Play these one after the other; the last one again and again."""
        self.api.script = lambda call: replies[min(call.number, len(replies)) - 1]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with ScriptedApi(lambda _: Reply()) as api, AsyncExitStack() as stack:
        yield Bench(api, stack)
