"""Killed at any moment, then done again; and many at once."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, GitTimeout
from codexteam.ports.repo import Accepted, Merged
from tests.support_git import FREE, RUN, WHO, Desk, git
from tests.support_processes import wait_for_end

pytestmark = pytest.mark.slow

#: What a run does after a crash: all of it again, under the same names.
_STEPS = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.ports.sandbox import Snapshot
from tests.support_git import FREE, RUN, WHO

async def main():
    root, state, tip, base, pack = sys.argv[2:]
    places = locate(Path(root), os.environ)
    repo = GitRepo(places, Path(state), os.environ)
    await repo.fetch_base(RUN, base)
    print("ready", flush=True)
    intake = await repo.intake(Snapshot(tip, base, Path(pack), 0), FREE)
    commit = await repo.commit(intake.tree, [base], "work", WHO)
    merged = await repo.merge(base, commit, "merge", WHO)
    tip = await repo.branch_tip(RUN)
    assert await repo.update_branch(RUN, merged.commit, tip)
    await repo.land(RUN, merged.commit)
    print(merged.commit, flush=True)
    await repo.close()

asyncio.run(main())
"""


async def test_a_run_killed_at_any_moment_gives_the_same_commit_again(desk: Desk) -> None:
    snapshot = desk.snapshot({b"a.txt": b"changed\n", b"new/x.txt": b"x\n" * 1000})
    await desk.repo.close()
    source = Path(__file__).resolve().parents[4]
    argv = [
        sys.executable,
        "-c",
        _STEPS,
        *map(str, (source, desk.root, desk.state, snapshot.tip, desk.base, snapshot.pack)),
    ]
    chance = random.Random(20260102)
    killed = 0
    for _ in range(8):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True, cwd=source)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(timeout=chance.uniform(0.0, 0.12))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        process.stdout.close()
    assert killed
    whole = subprocess.run(argv, check=True, capture_output=True, cwd=source)
    commit = whole.stdout.split()[1].decode()
    again = subprocess.run(argv, check=True, capture_output=True, cwd=source)
    assert again.stdout.split()[1].decode() == commit
    assert git(desk.root, "rev-parse", f"codexteam/{RUN}").decode().strip() == commit
    git(desk.hub, "--git-dir=.", "fsck", "--strict")
    assert not list(desk.hub.rglob("*.lock"))
    assert not list((desk.state / "quarantine").glob("*"))


async def test_eight_intakes_at_once(desk: Desk) -> None:
    snapshots = [desk.snapshot({b"t%d/x.txt" % n: b"x%d\n" % n * 500}) for n in range(8)]
    intakes = await asyncio.gather(*(desk.repo.intake(snapshot, FREE) for snapshot in snapshots))
    tip = desk.base
    for intake in intakes:
        assert isinstance(intake, Accepted)
        work = await desk.repo.commit(intake.tree, [desk.base], "work", WHO)
        merged = await desk.repo.merge(tip, work, "merge", WHO)
        assert isinstance(merged, Merged)
        tip = merged.commit
    assert len(await desk.repo.changes(desk.base, tip)) == 8
    git(desk.hub, "--git-dir=.", "fsck", "--strict")


async def test_many_processes_may_race_for_a_ref_and_one_wins(desk: Desk) -> None:
    commits = [await desk.taken({b"a.txt": b"%d\n" % n}) for n in range(6)]
    assert await desk.repo.update_branch(RUN, desk.base, None)
    won = await asyncio.gather(*(desk.repo.update_branch(RUN, commit, desk.base) for commit in commits))
    assert sum(won) == 1
    assert await desk.repo.branch_tip(RUN) == commits[won.index(True)]


async def test_a_call_that_hangs_is_killed_with_all_it_started(desk: Desk, tmp_path: Path) -> None:
    child, hanging = tmp_path / "child", tmp_path / "git"
    hanging.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {child}.new; mv {child}.new {child}\nwait\n")
    hanging.chmod(0o755)
    runner = GitRunner(str(hanging), tmp_path)
    # on a busy machine the call may be over before its child is there: then it gets more time
    seconds = 0.25
    while not child.exists():
        seconds *= 2
        with pytest.raises(GitTimeout):
            runner.run(GitCall(("version",), None, deadline=GitDeadline.after(seconds)))
    await wait_for_end(int(child.read_text()))


async def test_output_is_capped(desk: Desk) -> None:
    places = locate(desk.root, os.environ)
    repo = GitRepo(places, desk.state, os.environ)
    new = await desk.taken({b"long.txt": b"line\n" * 100_000})
    text, cut = await repo.diff_text(desk.base, new, limit_bytes=10_000)
    assert cut
    assert len(text) <= 10_000
    await repo.close()
