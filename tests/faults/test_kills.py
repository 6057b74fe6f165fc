"""kill -9 at any moment, then `resume`: the same last tree, nothing lost, nothing asked again, nothing left behind.

The short form kills one run a few times. The long form,
`CODEXTEAM_KILLS=200 pytest --complete tests/faults/test_kills.py`, kills at every named place and at
random until that many kills have hit, and prints the table (`-s`, or `CODEXTEAM_KILLS_REPORT`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import get_args

import pytest

from codexteam.core import effects as effects_module
from codexteam.core.effects import FORMER
from codexteam.ports.store import Store
from tests.conftest import codex_binary
from tests.e2e.world import KEY, World, fingerprint
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
#: Who runs the agents of the long form.
_ON_CODEX = os.environ.get("CODEXTEAM_KILLS_AGENTS", "codexteam") == "codex"
_SETTINGS = (
    twelve_tasks.EVERYTHING.replace('"bubblewrap"', '"docker"\nimage = "codexteam-sandbox:test"')
    if _DOCKER
    else twelve_tasks.EVERYTHING
)
if _ON_CODEX:
    _SETTINGS = _SETTINGS.replace("[codexteam]\n", '[codexteam]\nengine = "codex"\n')

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap]

#: Who works on the user's Codex in the short form.
_ROLES_ON_CODEX = 'explorer = "codex"\nimplementer = "codex"\nreviewer = "codex"\norchestrator = "codex"\n'

#: What only reads, by the port's own words; every other method of the store writes, and has its places.
_READS = {
    "runs",
    "sessions",
    "events",
    "checkpoint",
    "answer",
    "answers",
    "open_calls",
    "turns",
    "facts",
    "facts_recorded",
    "watch",
    "get",
    "list",
    "close",
}

#: What writes while no run is at work: e2e/test_forks.py kills the second.
_AT_REST = {"clear", "create_fork"}


@pytest.mark.timeout(600)
def test_the_killed_run_has_a_place_around_every_effect_and_write(tmp_path: Path) -> None:
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
    effects = {f"effect.{kind.__name__}" for kind in get_args(effects_module.Effect) if kind not in FORMER}
    methods = {name for name in vars(Store) if not name.startswith("_")}
    writes = {f"store.{name}" for name in methods - _READS - _AT_REST}
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
        # stored with what is told of it, and not yet in the file: the next session writes it there
        AtPlace("store.append.after", 5),
        AtPlace("store.record_answer.after", 4),
        AtPlace("store.record_turn.after", 2),
        AtPlace("store.record_facts.before", 4),
        AtPlace("events.line.before", 9),
        AtPlace("hub.ref.after", 3),
        AtPlace("effect.RunGate.before"),
        AtPlace("effect.Land.after"),
    ]
    with machine(tmp_path) as (world, api):
        result = drive(world, api, kills, tmp_path / "places")
    assert result.found == []
    assert len(result.struck) >= 8, result


@pytest.mark.codex
@pytest.mark.timeout(900)
def test_a_killed_run_on_the_users_codex_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    kills: list[Kill] = [
        AtPlace("sandbox.start.after", 2),
        AtPlace("model.call", 4),
        AtPlace("model.answer", 3),
        AtPlace("store.record_answer.before", 5),
        AtPlace("store.record_answer.after", 4),
        AtPlace("sandbox.snapshot.after", 3),
        AtPlace("store.record_turn.after", 2),
        AtPlace("git.update-ref.after", 3),
        AtPlace("effect.Land.after"),
    ]
    settings = f"{twelve_tasks.SETTINGS}\n[codexteam.role_engines]\n{_ROLES_ON_CODEX}"
    with machine(tmp_path, settings=settings) as (world, api):
        result = drive(world, api, kills, tmp_path / "places", path=_path_to_codex(world))
    assert result.found == []
    assert len(result.struck) >= 8, result


def _path_to_codex(world: World) -> str:
    """Let the user have a Codex, and a model that it knows; give the user's PATH then."""
    config = world.home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace("gpt-5.4", "gpt-5.5"))
    binary = codex_binary()
    assert binary is not None
    return f"{Path(binary).parent}:{world.environment()['PATH']}"


@pytest.mark.skipif(not KILLS, reason="the long form: CODEXTEAM_KILLS=200")
@pytest.mark.timeout(KILLS * 60 + 600)
def test_every_place_and_many_random_moments(tmp_path: Path) -> None:
    with machine(tmp_path / "recording", twelve_tasks.play_everything, settings=_SETTINGS) as (world, _):
        path = _path_to_codex(world) if _ON_CODEX else None
        places = recorded_places(world, tmp_path / "places", path=path)
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
                world,
                api,
                kills,
                record,
                expected=twelve_tasks.EXPECTED_OF_EVERYTHING,
                script=script,
                docker=_DOCKER,
                path=_path_to_codex(world) if _ON_CODEX else None,
            )
        for one in result.struck:
            table.setdefault(one, []).append(number)
        struck += len(result.struck)
        found += [f"run {number}: {line}" for line in result.found]
        _write_line(
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
    _write_line(
        {"runs": number, "kills": struck, "places": len(places), "never": never, "found": found, "table": table}
    )
    assert found == []
    assert never == []


def _write_line(line: dict[str, object]) -> None:
    print(json.dumps(line))
    if _REPORT:
        with Path(_REPORT).open("a") as file:
            file.write(json.dumps(line) + "\n")
