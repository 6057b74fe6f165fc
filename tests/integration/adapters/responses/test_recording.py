"""Recordings: what is in the file, and what it plays."""

import asyncio
import gc
import json
import logging
from pathlib import Path

import pytest

from codexteam.adapters.recording import RECORDING_VERSION, RecordingModel, ReplayModel, read_recording
from codexteam.config.settings import ModelSettings
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from codexteam.errors import ConfigError
from codexteam.ports.model import CallEnd, CallFailed, CallFailureKind, ModelAnswer, TextDelta
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, call_key, collect, model_request
from tests.fakes.scripted_model import ScriptedModel
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import HttpError, function_call, message, reasoning


async def _record(file: Path, *turns: int) -> None:
    model = RecordingModel(ScriptedModel(lambda request: [message(f"turn {request.key.turn}")]), file, FakeClock())
    for turn in turns:
        await collect(model, model_request(key=call_key(turn=turn)))
    await model.close()


async def test_a_run_over_the_wire_is_recorded_and_plays_back_in_another_run(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "recording.jsonl"
    bench.play([reasoning("hm"), function_call("exec_command", {"cmd": "ls"})], [message("done")])
    recording = RecordingModel(bench.model(), file, bench.clock)
    first = [await collect(recording, model_request(key=call_key(turn=turn))) for turn in (1, 2)]
    await recording.close()

    model = ReplayModel(file, bench.clock)
    for turn, before in enumerate(first, start=1):
        agent = AgentKey(RunId("20270101-0000-aaaa"), "implementer", Purpose.IMPLEMENT, "T1", 1)
        key = CallKey(agent, turn, Purpose.IMPLEMENT)
        after = await collect(model, model_request(key=key, settings=ModelSettings("replay", "any")))
        assert after.answer.usage == before.answer.usage
        assert [item["type"] for item in after.answer.items] == [item["type"] for item in before.answer.items]
        assert after.of(TextDelta) == ([TextDelta("done")] if turn == 2 else [])
    await model.close()


async def test_of_a_recording_that_cannot_be_read_only_who_asks_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ReplayModel(tmp_path / "none.jsonl", FakeClock())
    asking = asyncio.ensure_future(collect(model, model_request()))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await model.close()
    del model, asking
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_recording_has_no_key_no_header_and_no_run_id(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    secret = 'super"secret\\header'
    bench.play([reasoning("hm", encrypted="gAAAA-encrypted"), message(f"your key is {KEY}, your header {secret}")])
    model = RecordingModel(bench.model(), file, bench.clock, secrets=(KEY, secret))
    await collect(model, model_request())
    await model.close()
    text = file.read_text()
    header, line = (json.loads(row) for row in text.splitlines())
    assert header == {"codexteam_recording": RECORDING_VERSION}
    assert line["call"] == {"role": "implementer", "purpose": "implement", "task_id": "T1", "attempt": 1, "turn": 1}
    for unwanted in (
        KEY,
        secret,
        json.dumps(secret)[1:-1],
        "20261121-0231-7f3a",
        "gAAAA-encrypted",
        "Bearer",
        "127.0.0.1",
    ):
        assert unwanted not in text
    assert text.count("[redacted]") == 2


async def test_a_recording_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    await _record(file, 1, 2)
    await _record(file, 3)
    assert len(read_recording(file)) == 3
    assert file.read_text().count("codexteam_recording") == 1


async def test_of_two_lines_for_one_call_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    ends: list[CallEnd] = [CallFailed(CallFailureKind.UNAVAILABLE, "down"), ModelAnswer((message("up"),), None)]
    model = RecordingModel(ScriptedModel(ends), file, FakeClock())
    for _ in range(2):
        await collect(model, model_request())
    await model.close()
    assert isinstance((await collect(ReplayModel(file, FakeClock()), model_request())).end, ModelAnswer)


async def test_a_call_that_was_not_recorded_is_a_failure_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    await _record(file, 1)
    got = await collect(ReplayModel(file, FakeClock()), model_request(key=call_key(turn=9, task_id="T7")))
    assert got.failure.kind is CallFailureKind.REJECTED
    for part in ("role=implementer", "purpose=implement", "task_id=T7", "attempt=1", "turn=9", str(file)):
        assert part in got.failure.message


async def test_compactions_of_two_agents_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    model = RecordingModel(ScriptedModel(lambda request: [message(request.key.agent.purpose.value)]), file, FakeClock())
    purposes = (Purpose.IMPLEMENT, Purpose.RESOLVE)
    keys = [CallKey(call_key(purpose=purpose).agent, 5, Purpose.COMPACT) for purpose in purposes]
    for key in keys:
        await collect(model, model_request(key=key))
    await model.close()
    replay = ReplayModel(file, FakeClock())
    for key in keys:
        assert key.agent.purpose.value in str((await collect(replay, model_request(key=key))).answer.items)


async def test_answers_come_as_slowly_as_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    await _record(file, 1)
    rows = file.read_text().splitlines()
    line = json.loads(rows[1])
    line["seconds"] = 12.0
    file.write_text("\n".join([rows[0], json.dumps(line)]) + "\n")
    clock = FakeClock()
    await collect(ReplayModel(file, clock, speed=4), model_request())
    assert clock.slept == [3.0]
    at_once = FakeClock()
    await collect(ReplayModel(file, at_once), model_request())
    assert at_once.slept == []


async def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    await _record(file, 1, 2)
    file.write_bytes(file.read_bytes()[:-20])
    assert len(read_recording(file)) == 1
    await _record(file, 3)
    assert len(read_recording(file)) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ":1: not a recording"),
        ("hello\n", ":1: not a recording"),
        ('{"codexteam_recording": 99}\n', "version 99"),
        ('{"codexteam_recording": 1}\nnonsense\n', ":2: not a line"),
        ('{"codexteam_recording": 1}\n[]\n', ":2: not a line"),
        ('{"codexteam_recording": 1}\n{"call": {}, "answer": {"version": 1, "end": "?"}}\n', ":2: not a line"),
    ],
)
async def test_a_file_that_is_no_recording_is_one_error(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "recording.jsonl"
    file.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        await collect(ReplayModel(file, FakeClock()), model_request())
    assert caught.value.hint


async def test_a_recording_does_not_overwrite_another_file(tmp_path: Path) -> None:
    file = tmp_path / "thesis.md"
    file.write_text("# my work\n")
    with pytest.raises(ConfigError, match="not a recording"):
        await _record(file, 1)
    assert file.read_text() == "# my work\n"


async def test_failures_are_recorded_too(bench: Bench, tmp_path: Path) -> None:
    bench.play(HttpError(400, "invalid_value", "bad"))
    file = tmp_path / "recording.jsonl"
    model = RecordingModel(bench.model(), file, FastClock())
    await collect(model, model_request())
    await model.close()
    assert "bad" in (await collect(ReplayModel(file, FastClock()), model_request())).failure.message
