"""Runs that begin from a point of another run's history, with the real command."""

import pytest

from codexteam.core.ids import JSONObject
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.world import processes_of
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def test_a_run_takes_another_way_from_its_plan_and_both_are_kept(make: MakeWorld) -> None:
    able = False
    calls: list[Call] = []

    def play(call: Call) -> Played:
        calls.append(call)
        if call.purpose != "implement" or able:
            return one_task.play(call)
        left: JSONObject = {"commands": [], "question": None, "later": [], "risks": []}
        return [message({"status": "blocked", "summary": "I cannot do it.", **left})]

    world, _ = make(f"{TEAM}[codexteam.limits]\nmax_attempts = 1\n", play)
    assert world.run("run", GOAL).code == 3
    [source] = [str(line["run"]) for line in world.run("runs", "--json").lines if line["type"] == "run"]
    events = world.run("events", source).out
    listed = world.run("fork").out
    refused = world.run("fork", "--at", "T1")
    able = True
    planned = sum(call.purpose == "plan" for call in calls)

    # killed once the fork is stored, before its branch is there: it is continued all the same
    killed = world.run("fork", "--at", "plan", CODEXTEAM_FAULT_POINT="store.create_fork.after#1")
    ended = world.run("resume", "--json")
    fork = str(ended.lines[0]["run"])

    assert "plan of 1 task (plan)" in listed
    assert refused.code == 2
    assert "T1 was never merged" in refused.err
    assert killed.code == -9
    assert ended.code == 0, ended.err
    assert fork != source
    assert sum(call.purpose == "plan" for call in calls) == planned, "the plan is taken over"
    assert world.git("show", f"codexteam/{fork}:tally/markdown.py") == one_task.expected()["tally/markdown.py"]
    assert world.run("events", source).out == events, "the other run stays as it was"

    rewound = world.run("rewind", source, "--to", "plan")
    states = {
        str(line["run"]): str(line["state"]) for line in world.run("runs", "--json").lines if line["type"] == "run"
    }

    assert rewound.code == 0, rewound.err
    assert f"what came after is kept under {source}" in rewound.out
    assert states[source] == "rewound"
    assert sorted(state for run, state in states.items() if run != source) == ["green", "interrupted"]
    assert world.run("resume", source).code == 2
    assert processes_of(world) == []
