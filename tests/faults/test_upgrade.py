"""State files of other versions: an older one is brought up to date, a newer one is refused and stays as it was."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from codexteam.adapters.store.schema import MIGRATIONS
from codexteam.core.ids import JSONObject
from codexteam.core.stored_state import SCHEMA_VERSION
from tests.e2e.world import Ended, World, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, answered, rows, violations
from tests.faults.killing import expected_tree, machine

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

#: Events after which about half of the tasks are merged.
_HALF_WAY = 60


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def _write_and_die(path: Path, statement: str) -> None:
    """Write as a process that is killed does: its log stays beside the file."""
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute(sys.argv[2])\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path), statement], check=True)


def _bytes(world: World) -> Mapping[str, bytes]:
    """Give the state file and its log; the index of the log is rebuilt by whoever reads."""
    return {
        path.name: path.read_bytes() for path in world.state.glob("state.sqlite*") if not path.name.endswith("-shm")
    }


def _begin_and_kill(world: World) -> None:
    ended = world.run_until(_HALF_WAY, signal.SIGKILL, "run", twelve_tasks.GOAL)
    assert ended.code == -signal.SIGKILL, ended.err


def _json(ended: Ended) -> Mapping[str, object]:
    assert ended.code == 0, ended.err
    return ended.lines[0]


def test_an_older_run_is_read_unchanged_and_resumed_with_a_copy_kept(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        _begin_and_kill(world)
        path = world.state / "state.sqlite"
        # an older version wrote each line of the file as it happened, and had no rows for them
        (world.run_folder / "events.jsonl").write_text(world.run("events").out)
        _write(
            path,
            "DROP TABLE sitting",
            "DROP TABLE fact",
            "PRAGMA user_version = 1",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        )
        seen, old = (len(api.requests), answered(world)), _bytes(world)

        for words in (("runs",), ("status",), ("events",), ("logs",), ("show", "T1"), ("inbox",)):
            looked = world.run(*words)
            assert looked.code == 0, (words, looked.err)
        assert _json(world.run("status", "--json"))["state"] == "interrupted"
        assert _bytes(world) == old, "looking changes nothing"

        resumed = world.run("resume")
        assert resumed.code == 0, resumed.err
        copy = world.state / "state.sqlite.v1"
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with closing(sqlite3.connect(copy)) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (1,)
            assert database.execute("SELECT state FROM run").fetchone() == ("running",)
        assert rows(world, "PRAGMA user_version") == [(len(MIGRATIONS),)]
        assert rows(world, "SELECT number, ending FROM sitting") == [
            (1, "green: every gate passed on the commit that the branch points to")
        ]
        evidence = Evidence(
            world, before, api.requests, 1, answered_at_kill=[seen], expected_tree=tree, may_stay=frozenset({copy.name})
        )
        assert violations(evidence) == []


def _refuses_a_newer_file(world: World) -> None:
    """The whole file is another version's: it stays byte for byte as it was."""
    _write_and_die(world.state / "state.sqlite", "PRAGMA user_version = 99")
    newer = _bytes(world)
    assert newer["state.sqlite-wal"], "the log of a killed process is there, and stays"
    for words in (("resume",), ("run", "another goal"), ("clean",), ("status",), ("runs",), ("apply",), ("stop",)):
        refused = world.run(*words)
        assert refused.code == 6, (words, refused.out, refused.err)
        assert f"schema 99; this version reads up to {len(MIGRATIONS)}" in refused.err
        assert "hint: use the codexteam that wrote it, or a newer one" in refused.err
        assert _bytes(world) == newer, words
    _write(world.state / "state.sqlite", f"PRAGMA user_version = {len(MIGRATIONS)}")


def _refuses_newer_content(world: World) -> None:
    """A state or an event in it is another version's: no row changes."""
    path = world.state / "state.sqlite"
    newer = f"UPDATE checkpoint SET state = json_set(state, '$.schema', {SCHEMA_VERSION + 1})"
    unknown = "INSERT INTO event SELECT run_id, max(sequence) + 1, 0.0, 'Teleported', '{}' FROM event GROUP BY run_id"
    for statement, undo, words in (
        (
            newer,
            f"UPDATE checkpoint SET state = json_set(state, '$.schema', {SCHEMA_VERSION})",
            "checkpoint of schema",
        ),
        (unknown, "DELETE FROM event WHERE kind = 'Teleported'", "unknown event 'Teleported'"),
    ):
        _write(path, statement)
        kept = (
            rows(world, "SELECT * FROM run"),
            rows(world, "SELECT * FROM sitting"),
            rows(world, "SELECT * FROM event"),
        )
        for command in ("resume", "status"):
            refused = world.run(command)
            assert refused.code == 6, (command, refused.out, refused.err)
            assert words in refused.err
            assert "newer" in refused.err
        now = (
            rows(world, "SELECT * FROM run"),
            rows(world, "SELECT * FROM sitting"),
            rows(world, "SELECT * FROM event"),
        )
        assert now == kept
        _write(path, undo)


def test_a_newer_state_is_refused_and_each_session_says_how_it_ended(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, _):
        tree = expected_tree(world)
        _begin_and_kill(world)
        status = _json(world.run("status", "--json"))
        assert status["state"] == "interrupted"
        assert "working" not in json.dumps(status["tasks"]), "nobody works on a run that nobody drives"
        assert status["agents"] == []
        assert "was killed, or its machine went down" in world.run("status").out
        assert world.run("runs").out.splitlines()[1].split()[1] == "interrupted"

        _refuses_a_newer_file(world)
        _refuses_newer_content(world)

        stopped = world.run_until(5, signal.SIGTERM, "resume")
        assert stopped.code == 128 + signal.SIGTERM, stopped.err
        assert "SIGTERM" in world.run("status").out

        assert world.run("resume").code == 0
        green = _json(world.run("status", "--json"))
        first, second, third = cast("list[JSONObject]", green["sittings"])
        assert (first["ended_at"], first["ending"]) == (None, "")
        assert str(second["ending"]).startswith("interrupted")
        assert str(third["ending"]).startswith("green: ")
        assert len({first["pid"], second["pid"], third["pid"], os.getpid()}) == 4
        assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree
