"""What commands print is written for agents that somebody looks at, and for no other."""

import os
import time
from pathlib import Path

from codexteam.adapters.machine.looked_at import Look, LookedAt

AGENTS = ["implementer T1.1", "../odd role\n T2.1"]


def test_who_looks_sees_what_is_written_for_as_long_as_it_looks(tmp_path: Path) -> None:
    run = LookedAt(tmp_path)
    assert run.among(AGENTS, time.time()) == []
    assert not [*tmp_path.iterdir()]

    look = Look(tmp_path, AGENTS[1])
    assert look.read() == ""
    assert run.among(AGENTS, time.time()) == [AGENTS[1]]
    run.write(AGENTS[1], "one\ntwo")
    assert look.read() == "one\ntwo"

    look.close()
    look.close()
    assert run.among(AGENTS, time.time()) == []
    run.close()
    run.close()
    assert not [*tmp_path.iterdir()]


def test_a_look_of_a_viewer_that_was_killed_is_over_after_a_while(tmp_path: Path) -> None:
    run, look, now = LookedAt(tmp_path), Look(tmp_path, AGENTS[0]), time.time()
    look.read()
    for file in (tmp_path / "looked-at").iterdir():
        os.utime(file, (now - 60, now - 60))

    assert run.among(AGENTS, now) == []


def test_a_run_that_is_gone_shows_nothing(tmp_path: Path) -> None:
    look = Look(tmp_path / "gone", AGENTS[0])

    assert look.read() == ""
    look.close()
