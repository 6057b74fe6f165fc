"""The checker finds what it is there for: a sound run is spoiled in one way after the other."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.world import World, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, answered, rows, violations
from tests.faults.killing import CountingScript, expected_tree, machine, temporary_folder
from tests.scripted_api import RecordedRequest

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """A run as it should be; the world is spoiled in copies of its folder, at the same place."""
    script = CountingScript(twelve_tasks.play)
    with machine(tmp_path_factory.mktemp("sound"), script) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        ended = world.run("run", twelve_tasks.GOAL, **{twelve_tasks.CANARY_NAME: twelve_tasks.CANARY})
        assert ended.code == 0, ended.err
        temporary_folder(world).mkdir()
        evidence = Evidence(
            world,
            before,
            list(api.requests),
            expected_tree=tree,
            canaries=(twelve_tasks.CANARY,),
            temporary=temporary_folder(world),
            output_tokens=script.output_tokens,
        )
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


def _once_more(world: World) -> None:
    """Store a second success of a task that is merged."""
    [(sequence, payload)] = [
        row
        for row in rows(world, "SELECT sequence, payload FROM event WHERE kind = 'AttemptSucceeded'")
        if json.loads(str(row[1]))["task_id"] == "T1"
    ]
    [(last,)] = rows(world, "SELECT max(sequence) FROM event")
    sql = f"INSERT INTO event SELECT run_id, {int(str(last)) + 1}, at, kind, payload FROM event WHERE sequence = {sequence}"
    assert payload
    _execute(world, sql)


def _drop_line(world: World, kind: str) -> None:
    path = world.run_folder / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if f'"kind":"{kind}"' in line)
    path.write_text("".join(lines[:at] + lines[at + 1 :]))


def _add_commit(world: World) -> None:
    tree, tip = f"{world.branch}^{{tree}}", world.git("rev-parse", world.branch).strip()
    new = world.git("commit-tree", tree, "-p", tip, "-m", "stranger").strip()
    world.git("update-ref", f"refs/heads/{world.branch}", new)


def _lose_the_base(world: World) -> None:
    """Rewrite the user's branch and drop the commit that the run's branch stands on."""
    base = world.git("rev-parse", "main").strip()
    tree = world.git("rev-parse", "main^{tree}").strip()
    world.git("update-ref", "refs/heads/main", world.git("commit-tree", tree, "-m", "anew").strip())
    (world.repository / ".git/objects" / base[:2] / base[2:]).unlink()


_OPEN = """INSERT INTO call (run_id, role, agent_purpose, task_id, attempt, turn, purpose, request_hash)
           SELECT run_id, role, agent_purpose, task_id, attempt, 99, purpose, request_hash FROM call LIMIT 1"""
_UNTOLD = "DELETE FROM fact WHERE sequence = (SELECT min(sequence) FROM fact WHERE kind = 'agent.turn')"
_OUTPUT = "UPDATE call SET output_tokens = output_tokens + 1 WHERE purpose = 'plan'"
_USAGE = "UPDATE call SET input_tokens = input_tokens + 1 WHERE purpose = 'plan'"
#: Ways to spoil a run, and what is found then. Those that do not hide each other share a check, which takes a second.
_SPOILERS: dict[str, list[tuple[Callable[[World], object], str]]] = {
    "what is the user's": [
        (lambda w: (w.repository / "staged.txt").write_text("other"), "the user's staged.txt"),
        (lambda w: w.git("add", "untracked.txt"), "the user's .git/index"),
        (lambda w: (w.repository / ".git/hooks/post-commit").chmod(0o600), "hooks/post-commit"),
        (lambda w: (w.repository / ".git/HEAD").write_text("ref: refs/heads/x\n"), ".git/HEAD"),
    ],
    "what is left over": [
        (lambda w: _edit(w.repository / "plan.md", "- [x] **T4**", "- [ ] **T4**"), "plan.md shows"),
        (lambda w: (w.run_folder / "log.txt").write_text(twelve_tasks.CANARY), "a canary is in"),
        (lambda w: (w.state / "hub.git/refs/x.lock").write_text(""), "locks are left"),
        (lambda w: (w.state / "quarantine/q-1").mkdir(parents=True), "left behind: quarantine/q-1"),
        (lambda w: w.git("update-ref", "refs/heads/codexteam/other", "main"), "branches are left"),
        (
            lambda w: (w.state / "hub.git/refs/codexteam/x").write_text(w.git("rev-parse", w.branch)),
            "refs that nobody needs",
        ),
        (lambda w: (w.repository / ".git/objects/pack/tmp_pack_x").write_text(""), "left behind: .git/"),
        (lambda w: (w.state / "hub.git/objects/tmp_obj_x").write_text(""), "in the hub: tmp_"),
        (lambda w: (w.run_folder / "scratch").write_text(""), "left behind: runs/RUN/scratch"),
        (lambda w: (w.run_folder / "tasks/T1/1/turn-1.pack").write_text(""), "the newest would do"),
        (lambda w: (w.state / "bubblewrap/runs/x").mkdir(parents=True), "left behind: bubblewrap/runs"),
        (lambda w: (temporary_folder(w) / "x").write_text(""), "a temporary x"),
        (lambda w: (w.home / ".cache").mkdir(), "left in the user's home"),
        (lambda w: _execute(w, _UNTOLD), "status says"),
    ],
    "what is stored": [
        (lambda w: _execute(w, _USAGE), "the server counted"),
        (lambda w: _execute(w, _OUTPUT), "tokens of output"),
        (lambda w: _execute(w, _OPEN), "calls are open that nobody waits for"),
        (lambda w: _execute(w, "UPDATE run SET state = 'running'"), "the store says the run is running"),
        (
            lambda w: _edit(w.run_folder / "events.jsonl", '"sequence":7,', '"sequence":8,'),
            "repeated numbers",
        ),
    ],
    "what is in the file of events": [
        (lambda w: _drop_line(w, "agent.turn"), "turns are told"),
        (lambda w: _drop_line(w, "task.merged"), "not told"),
    ],
    "a lost answer": [
        (lambda w: _execute(w, "DELETE FROM call WHERE purpose = 'plan'"), "no answer stored"),
    ],
    "a lost event": [
        (lambda w: _execute(w, "DELETE FROM event WHERE sequence = 3"), "gap"),
    ],
    "no branch": [
        (lambda w: w.git("update-ref", "-d", f"refs/heads/{w.branch}"), "there is no branch"),
    ],
    "a moved branch": [
        (lambda w: w.git("update-ref", f"refs/heads/{w.branch}", "main"), "the branch points to"),
    ],
    "a stranger's commit": [
        (_add_commit, "that nothing accepted"),
    ],
    "work done again": [
        (_once_more, "cannot be checked"),
    ],
    "the user's objects": [
        (_lose_the_base, "the user's repository is damaged"),
    ],
    "the hub's objects": [
        (lambda w: shutil.rmtree(w.state / "hub.git/objects/pack"), "the hub is damaged"),
    ],
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
    for spoil, _ in _SPOILERS[way]:
        spoil(world)
    found = _found(evidence)
    (temporary_folder(world) / "x").unlink(missing_ok=True)
    shutil.rmtree(world.home / ".cache", ignore_errors=True)
    missed = [says for _, says in _SPOILERS[way] if not any(says in line for line in found)]
    assert missed == [], found


def test_calls_that_are_made_again_are_found(sound: Evidence) -> None:
    world = sound.world
    shutil.rmtree(world.repository)
    shutil.copytree(world.folder / "good", world.repository, symlinks=True)
    again: RecordedRequest = sound.requests[-1]
    evidence = replace(sound, before=fingerprint(world), requests=[*sound.requests, again])
    assert any("requests again after 0 kills" in line for line in violations(evidence))
    evidence = replace(evidence, kills=1, answered_at_kill=[(len(sound.requests), answered(world))])
    assert any("asked again after its answer was stored" in line for line in violations(evidence))


def test_a_canary_that_was_printed_is_found(sound: Evidence) -> None:
    world = sound.world
    shutil.rmtree(world.repository)
    shutil.copytree(world.folder / "good", world.repository, symlinks=True)
    evidence = replace(sound, before=fingerprint(world), outputs=f"found {twelve_tasks.CANARY}")
    assert violations(evidence) == ["a canary was printed"]
