"""What a model or its service does wrong, through the real client and the real wire, with a real process behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.bare_sandbox import BareSandbox
from codexteam.adapters.responses.model import ResponsesModel
from codexteam.agent.outcome import BadAnswer, GaveUp, ModelGaveUp, ModelRefused, OutOfTurns, Submitted
from codexteam.config.settings import ModelSettings
from codexteam.core.answers import TaskReport
from codexteam.core.ids import JSONObject, Purpose
from codexteam.core.redaction import Redactor
from codexteam.errors import ModelAccessError
from codexteam.ports.sandbox import SandboxSpec
from codexteam.run.assignment import AgentFailure, report_of
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, provider
from tests.scripted_api import (
    Call,
    Drop,
    HttpError,
    Played,
    Reply,
    Reset,
    Script,
    ScriptedApi,
    function_call,
    in_order,
    message,
    reasoning,
    refusal,
)
from tests.support_ledger import spent
from tests.support_processes import wait_for_end
from tests.unit.agent.agent_world import REPORT, AgentWorld


class BareEngine(FakeEngine):
    """Starts bare processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    async def start(self, spec: SandboxSpec) -> FakeSandbox:
        self.folder.mkdir(exist_ok=True)
        return BareSandbox(self.folder)  # type: ignore[return-value]  # nobody here looks for a fake's own members


def run(line: str, **more: str) -> JSONObject:
    return function_call("exec_command", {"cmd": line}, **more)


class Wire:
    """An agent over a scripted server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = ScriptedApi(in_order())
        self.world: AgentWorld

    def play(self, script: Script) -> AgentWorld:
        self.api.script = script
        clock = FastClock()
        self.world = AgentWorld(
            self.folder,
            ResponsesModel({"local": provider(self.api.base_url)}, {"LOCAL_KEY": KEY}, clock, lambda: 0.5),
            BareEngine(self.folder / "work"),
            settings=ModelSettings("local", "test-model", max_output_tokens=4_000),
        )
        return self.world

    def input(self, number: int) -> list[JSONObject]:
        """The input of a request, counted from 1."""
        return self.api.requests[number - 1].call.input


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    wire = Wire(tmp_path)
    async with wire.api:
        yield wire
        await wire.world.model.close()


def output(items: list[JSONObject]) -> str:
    return str(items[-1]["output"])


async def test_a_command_runs_and_its_output_comes_back(wire: Wire) -> None:
    world = wire.play(in_order([reasoning(), run("echo hello; exit 3")], [message(REPORT)]))
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert "Process exited with code 3" in output(wire.input(2))
    assert output(wire.input(2)).endswith("Output:\nhello\n")
    kinds = [item["type"] for item in wire.input(2)]
    assert kinds == ["message", "message", "reasoning", "function_call", "function_call_output"]
    assert wire.input(2)[2]["encrypted_content"] == "gAAAA-scripted"


async def test_arguments_that_are_no_json_go_back_as_an_error(wire: Wire) -> None:
    world = wire.play(in_order([function_call("exec_command", '{"cmd": "ls"')], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert "not valid JSON" in output(wire.input(2))


async def test_a_tool_that_is_unknown_goes_back_as_an_error(wire: Wire) -> None:
    world = wire.play(in_order([function_call("browse", {})], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert "there is no tool 'browse'" in output(wire.input(2))


async def test_two_calls_with_one_id_run_once(wire: Wire) -> None:
    twice = [run("echo x >> log", call_id="same"), run("echo x >> log", call_id="same")]
    world = wire.play(in_order(twice, [run("cat log")], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert output(wire.input(3)).endswith("Output:\nx\n")


async def test_a_refusal_is_no_success(wire: Wire) -> None:
    outcome = await wire.play(in_order([refusal("I won't.")])).work()
    assert isinstance(outcome, ModelRefused)
    assert outcome.text == "I won't."


async def test_an_answer_cut_for_length_is_not_executed_and_asked_again(wire: Wire) -> None:
    cut = Reply((run("touch cut"),), end="incomplete", reason="max_output_tokens")
    world = wire.play(in_order(cut, [run("ls -A")], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert output(wire.input(3)).endswith("Output:\n")
    assert wire.api.requests[1].call.body["max_output_tokens"] == 8_000


async def test_an_answer_cut_by_a_content_filter_is_the_end(wire: Wire) -> None:
    outcome = await wire.play(in_order(Reply((), end="incomplete", reason="content_filter"))).work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.kind is GaveUp.FILTERED


@pytest.mark.parametrize("fault", [HttpError(400, "content_filter", "flagged by the content filter"), HttpError(413)])
async def test_a_request_that_is_refused_for_what_it_asks_is_not_tried_again(wire: Wire, fault: HttpError) -> None:
    outcome = await wire.play(lambda _: fault).work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.lasting
    report = report_of(outcome, TaskReport, Redactor())
    assert isinstance(report, AgentFailure)
    assert report.lasting


async def test_a_context_that_is_too_long_is_compacted_and_the_work_goes_on(wire: Wire) -> None:
    too_long = HttpError(400, "context_length_exceeded", "too long")
    world = wire.play(in_order([run("seq 9")], too_long, [message("I counted to nine.")], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    purposes = [request.call.purpose for request in wire.api.requests]
    assert purposes == ["implement", "implement", "compact", "implement"]
    assert "I counted to nine." in str(wire.input(4)[2])
    keys = [request.call.headers["idempotency-key"] for request in wire.api.requests]
    assert len(set(keys)) == 4


async def test_a_final_answer_that_breaks_its_schema_is_sent_back_once(wire: Wire) -> None:
    world = wire.play(in_order([message({"status": "done"})], [message("still no report")]))
    outcome = await world.work()
    assert isinstance(outcome, BadAnswer)
    assert "summary: missing" in str(wire.input(2)[-1])


async def test_an_output_of_8_mb_is_clipped_and_kept(wire: Wire) -> None:
    line = "head -c 8388608 /dev/zero | tr '\\0' 'a'"
    world = wire.play(in_order([run(line)], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert "tokens truncated" in output(wire.input(2))
    assert len(output(wire.input(2))) < 45_000
    (kept,) = (wire.folder / "outputs").iterdir()
    assert kept.stat().st_size == 8 << 20


async def test_bytes_that_are_no_utf_8_do_no_harm(wire: Wire) -> None:
    world = wire.play(in_order([run("head -c 4096 /dev/urandom; printf '\\377\\0end'")], [message(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert output(wire.input(2)).endswith("\ufffdend")
    assert "\0" not in output(wire.input(2))


async def test_a_model_that_never_stops_calling_tools_runs_out_of_turns(wire: Wire) -> None:
    def again(call: Call) -> Played:
        return [run(f"echo {call.turn}")]

    world = wire.play(again)
    world.max_turns = 8
    assert isinstance(await world.work(), OutOfTurns)
    assert len(wire.api.requests) == 8


async def test_a_missing_usage_is_not_taken_for_nothing(wire: Wire) -> None:
    world = wire.play(in_order(Reply((message(REPORT),), usage=False)))
    outcome = await world.work()
    assert outcome.effort.unknown_usage_calls == 1
    assert spent(world.gate.ledger) > 4_000


@pytest.mark.parametrize("fault", [Reset(), Drop(mid_item=True), Drop(), HttpError(503), HttpError(529)])
async def test_what_passes_is_asked_again_and_nothing_is_done_twice(wire: Wire, fault: Played) -> None:
    def play(call: Call) -> Played:
        if call.turn == 1 and call.tries == 1:
            return fault
        return [run("echo x >> log; cat log")] if call.turn == 1 else [message(REPORT)]

    assert isinstance(await wire.play(play).work(), Submitted)
    assert output(wire.api.requests[-1].call.input).endswith("Output:\nx\n")


async def test_no_access_stops_at_once(wire: Wire) -> None:
    with pytest.raises(ModelAccessError):
        await wire.play(in_order(HttpError(401, "invalid_api_key", "no"))).work()
    assert len(wire.api.requests) == 1


async def test_a_command_that_runs_on_is_talked_to_later_and_ends_with_its_agent(wire: Wire) -> None:
    first = function_call("exec_command", {"cmd": "echo up; sleep 600", "yield_time_ms": 250})
    look = function_call("write_stdin", {"session_id": 1, "yield_time_ms": 250})

    def play(call: Call) -> Played:
        if call.number == 1:
            return [first]
        # on a busy machine a shell takes longer to say it than a look takes
        if not heard and "up\n" in output(call.input):
            heard.append(call.number)
        return [message(REPORT)] if heard and call.number > heard[0] else [look]

    heard: list[int] = []
    world = wire.play(play)
    assert isinstance(await world.work(), Submitted)
    assert "Process running with session ID 1" in output(wire.input(2))
    assert "Process running with session ID 1" in output(wire.api.requests[-1].call.input)


async def test_cancelling_in_the_middle_of_a_command_leaves_no_process(wire: Wire) -> None:
    world = wire.play(in_order([run("echo $$ > pid; exec sleep 600")]))
    task = asyncio.create_task(world.work())
    pid_file = wire.folder / "work" / "pid"
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    pid = int(pid_file.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_for_end(pid)


async def test_metadata_names_the_agent_and_the_turn(wire: Wire) -> None:
    world = wire.play(in_order([run("true")], [message(REPORT)]))
    await world.work()
    assert wire.api.requests[1].call.body["metadata"] == {
        "run_id": world.key.run_id,
        "role": "implementer",
        "purpose": Purpose.IMPLEMENT.value,
        "task_id": "T1",
        "attempt": "1",
        "turn": "2",
    }
