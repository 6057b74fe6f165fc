import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from codexteam.agent.event_fields import PersonAwaited
from codexteam.agent.hold import HELD
from codexteam.agent.outcome import (
    BadAnswer,
    GaveUp,
    ModelGaveUp,
    ModelRefused,
    OutOfBudget,
    OutOfTime,
    OutOfTurns,
    Stuck,
    Submitted,
)
from codexteam.agent.tools.tool_context import ToolLimits
from codexteam.config.settings import ModelSettings, SandboxMode
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Amount, Price, Usage
from codexteam.core.ids import CallKey, JSONObject, Purpose
from codexteam.core.redaction import Redactor
from codexteam.errors import ModelAccessError, SandboxLost
from codexteam.ports.model import CallFailed, CallFailureKind, ContextExceeded, CutShort, ModelAnswer, ModelRequest
from codexteam.ports.sandbox import Command, CommandResult, Sandbox, SandboxSpec, Snapshot
from codexteam.ports.store import Store
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended, line_of
from tests.fakes.scripted_model import Held, Play, ScriptedModel
from tests.support_ledger import held_tokens, spent
from tests.unit.agent.agent_world import (
    REPORT,
    RUN,
    AgentWorld,
    agent_key,
    function_call,
    messages_in,
    outputs_in,
    playing,
    run_line,
    said,
)

PATCH = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n"


async def test_an_agent_works_until_it_answers(tmp_path: Path) -> None:
    engine = FakeEngine(script={"pytest -q": ended(1, "1 failed\n"), "true": ended()})
    world = AgentWorld(tmp_path, playing([run_line("pytest -q")], [run_line("true")], [said(REPORT)]), engine)
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.answer == REPORT
    assert (outcome.effort.turns, outcome.effort.usage) == (3, Usage(300, 0, 60, 0))
    first = outputs_in(world.asked[1])[0]
    assert first.endswith("Process exited with code 1\nOriginal token count: 3\nOutput:\n1 failed\n")
    assert world.ran == ["pytest -q", "true"]


async def test_the_prefix_of_every_request_is_the_whole_request_before(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended())
    world = AgentWorld(tmp_path, playing([run_line("a")], [run_line("b")], [said(REPORT)]), engine)
    await world.work()
    for before, after in zip(world.asked, world.asked[1:], strict=False):
        assert list(after.input)[: len(before.input)] == list(before.input)
        assert (after.instructions, after.tools, after.prompt_cache_key) == (
            before.instructions,
            before.tools,
            before.prompt_cache_key,
        )


async def test_a_patch_changes_the_workspace_and_its_snapshot_is_handed_over(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([function_call("apply_patch", {"input": PATCH})], [said(REPORT)]))
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.effort.snapshot is not None
    assert outcome.effort.snapshot.pack.name == "turn-1.pack"
    assert world.sandbox.files == {"new.txt": b"hello\n"}
    assert "A new.txt" in outputs_in(world.asked[1])[0]


async def test_only_the_newest_snapshot_is_kept(tmp_path: Path) -> None:
    def write(sandbox: FakeSandbox, command: Command) -> CommandResult:
        sandbox.files["out"] = command.argv[-1].encode()
        return ended()

    engine = FakeEngine(otherwise=write)
    world = AgentWorld(tmp_path, playing([run_line("a")], [run_line("b")], [said(REPORT)]), engine)
    await world.work()
    assert [path.name for path in tmp_path.glob("*.pack")] == ["turn-2.pack"]


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (function_call("exec_command", '{"cmd": '), "not valid JSON"),
        (function_call("exec_command", "[]"), "must be one JSON object"),
        (function_call("exec_command", {"script": "ls"}), "has no argument script; it takes cmd, "),
        (function_call("exec_command", {"cmd": ["ls", 3]}), 'a list of strings such as ["bash", "-lc", "ls"]'),
        (function_call("exec_command", {"cmd": PATCH}), "is a patch, not a command"),
        (function_call("exec_command", {}), "cmd is missing"),
        (function_call("exec_command", {"cmd": 3}), "must be a string"),
        (function_call("exec_command", {"cmd": "a\0b"}), "NUL"),
        (function_call("exec_command", '{"cmd": "\\ud800"}'), "surrogate"),
        (function_call("make_coffee", {}), "there is no tool 'make_coffee'"),
        (function_call("write_stdin", {"session_id": 7}), "no session 7 is running"),
        (function_call("view_image", {"path": "../etc/passwd"}), "outside the workspace"),
        (function_call("view_image", {"path": "none.png"}), "there is no file none.png"),
        (function_call("view_image", {"path": "x" * 300}), "File name too long"),
        (function_call("apply_patch", {"input": "nonsense"}), "patch"),
        ({"type": "custom_tool_call", "call_id": "c", "name": "exec_command", "input": "ls"}, "must be called as"),
    ],
)
async def test_a_wrong_call_is_explained_to_the_model(tmp_path: Path, item: JSONObject, complaint: str) -> None:
    world = AgentWorld(tmp_path, playing([item], [said(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    (output,) = outputs_in(world.asked[1])
    assert output.startswith("Error: ")
    assert complaint in output
    assert world.ran == []


async def test_two_calls_with_one_id_are_done_once_and_answered_once(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended())
    world = AgentWorld(tmp_path, playing([run_line("first"), run_line("second")], [said(REPORT)]), engine)
    await world.work()
    assert world.ran == ["first"]
    calls = [item for item in world.asked[1].input if item.get("type") == "function_call"]
    assert len(calls) == len(outputs_in(world.asked[1])) == 1


async def test_an_id_may_come_again_in_a_later_turn(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended())
    world = AgentWorld(tmp_path, playing([run_line("a")], [run_line("b")], [said(REPORT)]), engine)
    await world.work()
    assert world.ran == ["a", "b"]


async def test_a_freeform_patch_is_applied_and_answered_in_kind(tmp_path: Path) -> None:
    call: JSONObject = {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": PATCH}
    world = AgentWorld(tmp_path, playing([call], [said(REPORT)]), freeform=True)
    await world.work()
    assert world.sandbox.files == {"new.txt": b"hello\n"}
    assert world.asked[1].input[-1]["type"] == "custom_tool_call_output"


async def test_a_picture_goes_back_as_a_picture(tmp_path: Path) -> None:
    engine = FakeEngine(files={"a.png": b"\x89PNG\r\n\x1a\n...."})
    world = AgentWorld(tmp_path, playing([function_call("view_image", {"path": "a.png"})], [said(REPORT)]), engine)
    await world.work()
    output = world.asked[1].input[-1]["output"]
    assert isinstance(output, list)
    assert isinstance(output[0], dict)
    assert str(output[0]["image_url"]).startswith("data:image/png;base64,")


async def test_reads_run_side_by_side_and_writes_in_order(tmp_path: Path) -> None:
    running: list[str] = []
    most = 0

    async def note(_: FakeSandbox, command: Command) -> CommandResult:
        nonlocal most
        running.append(command.argv[-1])
        most = max(most, len(running))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.remove(command.argv[-1])
        return ended()

    calls = [run_line(f"line {number}", f"call_{number}") for number in range(4)]
    reading = AgentWorld(
        tmp_path, playing(calls, [said(REPORT)]), FakeEngine(otherwise=note), mode=SandboxMode.READ_ONLY
    )
    await reading.work()
    assert most == 4
    most = 0
    writing = AgentWorld(tmp_path, playing(calls, [said(REPORT)]), FakeEngine(otherwise=note))
    await writing.work()
    assert most == 1
    assert writing.ran == [f"line {number}" for number in range(4)]


async def test_a_long_output_is_clipped_and_kept_whole_in_a_file(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(2_000_000))
    engine = FakeEngine(script={"cat big": ended(0, text)})
    world = AgentWorld(
        tmp_path, playing([run_line("cat big")], [said(REPORT)]), engine, tool_limits=ToolLimits(output_tokens=1_000)
    )
    await world.work()
    (output,) = outputs_in(world.asked[1])
    assert len(output) < 4_400
    assert "line 0\n" in output
    assert output.endswith("line 1999999\n")
    assert "tokens truncated" in output
    (kept,) = (tmp_path / "outputs").iterdir()
    assert kept.read_text() == text


async def test_secrets_and_bytes_that_are_no_text_do_not_reach_the_model(tmp_path: Path) -> None:
    engine = FakeEngine(script={"env": ended(0, b"KEY=sk-secret \xff\xfe\0 end")})
    world = AgentWorld(
        tmp_path,
        playing([run_line("env")], [said(REPORT)]),
        engine,
        redactor=Redactor(["sk-secret"]),
    )
    await world.work()
    assert outputs_in(world.asked[1])[0].endswith("KEY=[redacted] \ufffd\ufffd\ufffd end")


async def test_an_answer_that_does_not_fit_is_sent_back_once_with_the_reason(tmp_path: Path) -> None:
    wrong = {**REPORT, "status": "finished"}
    world = AgentWorld(tmp_path, playing([said(wrong)], [said(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert "'finished' is not one of done, blocked, needs_clarification" in messages_in(world.asked[1])[-1]


async def test_a_second_answer_that_does_not_fit_is_the_end(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([said("no JSON")], [said("{}")]))
    outcome = await world.work()
    assert isinstance(outcome, BadAnswer)
    assert "status: missing" in outcome.reason


async def test_a_check_beyond_the_schema_is_sent_back_too(tmp_path: Path) -> None:
    other = {**REPORT, "summary": "better"}
    world = AgentWorld(
        tmp_path,
        playing([said(REPORT)], [said(other)]),
        check=lambda answer: None if answer == other else "summary: say more",
    )
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.answer == other
    assert "say more" in messages_in(world.asked[1])[-1]


async def test_a_refusal_is_an_end_of_its_own(tmp_path: Path) -> None:
    item: JSONObject = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]}
    outcome = await AgentWorld(tmp_path, ScriptedModel([[item]])).work()
    assert isinstance(outcome, ModelRefused)
    assert outcome.text == "I can't."


async def test_nothing_of_an_answer_that_was_cut_off_is_done(tmp_path: Path) -> None:
    cut = CutShort("max_output_tokens", (run_line("rm -rf /"),), Usage(10, 0, 10, 0))
    world = AgentWorld(tmp_path, playing(cut, [said(REPORT)]))
    assert isinstance(await world.work(), Submitted)
    assert world.ran == []
    assert world.asked[1].max_output_tokens == 8_000
    assert "cut off" in messages_in(world.asked[1])[-1]


async def test_two_cut_answers_in_a_row_are_the_end(tmp_path: Path) -> None:
    cut = CutShort("max_output_tokens")
    outcome = await AgentWorld(tmp_path, playing(cut, cut)).work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.kind is GaveUp.LENGTH


async def test_a_content_filter_is_the_end(tmp_path: Path) -> None:
    outcome = await AgentWorld(tmp_path, playing(CutShort("content_filter"))).work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.kind is GaveUp.FILTERED


async def test_a_call_that_fails_for_good_is_the_end_and_may_be_made_again(tmp_path: Path) -> None:
    failed = CallFailed(CallFailureKind.UNAVAILABLE, "529 overloaded")
    world = AgentWorld(tmp_path, playing(failed), limits=BudgetLimits(run_tokens=100_000))
    outcome = await world.work()
    assert isinstance(outcome, ModelGaveUp)
    assert spent(world.gate.ledger) == 0
    world.model = playing([said(REPORT)])
    assert isinstance(await world.work(), Submitted)


async def test_a_context_that_is_too_long_is_summed_up_and_the_work_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended(0, "x" * 30_000))
    world = AgentWorld(
        tmp_path,
        playing(
            [run_line("a")],
            [run_line("b")],
            ContextExceeded("too long"),
            [said("I ran a and b.")],
            [said(REPORT)],
        ),
        engine,
    )
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    compaction, after = world.asked[3], world.asked[4]
    assert compaction.key.purpose is Purpose.COMPACT
    assert sum(len(str(item)) for item in compaction.input) < 10_000
    assert messages_in(after)[:2] == ["# AGENTS.md instructions", "Do T1."]
    assert "I ran a and b." in messages_in(after)[2]
    assert outputs_in(after) == []


async def test_a_context_that_is_too_long_again_is_the_end(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended())
    world = AgentWorld(
        tmp_path, playing([run_line("a")], ContextExceeded("1"), [said("summary")], ContextExceeded("2")), engine
    )
    outcome = await world.work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.kind is GaveUp.CONTEXT


async def test_a_context_that_is_nearly_full_is_summed_up_before_it_is_full(tmp_path: Path) -> None:
    full = ModelAnswer((run_line("a"),), Usage(950, 0, 10, 0))
    engine = FakeEngine(otherwise=ended(0, "y" * 40_000))
    world = AgentWorld(
        tmp_path,
        playing(full, [said("summary")], [said(REPORT)]),
        engine,
        settings=ModelSettings("fake", "gpt-5.4", context_window_tokens=1_000),
    )
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert [request.key.purpose for request in world.asked] == [Purpose.IMPLEMENT, Purpose.COMPACT, Purpose.IMPLEMENT]
    assert list(world.asked[1].input)[:-1] == [*world.asked[0].input, *list(world.asked[1].input)[2:-1]]
    assert outcome.effort.usage.input_tokens == 950 + 100 + 100


async def test_an_agent_that_repeats_itself_is_told_and_then_stopped(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, ScriptedModel(lambda _: [run_line("ls")]), FakeEngine(otherwise=ended(0, "a\n")))
    outcome = await world.work()
    assert isinstance(outcome, Stuck)
    assert outcome.effort.turns == 5
    assert "3 times" in messages_in(world.asked[3])[-1]


async def test_an_agent_that_alternates_between_two_calls_is_stopped(tmp_path: Path) -> None:
    world = AgentWorld(
        tmp_path,
        ScriptedModel(lambda request: [run_line("ab"[request.key.turn % 2])]),
        FakeEngine(otherwise=ended(0, "same\n")),
    )
    outcome = await world.work()
    assert isinstance(outcome, Stuck)
    assert outcome.effort.turns == 10
    assert "same two turns" in outcome.reason


def mend(sandbox: FakeSandbox, _: Command) -> CommandResult:
    sandbox.files["load.py"] = f"{len(sandbox.ran)}\n".encode()
    return ended()


MENDS: dict[str, CommandResult | Callable[[FakeSandbox, Command], CommandResult]] = {
    "pytest -q": ended(1, "E\n"),
    "mend": mend,
    "look": ended(),
}


async def test_a_check_that_fails_change_by_change_is_the_end(tmp_path: Path) -> None:
    lines = ["pytest -q", "look", "pytest -q", "mend", "pytest -q"]
    world = AgentWorld(
        tmp_path, playing(*([run_line(each)] for each in lines)), FakeEngine(script=MENDS), max_fix_cycles=1
    )
    outcome = await world.work()
    assert isinstance(outcome, Stuck)
    assert outcome.effort.turns == 5
    assert "still fails after 1 try" in outcome.reason


async def test_stored_turns_are_not_judged_by_a_limit_that_was_set_later(tmp_path: Path) -> None:
    lines = ["pytest -q", "mend", "pytest -q", "mend", "pytest -q", "look"]
    plays: list[Play] = [[run_line(each)] for each in lines]
    world = AgentWorld(tmp_path, playing(*plays, RuntimeError("killed"), [said(REPORT)]), FakeEngine(script=MENDS))
    with pytest.raises(RuntimeError, match="killed"):
        await world.work()
    world.max_fix_cycles = 1
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert world.ran == lines


async def test_empty_answers_are_asked_again_once(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([], [said("")]))
    outcome = await world.work()
    assert isinstance(outcome, Stuck)
    assert "empty" in messages_in(world.asked[1])[-1]


async def test_only_wrong_calls_turn_after_turn_are_the_end(tmp_path: Path) -> None:
    world = AgentWorld(
        tmp_path, ScriptedModel(lambda request: [function_call("exec_command", f"{{{request.key.turn}")])
    )
    outcome = await world.work()
    assert isinstance(outcome, Stuck)
    assert outcome.effort.turns == 8


async def test_a_model_that_never_stops_calling_tools_runs_out_of_turns(tmp_path: Path) -> None:
    count = iter(range(1_000))
    world = AgentWorld(
        tmp_path,
        ScriptedModel(lambda request: [run_line(f"step {request.key.turn}")]),
        FakeEngine(otherwise=lambda *_: ended(0, str(next(count)))),
        max_turns=6,
    )
    outcome = await world.work()
    assert isinstance(outcome, OutOfTurns)
    assert "last turn" in messages_in(world.asked[-1])[-1]
    assert len(world.ran) == 5


async def test_time_runs_out_between_turns(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([run_line("sleep")]), max_seconds=60)

    def pass_time(_: FakeSandbox, __: Command) -> CommandResult:
        world.clock.advance(61)
        return ended()

    world.engine.otherwise = pass_time
    assert isinstance(await world.work(), OutOfTime)


async def test_time_runs_out_in_the_middle_of_a_command(tmp_path: Path) -> None:
    killed: list[str] = []

    async def hang(_: FakeSandbox, command: Command) -> CommandResult:
        try:
            await asyncio.Event().wait()
        finally:
            killed.append(line_of(command))
        raise AssertionError("it waits for ever")

    world = AgentWorld(tmp_path, playing([run_line("sleep infinity")]), FakeEngine(otherwise=hang), max_seconds=1.0)
    outcome = await world.work()
    assert isinstance(outcome, OutOfTime)
    assert outcome.effort.turns == 1
    assert killed == ["sleep infinity"]


async def test_time_runs_out_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing(Held([said(REPORT)], asyncio.Event())), max_seconds=1.0)
    assert isinstance(await world.work(), OutOfTime)
    # whether the provider bills it is unknown: it stays counted
    assert world.gate.ledger.lost(CallKey(world.key, 1, world.key.purpose)) != Amount()


async def test_what_was_written_is_kept_when_time_runs_out_while_it_is_taken_out(tmp_path: Path) -> None:
    engine = FakeEngine(otherwise=ended())
    begun = 0

    class Slow(FakeSandbox):
        async def snapshot(self, destination: Path) -> Snapshot | None:
            nonlocal begun
            begun += 1
            if begun == 1:
                await asyncio.Event().wait()
            return await super().snapshot(destination)

    class SlowEngine(FakeEngine):
        async def start(self, spec: SandboxSpec) -> Sandbox:
            return Slow(engine, spec)

    patch = "*** Begin Patch\n*** Add File: new.py\n+new\n*** End Patch\n"
    answer = [function_call("apply_patch", {"input": patch})]
    world = AgentWorld(tmp_path, playing(answer), SlowEngine(), max_seconds=0.05)
    outcome = await world.work()
    assert isinstance(outcome, OutOfTime)
    assert outcome.effort.snapshot is not None


async def test_messages_reach_the_agent_before_its_next_turn_once(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([run_line("ls")], [said(REPORT)]), FakeEngine(otherwise=ended()))
    world.mailbox.say("Use tabs.")
    await world.work()
    assert messages_in(world.asked[1])[-1].endswith("Use tabs.")
    assert world.mailbox.waiting() == ()
    told = [fact.fields for fact in await world.store.facts(RUN) if fact.kind == "agent.told"]
    assert [(fields["turn"], fields["messages"]) for fields in told] == [(1, ["Use tabs."])]


async def test_a_message_that_comes_with_the_final_answer_is_read_first(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([said(REPORT)], [said({**REPORT, "summary": "With tabs."})]))
    world.mailbox.say("Use tabs.")
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.answer["summary"] == "With tabs."


async def test_a_held_agent_begins_no_turn_and_its_time_stands_still(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([said(REPORT)]), max_seconds=1.0)
    world.hold.take(47, "boot:1")
    world.hold.take(48, "boot:2")
    work = asyncio.ensure_future(world.work())
    while PersonAwaited(HELD) not in world.events:
        await asyncio.sleep(0)
    world.clock.advance(100.0)
    world.hold.let_go(47)
    await asyncio.sleep(0)
    assert world.asked == []

    world.hold.let_go_for_dead(lambda _pid: "")  # 48 was killed

    assert isinstance(await work, Submitted)
    assert world.events.index(PersonAwaited("")) > world.events.index(PersonAwaited(HELD))


async def test_a_spent_budget_lets_the_agent_hand_over(tmp_path: Path) -> None:
    big = ModelAnswer((run_line("a"),), Usage(90_000, 0, 3_000, 0))
    world = AgentWorld(
        tmp_path,
        playing(big, [said({**REPORT, "status": "blocked"})]),
        FakeEngine(otherwise=ended()),
        limits=BudgetLimits(run_tokens=200_000, wind_down_share=0.5),
    )
    outcome = await world.work()
    assert isinstance(outcome, OutOfBudget)
    assert outcome.budget_scope.scope == "run"
    assert outcome.handed_over is not None
    assert outcome.handed_over["status"] == "blocked"
    assert "last turn" in messages_in(world.asked[1])[-1]


async def test_an_agent_without_budget_makes_no_call_at_all(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing(), limits=BudgetLimits(run_tokens=0))
    outcome = await world.work()
    assert isinstance(outcome, OutOfBudget)
    assert world.asked == []


async def test_after_a_hand_over_a_resumed_agent_continues_with_new_budget(tmp_path: Path) -> None:
    big = ModelAnswer((run_line("a"),), Usage(90_000, 0, 3_000, 0))
    engine = FakeEngine(otherwise=ended())
    world = AgentWorld(
        tmp_path, playing(big, [said(REPORT)]), engine, limits=BudgetLimits(run_tokens=200_000, wind_down_share=0.5)
    )
    assert isinstance(await world.work(), OutOfBudget)
    again = AgentWorld(tmp_path, playing(), engine, store=world.store, limits=BudgetLimits(run_tokens=100))
    assert isinstance(await again.work(), OutOfBudget)
    richer = AgentWorld(tmp_path, playing([said(REPORT)]), engine, store=world.store)
    assert isinstance(await richer.work(), Submitted)
    assert "There is budget again" in messages_in(richer.asked[0])[-1]
    assert world.ran == ["a"]


async def test_an_unknown_usage_costs_what_was_reserved(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing(ModelAnswer((said(REPORT),), None)))
    outcome = await world.work()
    assert outcome.effort.unknown_usage_calls == 1
    assert spent(world.gate.ledger) > 4_000


async def test_no_access_to_the_model_stops_everything_and_costs_nothing(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, ScriptedModel([ModelAccessError("401")]), prices={"gpt-5.4": Price(1, 1, 1)})
    with pytest.raises(ModelAccessError):
        await world.work()
    assert held_tokens(world.gate.ledger) == 0
    assert spent(world.gate.ledger) == 0
    assert await world.store.open_calls(world.key.run_id) == []


async def test_a_cancelled_agent_kills_its_commands_and_keeps_its_call_open(tmp_path: Path) -> None:
    asked = asyncio.Event()
    world = AgentWorld(tmp_path, ScriptedModel([Held([said(REPORT)], asyncio.Event(), asked)]))
    task = asyncio.create_task(world.work())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (call,) = await world.store.open_calls(world.key.run_id)
    assert call.key == CallKey(world.key, 1, Purpose.IMPLEMENT)
    assert held_tokens(world.gate.ledger) == 0
    assert spent(world.gate.ledger) == call.reserved_tokens


async def test_a_lost_sandbox_costs_one_turn(tmp_path: Path) -> None:
    def lose(sandbox: FakeSandbox, _: Command) -> CommandResult:
        if len(world.engine.started) == 1:
            sandbox.lose()
            raise SandboxLost("gone")
        return ended(0, "fine\n")

    world = AgentWorld(
        tmp_path, playing([function_call("apply_patch", {"input": PATCH})], [run_line("crash")], [said(REPORT)])
    )
    world.engine.otherwise = lose
    with pytest.raises(SandboxLost):
        await world.work()
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert world.sandbox.files == {"new.txt": b"hello\n"}
    assert outcome.effort.turns == 3
    assert len(world.asked) == 3, "no answered call is made again"


def _script(request: ModelRequest) -> Play:
    match request.key.turn:
        case 1:
            return [function_call("apply_patch", {"input": PATCH})]
        case 2:
            return [run_line("pytest"), run_line("ruff", "call_2")]
        case 3:
            return [said("no JSON")]
        case _:
            return [said(REPORT)]


@pytest.mark.parametrize("die_at", range(1, 25))
async def test_an_agent_killed_at_any_step_ends_the_same(tmp_path: Path, die_at: int) -> None:
    """Every call of the store is a point to die at; whatever was stored counts, nothing is asked twice."""
    engine = FakeEngine(otherwise=ended(0, "ok\n"))
    whole = AgentWorld(tmp_path / "whole", ScriptedModel(_script), engine)
    whole.folder.mkdir()
    expected = await whole.work()
    folder = tmp_path / "killed"
    folder.mkdir()
    world = AgentWorld(folder, ScriptedModel(_script), engine)
    store = world.store
    world.store = cast("Store", DyingStore(store, die_at))
    try:
        outcome = await world.work()
    except KilledError:
        world.store = store
        outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert isinstance(expected, Submitted)
    assert outcome.answer == expected.answer
    assert outcome.effort.turns == expected.effort.turns
    assert outcome.effort.usage == expected.effort.usage
    assert world.sandbox.files == {"new.txt": b"hello\n"}
    asked = [request.key for request in world.asked]
    answered = [answer.key for answer in await store.answers(world.key.run_id)]
    assert len(answered) == 4
    assert len(asked) - len(set(asked)) <= 1, "at most the call that was on its way is made again"
    assert list(world.asked[-1].input)[:3] == list(whole.asked[-1].input)[:3]


class KilledError(BaseException):
    """The process is gone."""


class DyingStore:
    """A store whose n-th write is the last thing that happens."""

    def __init__(self, store: Store, die_at: int) -> None:
        self._store = store
        self._left = die_at

    def __getattr__(self, name: str) -> object:
        method = getattr(self._store, name)
        if name not in {"open_call", "record_answer", "record_turn", "turns"}:
            return method

        async def dying(*arguments: object) -> object:
            self._left -= 1
            if self._left == 0:
                raise KilledError
            done = await method(*arguments)
            self._left -= 1
            if self._left == 0:
                raise KilledError
            return done

        return dying


async def test_a_reading_agent_needs_no_snapshot(tmp_path: Path) -> None:
    world = AgentWorld(
        tmp_path,
        playing([run_line("ls")], [said({"answer": "yes", "ask_user": False})]),
        FakeEngine(otherwise=ended()),
        mode=SandboxMode.READ_ONLY,
        key=agent_key(Purpose.CLARIFY, "orchestrator"),
    )
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.effort.snapshot is None
