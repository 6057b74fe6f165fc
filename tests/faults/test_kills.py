"""kill -9 at any moment, then `resume`: the same last tree, nothing lost, nothing asked again, nothing left behind.

The short form kills one run a few times. The long form, `CODEXTEAM_KILLS=200 pytest tests/faults/test_kills.py`, kills at
every named place and at random until that many kills have hit, and prints the table (`-s`, or `CODEXTEAM_KILLS_REPORT`).
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.world import fingerprint
from tests.faults.invariants import Evidence, violations
from tests.faults.killing import (
    AtPlace,
    Kill,
    drive,
    expected_tree,
    in_order,
    machine,
    plan_of_kills,
    recorded_places,
)
from tests.faults.twelve_tasks import CANARY

KILLS = int(os.environ.get("CODEXTEAM_KILLS", "0"))
_REPORT = os.environ.get("CODEXTEAM_KILLS_REPORT", "")
_SEED = int(os.environ.get("CODEXTEAM_KILLS_SEED", "1"))
#: One run takes this many: enough to hit it everywhere, few enough that it gets on between them.
_KILLS_PER_RUN = 14

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]


@pytest.mark.timeout(240)
def test_a_run_that_nobody_kills_holds_to_every_invariant(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, api):
        before = fingerprint(world)
        tree = expected_tree(world)
        places = recorded_places(world, tmp_path / "places")
        evidence = Evidence(world, before, api.requests, canaries=(CANARY,), expected_tree=tree)
        assert violations(evidence) == []
    assert places["store.append.before"] == places["store.append.after"] > 30
    assert {name for name in places if name.startswith("effect.")} >= {"effect.Land.after", "effect.Work.before"}


@pytest.mark.timeout(300)
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    kills: list[Kill] = [
        AtPlace("effect.Prepare.after"),
        AtPlace("model.answer", 3),
        AtPlace("sandbox.snapshot.after", 3),
        AtPlace("store.put.before", 12),
        AtPlace("git.update-ref.after", 3),
        AtPlace("effect.RunGate.before"),
        AtPlace("effect.Land.after"),
    ]
    with machine(tmp_path) as (world, api):
        result = drive(world, api, kills, tmp_path / "places")
    assert result.found == []
    assert len(result.struck) >= 5, result


@pytest.mark.skipif(not KILLS, reason="the long form: CODEXTEAM_KILLS=200")
@pytest.mark.timeout(KILLS * 60 + 600)
def test_every_place_and_many_random_moments(tmp_path: Path) -> None:
    with machine(tmp_path / "recording") as (world, _):
        places = recorded_places(world, tmp_path / "places")
    waiting = plan_of_kills(places, KILLS, _SEED)
    struck: Counter[str] = Counter()
    found: list[str] = []
    number = 0
    while waiting and struck.total() < KILLS:
        number += 1
        kills, waiting = waiting[:_KILLS_PER_RUN], waiting[_KILLS_PER_RUN:]
        with machine(tmp_path / f"run-{number}") as (world, api):
            result = drive(world, api, in_order(kills), tmp_path / f"run-{number}" / "places")
        struck.update(result.struck)
        found += [f"run {number}: {line}" for line in result.found]
        hit = len(result.struck)
        _tell(
            {
                "run": number,
                "kills": hit,
                "seconds": round(result.seconds),
                "found": result.found,
                "struck": result.struck,
            }
        )
        # a place that was not reached waits for the next run, unless no run gets on
        waiting += [kill for kill in result.missed if hit and str(kill).partition("#")[0] not in struck]
        if len(waiting) + struck.total() < KILLS:
            waiting += plan_of_kills(places, KILLS, _SEED + number)[: KILLS - struck.total() - len(waiting)]
    _tell({"kills": struck.total(), "places": len(struck), "table": dict(struck.most_common()), "found": found})
    assert found == []
    never = {name for name in places if name not in struck}
    assert not never, f"never hit: {sorted(never)}"


def _tell(line: dict[str, object]) -> None:
    print(json.dumps(line))
    if _REPORT:
        with Path(_REPORT).open("a") as file:
            file.write(json.dumps(line) + "\n")
