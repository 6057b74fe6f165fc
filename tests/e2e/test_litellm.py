"""Whole runs through the real LiteLLM proxy, which bridges the Responses API to a server of chat completions."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codexteam.adapters.responses.model import ResponsesModel
from codexteam.core.ids import JSONObject
from codexteam.errors import ModelAccessError
from codexteam.ports.model import ModelAnswer
from tests.e2e import one_task
from tests.e2e.eight_tasks import SAMPLE
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.test_commands import check_green
from tests.e2e.world import KEY, World, make_world
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import Collected, collect, model_request, provider
from tests.scripted_api.chat import ChatApi, chat_in_thread
from tests.scripted_api.script import HttpError

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.litellm, pytest.mark.timeout(600)]

#: Loading it takes a busy machine this long.
_START_SECONDS = 240
_SETTINGS = """\
model_list:
  - model_name: gpt-5.4
    litellm_params: {{model: custom_openai/chat-model, api_base: "{url}", api_key: x, max_retries: 0}}
  - model_name: dropping
    litellm_params: {{model: custom_openai/chat-model, api_base: "{url}", api_key: x, max_retries: 0, drop_params: true}}
  - model_name: all-params
    litellm_params:
      model: openai/chat-model
      use_chat_completions_api: true
      api_base: "{url}"
      api_key: x
      max_retries: 0
      allowed_openai_params: ["reasoning_effort"]
router_settings: {{num_retries: 0}}
general_settings: {{master_key: "{key}"}}
"""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The proxy, and the server behind it."""

    base_url: str
    chat: ChatApi


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """One proxy for all tests: it takes long to start."""
    program = os.environ.get("CODEXTEAM_TEST_LITELLM_BINARY") or shutil.which("litellm")
    assert program is not None
    folder = tmp_path_factory.mktemp("litellm")
    with chat_in_thread(one_task.play) as chat, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        (folder / "config.yaml").write_text(_SETTINGS.format(url=chat.base_url, key=KEY))
        # it asks for prices and reports its use where it may; there is no network to do so in tests
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "HOME": str(folder)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program,
                    "--config",
                    "config.yaml",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    "--telemetry",
                    "False",
                ],
                cwd=folder,
                env={"PATH": os.environ["PATH"], **quiet},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_alive(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "log")
            yield Bridge(f"http://127.0.0.1:{port}/v1", chat)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_alive(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"LiteLLM does not answer: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def bridge(started: Bridge) -> Iterator[Bridge]:
    """The proxy, with nothing of an earlier test left."""
    started.chat.requests.clear()
    yield started
    started.chat.gate = lambda _: None


@pytest.fixture
def make(bridge: Bridge, tmp_path: Path) -> Callable[[], World]:
    return lambda: make_world(tmp_path / "machine", SAMPLE, bridge.base_url, TEAM)


def _roles_with(world: World, model: str) -> None:
    """Let all of the team use a model, as a user does: role files of one's own."""
    folder = world.home / ".codex" / "agents"
    folder.mkdir(parents=True)
    for path in (Path(__file__).parents[2] / "agents").glob("*.toml"):
        (folder / path.name).write_text(path.read_text().replace('model = "gpt-5.4"', f'model = "{model}"'))


def test_a_run_through_the_bridge_is_green_with_default_settings(make: Callable[[], World], bridge: Bridge) -> None:
    world = make()
    ended = world.run("run", GOAL)
    check_green(world, ended)
    assert "refuses `reasoning`" in ended.err
    assert ended.err.count("refuses `reasoning`") == 1
    assert not any("reasoning_effort" in body for body in bridge.chat.requests)


@pytest.mark.parametrize("model", ["dropping", "all-params"])
def test_a_run_through_a_bridge_is_green_whatever_it_drops(
    make: Callable[[], World], bridge: Bridge, model: str
) -> None:
    world = make()
    _roles_with(world, model)
    ended = world.run("run", GOAL, "-m", model)
    check_green(world, ended)
    assert "refuses" not in ended.err
    assert any("reasoning_effort" in body for body in bridge.chat.requests) == (model == "all-params")


def test_what_the_server_behind_the_bridge_refuses_is_left_out(make: Callable[[], World], bridge: Bridge) -> None:
    def refuse(body: JSONObject) -> HttpError | None:
        for name in ("response_format", "parallel_tool_calls", "max_tokens"):
            if name in body:
                return HttpError(400, message=f"Unknown parameter: '{name}'.")
        return None

    bridge.chat.gate = refuse
    world = make()
    ended = world.run("run", GOAL)
    check_green(world, ended)
    for part in ("text.format", "parallel_tool_calls", "max_output_tokens"):
        assert ended.err.count(f"refuses `{part}`") <= 1
    assert "refuses `text.format`" in ended.err


async def _ask(bridge: Bridge, model: str) -> Collected:
    settings = model_request().settings
    client = ResponsesModel({"local": provider(bridge.base_url)}, {"LOCAL_KEY": KEY}, FastClock(), lambda: 0.5)
    try:
        return await collect(client, replace(model_request(), settings=replace(settings, model=model)))
    finally:
        await client.close()


async def test_the_bridge_passes_retry_after_on(bridge: Bridge) -> None:
    played: list[HttpError] = [HttpError(429, message="slow down", headers={"retry-after": "7"})]
    bridge.chat.gate = lambda _: played.pop() if played else None
    got = await _ask(bridge, "all-params")
    assert isinstance(got.end, ModelAnswer)
    assert 7 <= got.restarts[0].wait_seconds < 9


async def test_a_model_that_the_bridge_does_not_have_is_said_to_be_one(bridge: Bridge) -> None:
    with pytest.raises(ModelAccessError, match="does not know the model `nowhere`"):
        await _ask(bridge, "nowhere")
