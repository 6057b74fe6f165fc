"""What servers that are not OpenAI's do to a whole run, through the command: refusals, and limits of a plan."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.test_commands import check_green
from tests.scripted_api.script import Call, HttpError, Played

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def _picky(call: Call) -> Played:
    if "prompt_cache_key" in call.body:
        return HttpError(400, "unknown_parameter", "Unknown parameter: 'prompt_cache_key'.")
    if call.body.get("text"):
        return HttpError(422, message="text.format: Extra inputs are not permitted")
    return one_task.play(call)


def test_a_refused_field_is_reported_once_and_not_sent_again_on_resume(make: MakeWorld) -> None:
    world, api = make(TEAM, _picky)
    planned = world.run("plan", GOAL)
    assert planned.code in {0, 5}, planned.out + planned.err
    refused = [request for request in api.requests if {"prompt_cache_key", "text"} & set(request.call.body)]
    assert 2 <= len(refused) <= 4
    assert planned.err.count("loopback refuses `prompt_cache_key`") == 1
    assert planned.err.count("loopback refuses `text.format`") == 1
    before = len(api.requests)
    resumed = world.run("resume")
    check_green(world, resumed)
    assert not [request for request in api.requests[before:] if {"prompt_cache_key", "text"} & set(request.call.body)]
    assert "refuses" not in resumed.err
    shown = json.dumps([request.call.input for request in api.requests])
    assert "Your final answer must be one JSON object" in shown, "the model is told the shape all the same"


def _limited(resets_in_seconds: float, on: Callable[[Call], bool]) -> Callable[[Call], Played]:
    until: list[float] = []

    def play(call: Call) -> Played:
        if on(call) and (not until or time.time() < until[0]):
            until[:] = until or [time.time() + resets_in_seconds]
            error = {"type": "usage_limit_reached", "message": "no more", "plan_type": "plus", "resets_at": until[0]}
            return HttpError(429, body=json.dumps({"error": error}).encode())
        return one_task.play(call)

    return play


def test_a_usage_limit_exits_4_and_names_the_local_time_it_ends(make: MakeWorld) -> None:
    world, api = make(TEAM, _limited(9_000, lambda call: call.purpose == "implement"))
    ended = world.run("run", GOAL, TZ="Asia/Kolkata")
    assert ended.code == 4, ended.out + ended.err
    [limited] = [request for request in api.requests if request.call.purpose == "implement"]
    until = datetime.fromtimestamp(time.time() + 9_000, ZoneInfo("Asia/Kolkata"))
    assert f"{until:%H}:" in ended.err
    assert " IST" in ended.err
    assert "plan `plus`" in ended.err
    assert "resume --wait" in ended.err
    assert limited.call.tries == 1


def test_wait_waits_for_a_usage_limit_and_goes_on(make: MakeWorld) -> None:
    world, api = make(TEAM, _limited(3, lambda call: call.purpose == "implement"))
    ended = world.run("run", GOAL, "--wait")
    check_green(world, ended)
    assert "waiting" in ended.err
    assert len([request for request in api.requests if request.call.purpose == "plan"]) == 1
    assert len([request for request in api.requests if request.call.purpose == "implement"]) == 3
