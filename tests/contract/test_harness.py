"""What every harness does with its hands in a real sandbox: the fake, and the user's Codex."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import ModelSettings, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.errors import SandboxUnavailable
from codexteam.ports.harness import Harness, HarnessAgent, HarnessOrder
from codexteam.ports.model import ModelAnswer, ModelRequest, Sending
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from tests.conftest import codex_binary
from tests.fakes.fake_harness import FakeHarness
from tests.scripted_api import Call, ScriptedApi, function_call, message
from tests.support_base_source import base_source, make_repository

pytestmark = [pytest.mark.bubblewrap, pytest.mark.timeout(120)]

#: Gives the items of an answer for what the model has seen.
Script = Callable[[Sequence[JSONObject]], Sequence[JSONObject]]
Build = Callable[[Script], Awaitable["Bench"]]
_KEY = AgentKey(RunId(f"contract-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", 1)
_WRITE = function_call("exec_command", {"cmd": "echo hello > made.txt; cat made.txt"}, call_id="call_1")
_SETTINGS = ModelSettings("loopback", "gpt-5.4", effort="low")


def _user(text: str) -> JSONObject:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _request(*items: JSONObject) -> ModelRequest:
    return ModelRequest(CallKey(_KEY, 1, Purpose.IMPLEMENT), _SETTINGS, "Be brief.", items, (), "cache")


async def _fake(script: Script, _stack: AsyncExitStack, _folder: Path) -> Harness:
    return FakeHarness(lambda _order, seen: script(seen))


async def _codex(script: Script, stack: AsyncExitStack, folder: Path) -> Harness:
    from codexteam.adapters.codex_cli.binary import codex_at
    from codexteam.adapters.codex_cli.harness import CodexHarness

    def play(call: Call) -> Sequence[JSONObject]:
        return script(call.input)

    api = await stack.enter_async_context(ScriptedApi(play))
    home = folder / "codex-home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[model_providers.loopback]\nname = "Loopback"\nbase_url = "{api.base_url}"\nwire_api = "responses"\n'
    )
    binary = codex_at(Path(codex_binary() or ""))
    assert binary is not None
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    harness = CodexHarness(binary, codex_home=home, environment=environment)
    stack.push_async_callback(harness.close)
    return harness


@dataclass
class Bench:
    """An agent that is not started yet, and its sandbox."""

    harness: Harness
    agent: HarnessAgent
    sandbox: Sandbox


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=[pytest.param(_fake, id="fake"), pytest.param(_codex, id="codex", marks=pytest.mark.codex)])
def bench(request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path) -> Build:
    async def build(script: Script) -> Bench:
        harness: Harness = await request.param(script, stack, tmp_path)
        engine = BubblewrapEngine(tmp_path / "engine")
        stack.push_async_callback(engine.close)
        make_repository(tmp_path / "repository", {"a.txt": b"one\n"})
        base = base_source(tmp_path / "repository", tmp_path / "base")
        mode = SandboxMode.WORKSPACE_WRITE
        spec = SandboxSpec(
            _KEY, base, mode, NetworkPolicy(), SandboxLimits(memory_bytes=1 << 30), programs=harness.folder
        )
        sandbox = await engine.start(spec)
        stack.push_async_callback(sandbox.close)

        async def enter() -> Sandbox:
            return sandbox

        agent = harness.agent(HarnessOrder(_KEY, _SETTINGS, enter))
        stack.push_async_callback(agent.close)
        return Bench(harness, agent, sandbox)

    return build


async def _ask(agent: HarnessAgent, request: ModelRequest) -> ModelAnswer:
    events = [event async for event in agent.stream(request)]
    assert any(isinstance(event, Sending) for event in events)
    end = events[-1]
    assert isinstance(end, ModelAnswer), end
    return end


def _texts(items: Sequence[JSONObject]) -> str:
    return str([item.get("content") for item in items])


async def test_nothing_is_done_before_it_is_asked_for(bench: Build) -> None:
    def script(seen: Sequence[JSONObject]) -> Sequence[JSONObject]:
        return [message("done")] if any(item.get("call_id") == "call_1" for item in seen) else [_WRITE]

    made = await bench(script)
    first = await _ask(made.agent, _request(_user("Write.")))
    assert [item["call_id"] for item in first.items] == ["call_1"]
    assert first.usage is not None
    assert await made.sandbox.read_file("made.txt", limit_bytes=100) is None
    [output] = await made.agent.outputs(["call_1"])
    assert output["call_id"] == "call_1"
    assert "hello" in str(output["output"])
    assert await made.sandbox.read_file("made.txt", limit_bytes=100) == b"hello\n"
    last = await _ask(made.agent, _request(_user("Write."), *first.items, output))
    assert "done" in _texts(last.items)


async def test_a_message_behind_the_last_answer_reaches_the_model(bench: Build) -> None:
    seen: list[str] = []

    def script(items: Sequence[JSONObject]) -> Sequence[JSONObject]:
        seen.append(_texts(items))
        return [message("yes" if "More, please." in seen[-1] else "no")]

    made = await bench(script)
    first = await _ask(made.agent, _request(_user("Ask.")))
    assert "no" in _texts(first.items)
    second = await _ask(made.agent, _request(_user("Ask."), *first.items, _user("More, please.")))
    assert "yes" in _texts(second.items)


async def test_an_agent_begins_with_the_transcript_it_is_given(bench: Build) -> None:
    seen: list[Sequence[JSONObject]] = []

    def script(items: Sequence[JSONObject]) -> Sequence[JSONObject]:
        seen.append(items)
        return [message("done")]

    made = await bench(script)
    output: JSONObject = {"type": "function_call_output", "call_id": "call_1", "output": "of before"}
    await _ask(made.agent, _request(_user("Write."), _WRITE, output))
    [before] = [item for item in seen[0] if item.get("type") == "function_call_output"]
    assert (before["call_id"], before["output"]) == ("call_1", "of before")
    assert await made.sandbox.read_file("made.txt", limit_bytes=100) is None


async def test_no_model_is_asked_without_a_sandbox(bench: Build) -> None:
    async def refuse() -> Sandbox:
        raise SandboxUnavailable("there is none", hint="use another engine")

    asked: list[Sequence[JSONObject]] = []

    def script(seen: Sequence[JSONObject]) -> Sequence[JSONObject]:
        asked.append(seen)
        return [message("done")]

    made = await bench(script)
    agent = made.harness.agent(HarnessOrder(_KEY, _SETTINGS, refuse))
    events: list[object] = []
    with pytest.raises(SandboxUnavailable, match="there is none"):
        events.extend([event async for event in agent.stream(_request(_user("Write.")))])
    await agent.close()
    assert (asked, events) == ([], [])


async def test_a_harness_says_what_it_is_and_agents_end_twice(bench: Build) -> None:
    made = await bench(lambda _seen: [message("done")])
    report = await made.harness.check()
    assert (report.usable, report.problem) == (True, "")
    assert report.version
    await made.agent.close()
    await made.agent.close()
