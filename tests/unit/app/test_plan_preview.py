"""What `codexteam plan` returns and shows, and with which code it ends."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.run import result_of
from codexteam.app.session import Ended
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.budget_amounts import Usage
from codexteam.core.effects import Finish, Result
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId, TaskId
from codexteam.core.run_costs import Stage
from codexteam.core.state import Rules
from codexteam.core.stored_state import encode_event, encode_state
from codexteam.ports.model import AnsweredCall, CallRecord, ModelAnswer
from codexteam.ports.store import RunRecord, StoredAnswer
from codexteam.report.progress import Progress
from codexteam.run.history import keep_costs, past_runs
from codexteam.views.run_view import RunView
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import World, tasks

OLD, NEWER = RunId("20261121-0231-7f3a"), RunId("20261122-0231-7f3b")
RULES = Rules()


async def _store() -> tuple[MemoryStore, World]:
    """A green run of one task, and one that a newer codexteam left."""
    store, world = MemoryStore(), World(tasks("T1"), RULES)
    world.run()
    answer = AnsweredCall(ModelAnswer((), Usage(100, 0, 20, 0)), CallRecord("model"))
    for run_id in (OLD, NEWER):
        await store.create_run(RunRecord(run_id, "goal", "0" * 40, "green", 1.0, {}))
        await store.append(run_id, [(1.0, *encode_event(event)) for event in world.history])
        key = CallKey(AgentKey(run_id, "implementer", Purpose.IMPLEMENT, "T1", 1), 1, Purpose.IMPLEMENT)
        await store.record_answer(StoredAnswer(key, "hash", answer, Usage(100, 0, 20, 0)))
    await store.save_checkpoint(NEWER, len(world.history), {**encode_state(world.state), "schema": 99})
    return store, world


async def test_a_forecast_rests_on_the_runs_that_can_be_read() -> None:
    store, _ = await _store()
    [past] = await past_runs(store)
    assert [(one.stage, one.usage) for one in past.spent] == [(Stage.TASKS, Usage(100, 0, 20, 0))]
    assert past.efforts == {TaskId("T1"): 1}


async def test_what_a_run_took_is_kept_and_read_instead_of_its_answers() -> None:
    store, world = await _store()
    [before] = await past_runs(store)
    await keep_costs(store, replace(world.state, run_id=OLD))
    assert await past_runs(store) == [before]
    assert await past_runs(store, but=OLD) == [], "a run's own spending is no history of it"


@pytest.mark.parametrize(("result", "code", "ends"), [(Result.WAITING, 5, 0), (Result.INTERRUPTED, 143, 143)])
@pytest.mark.parametrize("json_lines", [False, True])
async def test_a_plan_ends_as_its_planning_did_for_people_and_programs(
    tmp_path: Path, result: Result, code: int, ends: int, *, json_lines: bool
) -> None:
    store, world = await _store()
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings = load_settings(LoadRequest(tmp_path, environment, system_folder=tmp_path / "none"))
    ended = Ended(Finish(result, "", code), world.state, tmp_path)
    out = io.StringIO()
    view = RunView(json_lines=json_lines, out=out, err=io.StringIO())
    assert view.show_result(await result_of(ended, Progress(), store, settings, plan_only=True)) == ends
    assert json.loads(out.getvalue())["kind"] == "plan" if json_lines else "T1" in out.getvalue()
