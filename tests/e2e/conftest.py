"""A machine and a model for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.eight_tasks import SAMPLE, play
from tests.e2e.world import KEY, World, make_world
from tests.scripted_api import HttpError, Script, ScriptedApi, serve_in_thread
from tests.scripted_api.script import Call, Played

#: The settings of a run without Docker; the scripts' last step is the documentation.
BUBBLEWRAP = '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.steps]\ndocumentation = "always"\n'

MakeWorld = Callable[..., tuple[World, ScriptedApi]]


def with_key(script: Script) -> Script:
    """Let a script answer those who have the key, and nobody else."""

    def answer(call: Call) -> object:
        if call.headers.get("authorization") != f"Bearer {KEY}":
            return HttpError(401, code="invalid_api_key", message="Incorrect API key provided")
        return script(call)

    return answer  # type: ignore[return-value]  # what the script gives


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes a machine whose model plays a script."""
    with ExitStack() as stack:

        def build(team: str = BUBBLEWRAP, script: Callable[[Call], Played] = play) -> tuple[World, ScriptedApi]:
            api = stack.enter_context(serve_in_thread(with_key(script), latency_seconds=0.02))
            return make_world(tmp_path / "machine", SAMPLE, api.base_url, team), api

        yield build
