"""A model that is not there: planner, task, gates and notes go on with the next of the list, through the real command."""

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.scripted_api import HttpError
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

TEAM = (
    '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 0\n'
    '[codexteam.gates]\nenabled = ["ci_runner", "reviewer"]\n'
    '[codexteam.escalation]\nfallback = ["gpt-6-luna", "gpt-5.5"]\n'
)


def play(call: Call) -> Played:
    if call.body["model"] != "gpt-5.5":
        return HttpError(404, code="model_not_found", message=f"The model {call.body['model']} does not exist")
    if call.purpose == "review":
        return [message({"verdict": "ship", "summary": "It is right.", "findings": [], "risks": []})]
    return one_task.play(call)


def test_a_run_ends_green_though_the_model_of_its_roles_is_missing(make: MakeWorld) -> None:
    world, api = make(TEAM, play)
    api.models = {"data": [{"id": "gpt-5.5"}]}  # it is not listed when the run begins

    ended = world.run("run", one_task.GOAL)

    assert ended.code == 0, ended.err
    assert "orchestrator: its model gpt-5.4 does not serve it, so that it goes on with gpt-6-luna" in ended.err
    asked = [(request.call.purpose, request.call.body["model"]) for request in api.requests]
    # each model that is missing is asked for once; a task's attempts ask for themselves
    assert [each for each in asked if each[1] != "gpt-5.5"] == [
        ("plan", "gpt-5.4"),
        ("plan", "gpt-6-luna"),
        ("implement", "gpt-5.4"),
        ("implement", "gpt-6-luna"),
    ]
    assert {purpose for purpose, model in asked if model == "gpt-5.5"} >= {"plan", "implement", "review", "release"}
    begun = [each for each in world.events() if each["kind"] == "agent.started" and each["purpose"] == "implement"]
    assert [each["model"] for each in begun] == ["gpt-5.4", "gpt-6-luna", "gpt-5.5"]


def test_without_one_that_is_listed_a_run_does_not_begin(make: MakeWorld) -> None:
    world, api = make(TEAM, play)
    api.models = {"data": [{"id": "gpt-5.4-mini"}]}

    ended = world.run("run", one_task.GOAL)

    assert ended.code == 6
    assert "fallback" in ended.err
    assert api.requests == []
