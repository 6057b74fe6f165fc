"""SIGKILL on the real command, then `resume`: the same tree, and nothing that was answered is asked again.

`CODEXTEAM_TEST_CRASHES` says at how many moments the command is killed, spread over the run: 1 unless told, `all` for
the 24 that a release is tested with, and for one run that is killed again and again.
"""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from codexteam.app.demo import GOAL
from tests.demo import script
from tests.e2e.conftest import BUBBLEWRAP, MakeWorld
from tests.e2e.eight_tasks import expected_files
from tests.e2e.world import World, fingerprint, processes_of, tree_of
from tests.scripted_api import RecordedRequest

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

#: Lines of `--json` after which the command is killed; the whole run has about 170.
MOMENTS = (2, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 67, 74, 81, 88, 95, 102, 109, 116, 123, 130, 137, 144, 150)
_NOT_IN_THE_DEMO = ("formats", "as_csv", "as_json", "settings", "usage")


def chosen() -> list[int]:
    """Give the moments that this session tests."""
    wanted = os.environ.get("CODEXTEAM_TEST_CRASHES", "1")
    if wanted == "all":
        return list(MOMENTS)
    count = max(1, min(int(wanted), len(MOMENTS)))
    return [MOMENTS[(2 * index + 1) * len(MOMENTS) // (2 * count)] for index in range(count)]


def demo_files() -> dict[str, str]:
    """What the demo's script makes of the sample."""
    return {name: text for name, text in expected_files().items() if not any(word in name for word in _NOT_IN_THE_DEMO)}


def answered(world: World) -> set[tuple[str, ...]]:
    """Give the calls whose answers are stored."""
    path = world.state / "state.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT role, purpose, task_id, attempt, turn FROM call WHERE answer IS NOT NULL")
        return {tuple(map(str, row)) for row in rows}


def name_of(request: RecordedRequest) -> tuple[str, ...]:
    """Give a request's call, as `answered` names it."""
    call = request.call
    return (call.role, call.purpose, call.task_id, str(call.attempt), str(call.turn))


@pytest.mark.parametrize("moment", chosen())
def test_a_killed_run_goes_on_to_the_same_tree(make: MakeWorld, moment: int) -> None:
    world, api = make(BUBBLEWRAP, script.play)
    before = fingerprint(world)
    killed = world.run_until(moment, signal.SIGKILL, "run", GOAL)
    assert killed.code == -signal.SIGKILL, "it ended before it could be killed"
    known, asked = answered(world), len(api.requests)
    merged = {event["task"] for event in killed.lines if event["kind"] == "task.merged"}

    ended = world.run("resume")

    assert ended.code == 0, ended.out + ended.err
    assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree_of(world, demo_files())
    assert {name_of(request) for request in api.requests[asked:]} & known == set(), "what was answered is asked again"
    events = world.events()
    again = next(index for index, event in enumerate(events) if event["kind"] == "run.continued" or not known)
    redone = {event["task"] for event in events[again:] if event["kind"] == "task.started"} & merged
    assert redone == set(), "what was merged is done again"
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert fingerprint(world) == before
    assert processes_of(world) == []
    assert [path.name for path in (world.state / "bubblewrap").iterdir()] == ["bases"]
    assert list((world.state / "quarantine").iterdir()) == []
    branches = world.git("for-each-ref", "--format=%(refname)", "refs/heads").split()
    assert branches == [f"refs/heads/{world.branch}", "refs/heads/main"]


@pytest.mark.skipif(
    os.environ.get("CODEXTEAM_TEST_CRASHES") != "all",
    reason="the long form: CODEXTEAM_TEST_CRASHES=all; faults/test_kills.py kills a larger run so in the short one",
)
def test_a_run_that_is_killed_again_and_again_gets_there(make: MakeWorld) -> None:
    world, api = make(BUBBLEWRAP, script.play)
    assert world.run_until(40, signal.SIGKILL, "run", GOAL).code == -signal.SIGKILL
    for lines in (4, 25, 25):
        known, asked = answered(world), len(api.requests)
        assert world.run_until(lines, signal.SIGKILL, "resume").code == -signal.SIGKILL
        assert {name_of(request) for request in api.requests[asked:]} & known == set()
    assert world.run("resume").code == 0
    assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree_of(world, demo_files())
