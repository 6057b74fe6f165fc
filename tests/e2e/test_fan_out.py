"""`run --fan-out` through the real command: one goal in several repositories, each as a run of its own."""

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import script
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import TEAM
from tests.e2e.world import World, processes_of
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

QUESTION = "Which file of this repository reads amounts of money, and which function in it rounds them to cents?"


def answering(call: Call) -> Played:
    """Answer the goal, which is a question."""
    if call.purpose != "plan":
        return script.play(call)
    nothing: JSONObject = {"summary": "", "tasks": [], "later": [], "risks": [], "questions": []}
    return [message({**nothing, "answer": "tally/money.py"})]


def two_repositories(world: World) -> tuple[str, ...]:
    """Make a second repository; return the flags that name both."""
    other = world.folder / "other"
    shutil.copytree(world.repository, other)
    return "--fan-out", "--repo", "api=.", "--repo", f"web={other}"


def test_each_repository_gets_a_run_within_one_budget_and_one_table(make: MakeWorld) -> None:
    world, _ = make(TEAM, answering)
    flags = two_repositories(world)
    empty = world.folder / "empty"
    empty.mkdir()
    world.git("init", "-q", str(empty))

    done = world.run("run", *flags, "--repo", f"new={empty}", "--budget", "90k", "--json", QUESTION)

    assert done.code == 6, done.err  # all that failed have this in common
    api, web, new = _table(done.lines[-1])
    assert (api["result"], web["result"], new["result"]) == ("answered", "answered", None)
    assert "no commit" in str(new["reason"])
    opened = [line for line in done.lines if line.get("kind") == "run.opened"]
    assert sorted(str(line["repository"]) for line in opened) == ["api", "web"]
    assert [line["limits"] for line in opened] == [{"tokens": 30_000}] * 2
    assert {Path(str(one["path"])).name for one in (api, web, new)} == {"tally", "other", "empty"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_ends_every_run(make: MakeWorld, number: signal.Signals) -> None:
    let_go = threading.Event()

    def silent(call: Call) -> Played:
        let_go.wait(60)
        return script.play(call)

    world, _ = make(TEAM, silent)
    process = world.start("run", *two_repositories(world), "--json", QUESTION)
    try:
        seen: set[object] = set()
        assert process.stdout is not None
        for line in process.stdout:
            if (record := json.loads(line))["kind"] == "agent.started":
                seen.add(record["repository"])
            if len(seen) == 2:
                break
        process.send_signal(number)
        process.communicate(timeout=120)
    finally:
        let_go.set()

    assert process.returncode == (143 if number is signal.SIGTERM else -9)
    until = time.monotonic() + 60
    while processes_of(world) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_of(world) == []


def _table(last: JSONObject) -> list[JSONObject]:
    assert last["type"] == "fan_out"
    rows = last["repositories"]
    assert isinstance(rows, list)
    return [row for row in rows if isinstance(row, dict)]
