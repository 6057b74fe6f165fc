"""kill -9 at any moment, then `resume`: the same last tree, nothing lost, nothing asked again, nothing left behind.

The short form kills one run a few times. The long form, `CODEXTEAM_KILLS=200 pytest tests/faults/test_kills.py`, kills at
every named place and at random until that many kills have hit, and prints the table (`-s`, or `CODEXTEAM_KILLS_REPORT`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import get_args

import pytest

from codexteam.core import effects as effects_module
from codexteam.ports.store import Store
from tests.e2e.world import KEY, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, violations
from tests.faults.killing import (
    AtPlace,
    CountingScript,
    Kill,
    drive,
    expected_tree,
    machine,
    plan_of_kills,
    recorded_places,
    temporary_folder,
)

KILLS = int(os.environ.get("CODEXTEAM_KILLS", "0"))
_REPORT = os.environ.get("CODEXTEAM_KILLS_REPORT", "")
_SEED = int(os.environ.get("CODEXTEAM_KILLS_SEED", "1"))
#: One run takes this many: enough to hit it everywhere, few enough that it gets on between them.
_KILLS_PER_RUN = 14
#: A place that is not reached in this many runs is never reached.
_MOST_RUNS_WITHOUT = 100
_DOCKER = os.environ.get("CODEXTEAM_KILLS_ENGINE", "bubblewrap") == "docker"
_SETTINGS = (
    twelve_tasks.EVERYTHING.replace('"bubblewrap"', '"docker"\nimage = "codexteam-sandbox:test"')
    if _DOCKER
    else twelve_tasks.EVERYTHING
)

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

#: What only reads, by the port's own words; every other method of the store writes, and has its places.
_READS = {
    "runs",
    "sittings",
    "events",
    "checkpoint",
    "answer",
    "answers",
    "open_calls",
    "turns",
    "get",
    "list",
    "close",
}


@pytest.mark.timeout(600)
def test_the_run_that_is_killed_reaches_a_place_around_every_effect_and_every_write(tmp_path: Path) -> None:
    script = CountingScript(twelve_tasks.play_everything)
    with machine(tmp_path, script, settings=twelve_tasks.EVERYTHING) as (world, api):
        before = fingerprint(world)
        tree = expected_tree(world, twelve_tasks.EXPECTED_OF_EVERYTHING)
        places = recorded_places(world, tmp_path / "places")
        evidence = Evidence(
            world,
            before,
            api.requests,
            canaries=(KEY, twelve_tasks.CANARY),
            expected_tree=tree,
            temporary=temporary_folder(world),
            output_tokens=script.output_tokens,
            faulted=frozenset(script.refused),
        )
        assert violations(evidence) == []
    effects = {f"effect.{kind.__name__}" for kind in get_args(effects_module.Effect)}
    methods = {name for name in vars(Store) if not name.startswith("_")}
    writes = {f"store.{name}" for name in methods - _READS}
    lacking = {f"{name}.{when}" for name in effects | writes for when in ("before", "after")} - set(places)
    assert lacking == set()
    # an effect that succeeds is reached on both sides; model.call is before what model.answer is after
    assert {name for name in places if name.endswith(".before")} == {
        name.removesuffix(".after") + ".before" for name in places if name.endswith(".after")
    }


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    kills: list[Kill] = [
        AtPlace("effect.Prepare.after"),
        AtPlace("model.answer", 3),
        AtPlace("sandbox.snapshot.after", 3),
        AtPlace("store.put.before", 12),
        # stored, and not told: the next sitting tells it
        AtPlace("store.append.after", 5),
        AtPlace("store.record_answer.after", 4),
        AtPlace("store.record_turn.after", 2),
        AtPlace("git.update-ref.after", 3),
        AtPlace("effect.RunGate.before"),
        AtPlace("effect.Land.after"),
    ]
    with machine(tmp_path) as (world, api):
        result = drive(world, api, kills, tmp_path / "places")
    assert result.found == []
    assert len(result.struck) >= 8, result


@pytest.mark.skipif(not KILLS, reason="the long form: CODEXTEAM_KILLS=200")
@pytest.mark.timeout(KILLS * 60 + 600)
def test_every_place_and_many_random_moments(tmp_path: Path) -> None:
    with machine(tmp_path / "recording", twelve_tasks.play_everything, settings=_SETTINGS) as (world, _):
        places = recorded_places(world, tmp_path / "places")
    waiting = plan_of_kills(places, KILLS, _SEED)
    table: dict[str, list[int]] = {}
    found: list[str] = []
    number = struck = 0
    while waiting or struck < KILLS:
        number += 1
        if not waiting:
            waiting = plan_of_kills(places, KILLS, _SEED + number)[: KILLS - struck]
        kills, waiting = waiting[:_KILLS_PER_RUN], waiting[_KILLS_PER_RUN:]
        script = CountingScript(twelve_tasks.play_everything)
        with machine(tmp_path / f"run-{number}", script, settings=_SETTINGS) as (world, api):
            record = tmp_path / f"run-{number}" / "places"
            result = drive(
                world, api, kills, record, expected=twelve_tasks.EXPECTED_OF_EVERYTHING, script=script, docker=_DOCKER
            )
        for one in result.struck:
            table.setdefault(one, []).append(number)
        struck += len(result.struck)
        found += [f"run {number}: {line}" for line in result.found]
        _tell(
            {
                "run": number,
                "kills": len(result.struck),
                "seconds": round(result.seconds),
                "struck": result.struck,
                "found": result.found,
            }
        )
        # a place that was not reached waits for a later run, there for its first time; unless it was hit meanwhile
        again = [AtPlace(each.name) for each in result.missed if isinstance(each, AtPlace) and each.name not in table]
        waiting += again if result.struck or number < _MOST_RUNS_WITHOUT else []
        if not result.found:
            shutil.rmtree(tmp_path / f"run-{number}")
    never = sorted(set(places) - set(table))
    _tell({"runs": number, "kills": struck, "places": len(places), "never": never, "found": found, "table": table})
    assert found == []
    assert never == []


def _tell(line: dict[str, object]) -> None:
    print(json.dumps(line))
    if _REPORT:
        with Path(_REPORT).open("a") as file:
            file.write(json.dumps(line) + "\n")
