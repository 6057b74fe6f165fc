"""A budget in dollars needs no configuration; a task that has used its share waits for its user, and loses nothing."""

import json
from dataclasses import replace
from typing import cast

import pytest

from codexteam.core.ids import JSONObject
from tests.demo.script import run as run_command
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.scripted_api.script import Call, Played, Reply

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

#: Turns before the task's own work: they use up its share.
_LOST_TURNS = 14


def _wordy(call: Call) -> Played:
    if call.purpose != "implement":
        return one_task.play(call)
    if call.turn <= _LOST_TURNS:
        return Reply([run_command(f"echo {call.turn}")], output_tokens=1_000)
    metadata = {**cast("JSONObject", call.body["metadata"]), "turn": str(call.turn - _LOST_TURNS)}
    return one_task.play(replace(call, body={**call.body, "metadata": metadata}))


def test_a_task_that_used_its_share_keeps_its_conversation_and_continues(make: MakeWorld) -> None:
    world, api = make(f"{TEAM}[codexteam.limits]\nmax_scouts = 0\n", _wordy)
    started = world.run("-m", "gpt-5.4", "run", "--budget", "0.20usd", GOAL)

    assert started.code == 5, started.out + started.err
    assert "  - budget: 80%\n" in (world.repository / "plan.md").read_text()
    assert "codexteam approve budget.T1" in started.out
    assert "is expected to need more than its budget" in started.err
    asked = [call for call in (request.call for request in api.requests) if call.purpose == "implement"]
    assert len(asked) < _LOST_TURNS

    assert world.run("approve", "budget.T1").code == 0
    again = world.run("resume", "--budget", "5usd")

    assert again.code == 0, again.out + again.err
    assert "  - budget: 80%, 0.32usd\n" in (world.repository / "plan.md").read_text()
    turns = [
        (call.attempt, call.turn) for call in (request.call for request in api.requests) if call.purpose == "implement"
    ]
    assert len(turns) == len(set(turns)), "no answered call is asked again"
    assert {attempt for attempt, _ in turns} == {1}, "it is the same attempt"
    status = json.loads(world.run("status", "--json").out.splitlines()[0])
    assert status["credits"] > 0
    assert status["forecast"]["usd"]["spent"] == pytest.approx(status["usd"])
    assert status["forecast"]["runs"] == 0


def test_a_plan_dearer_than_its_budget_ends_with_4_and_is_kept(make: MakeWorld) -> None:
    world, _ = make(f"{TEAM}[codexteam.limits]\nmax_scouts = 0\n", one_task.play)

    planned = world.run("-m", "gpt-5.4", "plan", "--budget", "0.5usd", GOAL)

    assert planned.code == 4, planned.out + planned.err
    assert "the run is expected to need more than its budget" in planned.out
    assert "whole run" in planned.out
    assert (world.repository / "plan.md").exists()
    enough = world.run("-m", "gpt-5.4", "resume", "--budget", "50usd")
    assert enough.code == 0, enough.out + enough.err


def test_a_budget_of_a_task_in_an_unpriced_unit_names_its_line(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    given = world.repository / "mine.md"
    given.write_text("## Goal\n\nx\n\n## Tasks\n\n- [ ] **T1** One\n  - budget: 2usd\n")

    refused = world.run("-m", "a-model-of-ours", "run", "--plan", "mine.md")

    assert refused.code == 2
    assert "mine.md:8: budget of T1: it cannot be kept in USD: no price is known for a-model-of-ours" in refused.err
    assert "[codexteam.prices." in refused.err
