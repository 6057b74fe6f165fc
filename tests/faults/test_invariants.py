"""The checker finds what it is there for: a sound run is spoiled in one way after the other."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.world import World, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, answered, violations
from tests.faults.killing import expected_tree, machine
from tests.scripted_api import RecordedRequest

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """A run as it should be; the world is spoiled in copies of its folder, at the same place."""
    with machine(tmp_path_factory.mktemp("sound")) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        ended = world.run("run", twelve_tasks.GOAL, **{twelve_tasks.CANARY_NAME: twelve_tasks.CANARY})
        assert ended.code == 0, ended.err
        evidence = Evidence(world, before, list(api.requests), expected_tree=tree, canaries=(twelve_tasks.CANARY,))
        assert violations(evidence) == []
        shutil.copytree(world.repository, world.folder / "good", symlinks=True)
        yield evidence


def _execute(world: World, sql: str) -> None:
    with closing(sqlite3.connect(world.state / "state.sqlite")) as database, database:
        database.execute(sql)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


_USAGE = "UPDATE call SET input_tokens = input_tokens + 1 WHERE purpose = 'plan'"
_SPOILERS: dict[str, tuple[Callable[[World], object], str]] = {
    "the user's file": (lambda w: (w.repository / "staged.txt").write_text("other"), "the user's staged.txt"),
    "the user's index": (lambda w: w.git("add", "untracked.txt"), "the user's .git/index"),
    "the user's hook": (lambda w: (w.repository / ".git/hooks/post-commit").chmod(0o600), "hooks/post-commit"),
    "the user's HEAD": (lambda w: (w.repository / ".git/HEAD").write_text("ref: refs/heads/x\n"), ".git/HEAD"),
    "usage": (lambda w: _execute(w, _USAGE), "the server counted"),
    "a lost answer": (lambda w: _execute(w, "DELETE FROM call WHERE purpose = 'plan'"), "no answer stored"),
    "a lost event": (lambda w: _execute(w, "DELETE FROM event WHERE sequence = 3"), "gap"),
    "a mark in plan.md": (lambda w: _edit(w.repository / "plan.md", "- [x] **T4**", "- [ ] **T4**"), "plan.md shows"),
    "a canary in a file": (lambda w: (w.run_folder / "log.txt").write_text(twelve_tasks.CANARY), "a canary is in"),
    "a lock in the hub": (lambda w: (w.state / "hub.git/refs/x.lock").write_text(""), "locks are left"),
    "a quarantine": (lambda w: (w.state / "quarantine/q-1").mkdir(parents=True), "left behind: quarantine/q-1"),
    "a branch": (lambda w: w.git("update-ref", "refs/heads/codexteam/other", "main"), "branches are left"),
    "no branch": (lambda w: w.git("update-ref", "-d", f"refs/heads/{w.branch}"), "there is no branch"),
    "a moved branch": (lambda w: w.git("update-ref", f"refs/heads/{w.branch}", "main"), "the branch points to"),
    "the run's word": (lambda w: _execute(w, "UPDATE run SET state = 'running'"), "the store says the run is running"),
    "the history": (
        lambda w: _edit(w.run_folder / "events.jsonl", '"sequence":7,', '"sequence":8,'),
        "repeated numbers",
    ),
    "the hub's objects": (lambda w: shutil.rmtree(w.state / "hub.git/objects/pack"), "the hub is damaged"),
}


def _found(evidence: Evidence) -> list[str]:
    try:
        return violations(evidence)
    except Exception as error:  # noqa: BLE001 - the state is such that it cannot even be replayed
        return [f"cannot be checked, a gap or damage: {error!r}"]


@pytest.mark.parametrize("way", _SPOILERS)
def test_what_does_not_hold_is_found(sound: Evidence, way: str) -> None:
    world = sound.world
    shutil.rmtree(world.repository)
    shutil.copytree(world.folder / "good", world.repository, symlinks=True)
    evidence = replace(sound, before=fingerprint(world))
    assert violations(evidence) == []
    spoil, says = _SPOILERS[way]
    spoil(world)
    found = _found(evidence)
    assert any(says in line for line in found), found


def test_calls_that_are_made_again_are_found(sound: Evidence) -> None:
    world = sound.world
    shutil.rmtree(world.repository)
    shutil.copytree(world.folder / "good", world.repository, symlinks=True)
    again: RecordedRequest = sound.requests[-1]
    evidence = replace(sound, before=fingerprint(world), requests=[*sound.requests, again])
    assert any("requests again after 0 kills" in line for line in violations(evidence))
    evidence = replace(evidence, kills=1, answered_at_kill=[(len(sound.requests), answered(world))])
    assert any("asked again after its answer was stored" in line for line in violations(evidence))
