"""Questions that an agent at work has explorers answer, through the real command: also where it is killed within one."""

import json
import signal
import threading
import time

import pytest

from codexteam.core.ids import JSONObject
from tests.demo.script import run
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played, Stall, function_call, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

WHERE, WHO = "Where are amounts formatted?", "Who calls format_amount()?"


def report(summary: str) -> JSONObject:
    answer: JSONObject = {"summary": summary, "files": [], "ci": [], "next_probes": [], "questions": None}
    return message(answer)


class Explorers:
    """Answers the first question at once, and begins with the second one; its second turn waits to be killed, once."""

    def __init__(self) -> None:
        self.within = threading.Event()

    def play(self, call: Call) -> Played:
        if call.purpose == "lookup":
            if WHERE in json.dumps(call.input):
                return [report("In tally/money.py.")]
            if call.turn == 1:
                return [run("git grep -n format_amount")]
            if not self.within.is_set():
                self.within.set()
                return Stall()
            return [report("Nobody yet.")]
        if call.purpose == "implement":
            if call.turn == 1:
                return [function_call("look_up", {"questions": [WHERE, WHO]})]
            return one_task.play(
                Call(call.number, call.tries, {**call.body, "metadata": _turn_before(call)}, call.headers)
            )
        return one_task.play(call)


def told_so_far(world: World) -> list[JSONObject]:
    """Read the events of a run at work, whose last line may not be whole yet."""
    lines = (world.run_folder / "events.jsonl").read_text(encoding="ascii").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _turn_before(call: Call) -> JSONObject:
    metadata = call.body["metadata"]
    assert isinstance(metadata, dict)
    return {**metadata, "turn": str(call.turn - 1)}


def test_a_kill_within_a_lookup_asks_nothing_again_that_was_answered(make: MakeWorld) -> None:
    explorers = Explorers()
    world, api = make(f"{one_task.TEAM}[codexteam.limits]\nmax_scouts = 1\n", explorers.play)

    process = world.start("run", one_task.GOAL)
    assert explorers.within.wait(100)
    while sum(event["kind"] == "agent.turn" and event["purpose"] == "lookup" for event in told_so_far(world)) < 2:
        assert process.poll() is None, "it ends before the first answer is stored"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = world.run("resume")

    assert ended.code == 0, ended.err
    asked = [request.call for request in api.requests if request.call.purpose in {"lookup", "implement"}]
    turns = [(call.purpose, call.attempt, call.turn) for call in asked]
    # the turn of the second explorer that the kill cut off is asked again, and nothing else
    assert {each: turns.count(each) for each in turns if turns.count(each) > 1} == {("lookup", 2, 2): 2}
    [told] = [call for call in asked if call.purpose == "implement" and call.turn == 2]
    assert "1. In tally/money.py." in json.dumps(told.outputs)
    assert "2. Nobody yet." in json.dumps(told.outputs)
