"""What every model does: the scripted one, a recording played back, and the real client over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from codexteam.adapters.recording import RecordingModel, ReplayModel
from codexteam.adapters.responses.model import ResponsesModel
from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import encode_object
from codexteam.core.ids import JSONObject
from codexteam.ports.model import (
    CallEnd,
    CallFailed,
    CallFailureKind,
    ContextExceeded,
    CutShort,
    ItemDone,
    Model,
    ModelAnswer,
    ModelRequest,
    Sending,
)
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, call_key, collect, model_request, provider
from tests.fakes.scripted_model import ScriptedModel
from tests.scripted_api import Call, HttpError, Played, Reply, ScriptedApi, function_call, message, reasoning, refusal

Ends = Callable[[str], CallEnd]
"""A task's id to how the call for it ends."""
Stage = Callable[[Ends], Awaitable[Model]]

TASKS = [f"T{number}" for number in range(1, 41)]


def _requests() -> list[ModelRequest]:
    return [model_request(key=call_key(task_id=task)) for task in TASKS]


async def _scripted(ends: Ends, stack: AsyncExitStack, folder: Path) -> Model:
    return ScriptedModel(lambda request: ends(request.key.agent.task_id))


async def _replayed(ends: Ends, stack: AsyncExitStack, folder: Path) -> Model:
    file = folder / "recording.jsonl"
    recording = RecordingModel(await _scripted(ends, stack, folder), file, FastClock())
    for request in _requests():
        await collect(recording, request)
    await recording.close()
    return ReplayModel(file, FastClock())


async def _real(ends: Ends, stack: AsyncExitStack, folder: Path) -> Model:
    def play(call: Call) -> Played:
        match ends(call.task_id):
            case ModelAnswer(items=items, usage=usage):
                return Reply(items, usage=usage is not None)
            case CutShort(reason=reason, items=items):
                return Reply(items, end="incomplete", reason=reason)
            case ContextExceeded():
                return HttpError(400, "context_length_exceeded")
            case CallFailed(may_be_billed=True, usage=usage):
                told = None if usage is None else encode_object(usage)
                return Reply(
                    end="failed",
                    reason="invalid_value",
                    message="scripted",
                    told_usage=told,
                )
            case CallFailed():
                return HttpError(400, "invalid_value", "scripted")

    api = await stack.enter_async_context(ScriptedApi(play))
    model = ResponsesModel({"local": provider(api.base_url)}, {"LOCAL_KEY": KEY}, FastClock(), lambda: 0.5)
    stack.push_async_callback(model.close)
    return model


@pytest.fixture(params=[_scripted, _replayed, _real], ids=["scripted", "replayed", "real"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield lambda ends: request.param(ends, stack, tmp_path)


async def _one(stage: Stage, end: CallEnd) -> CallEnd:
    got = await collect(await stage(lambda _: end), model_request())
    return got.end


ITEMS: tuple[JSONObject, ...] = (
    reasoning("hm", encrypted=""),
    function_call("exec_command", {"cmd": "ls"}),
    message("ok"),
)


async def test_items_are_handed_out_in_order_before_the_answer_that_has_them(stage: Stage) -> None:
    items = tuple({name: part for name, part in item.items() if name != "encrypted_content"} for item in ITEMS)
    got = await collect(await stage(lambda _: ModelAnswer(items, Usage(9, 0, 3, 0))), model_request())
    assert [event.item for event in got.of(ItemDone)] == list(items)
    assert got.answer.items == items
    assert got.answer.usage is not None


async def test_a_usage_that_is_missing_stays_missing(stage: Stage) -> None:
    end = await _one(stage, ModelAnswer((message("ok"),), None))
    assert isinstance(end, ModelAnswer)
    assert end.usage is None


async def test_a_refusal_is_part_of_the_answer(stage: Stage) -> None:
    end = await _one(stage, ModelAnswer((refusal("no"),), None, refusal="no"))
    assert isinstance(end, ModelAnswer)
    assert end.refusal == "no"


async def test_of_an_answer_cut_short_no_cut_call_is_handed_out(stage: Stage) -> None:
    cut = function_call("exec_command", '{"cmd": "rm -rf /wo')
    cut["status"] = "incomplete"
    got = await collect(await stage(lambda _: CutShort("max_output_tokens", (cut,), None)), model_request())
    assert isinstance(got.end, CutShort)
    assert got.end.reason == "max_output_tokens"
    assert got.of(ItemDone) == []


async def test_a_context_that_is_too_long_is_an_end(stage: Stage) -> None:
    assert isinstance(await _one(stage, ContextExceeded("too long")), ContextExceeded)


async def test_a_failure_is_an_end_and_no_exception(stage: Stage) -> None:
    end = await _one(stage, CallFailed(CallFailureKind.REJECTED, "scripted"))
    assert isinstance(end, CallFailed)
    assert end.kind is CallFailureKind.REJECTED


async def test_a_failure_says_what_it_is_billed(stage: Stage) -> None:
    billed = CallFailed(CallFailureKind.REJECTED, "scripted", Usage(9, 0, 3, 0), may_be_billed=True)
    end = await _one(stage, billed)
    assert isinstance(end, CallFailed)
    assert (end.usage, end.may_be_billed) == (billed.usage, True)


async def test_a_failure_that_was_turned_away_is_not_billed(stage: Stage) -> None:
    end = await _one(stage, CallFailed(CallFailureKind.REJECTED, "scripted"))
    assert isinstance(end, CallFailed)
    assert (end.usage, end.may_be_billed) == (None, False)


async def test_many_calls_at_once_each_get_their_own_answer(stage: Stage) -> None:
    model = await stage(lambda task: ModelAnswer((message(f"this is {task}"),), None))
    got = await asyncio.gather(*(collect(model, request) for request in _requests()))
    for task, collected in zip(TASKS, got, strict=True):
        assert f'this is {task}"' in str(collected.answer.items).replace("'", '"')


async def test_what_is_sent_is_said_before_anything_comes_of_it(stage: Stage) -> None:
    model = await stage(lambda _: ModelAnswer(ITEMS, None))
    events = (await collect(model, model_request())).events
    assert events[0] == Sending()
    assert events.count(Sending()) == 1


async def test_a_stream_can_be_left_at_any_time(stage: Stage) -> None:
    model = await stage(lambda _: ModelAnswer(ITEMS, None))
    async with aclosing(model.stream(model_request())) as stream:  # type: ignore[type-var]  # all are generators
        await anext(stream)
    assert (await collect(model, model_request())).answer.items


async def test_closing_may_be_repeated(stage: Stage) -> None:
    model = await stage(lambda _: ModelAnswer((message("ok"),), None))
    await collect(model, model_request())
    await model.close()
    await model.close()
