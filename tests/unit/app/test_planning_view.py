"""What `codexteam plan` shows, and with which code it ends."""

import io
import json
from pathlib import Path

import pytest

from codexteam.app.planning_view import past_tasks, show_plan
from codexteam.app.running import View, make_console
from codexteam.app.sitting import Ended
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.codec import encode_event, encode_state
from codexteam.core.effects import Finish, Result
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from codexteam.core.state import Rules
from codexteam.core.usage import Usage
from codexteam.ports.store import RunRecord, StoredAnswer
from codexteam.report.board import Board
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import World, tasks

OLD, NEWER = RunId("20261121-0231-7f3a"), RunId("20261122-0231-7f3b")
RULES = Rules()


async def _store() -> tuple[MemoryStore, World]:
    """A green run of one task, and one that a newer codexteam left."""
    store, world = MemoryStore(), World(tasks("T1"), RULES)
    world.run()
    for run_id in (OLD, NEWER):
        await store.create_run(RunRecord(run_id, "goal", "0" * 40, "green", 1.0, {}))
        await store.append(run_id, [(1.0, *encode_event(event)) for event in world.history])
        key = CallKey(AgentKey(run_id, "implementer", Purpose.IMPLEMENT, "T1", 1), 1, Purpose.IMPLEMENT)
        await store.record_answer(StoredAnswer(key, "hash", {}, Usage(100, 0, 20, 0)))
    await store.save_checkpoint(NEWER, len(world.history), {**encode_state(world.state), "schema": 99})
    return store, world


async def test_a_forecast_rests_on_the_runs_that_can_be_read() -> None:
    store, _ = await _store()
    [past] = await past_tasks(store)
    assert past.usage == Usage(100, 0, 20, 0)


@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.parametrize(("result", "code", "ends"), [(Result.WAITING, 5, 0), (Result.INTERRUPTED, 143, 143)])
async def test_a_plan_ends_as_its_planning_did_for_people_and_programs(
    tmp_path: Path, result: Result, code: int, ends: int, *, json_lines: bool
) -> None:
    store, world = await _store()
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings = load_settings(LoadRequest(tmp_path, environment, system_folder=tmp_path / "none"))
    ended = Ended(Finish(result, "", code), world.state, tmp_path)
    view = View(json_lines=json_lines, out=io.StringIO(), err=io.StringIO())
    shown = await show_plan(ended, Board(), store, settings=settings, console=make_console(view), view=view)
    assert shown == ends
    assert isinstance(view.out, io.StringIO)
    printed = view.out.getvalue()
    assert json.loads(printed)["kind"] == "plan" if json_lines else "T1" in printed
