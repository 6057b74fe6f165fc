"""What the store will name is on the disk before the store names it: git says itself what it synced."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from codexteam.adapters.git.runner import find_git
from codexteam.ports.repo import Merged
from tests.support_git import RUN, WHO, make_user, open_desk


def synced(trace: Path) -> Counter[str]:
    """Give how many files each git command synced, out of git's own trace."""
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    for line in trace.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "cmd_name":
            names[event["sid"]] = event["name"]
        # a `data` event until 2.40 or so, a `counter` since
        elif event.get("category") == "fsync" and event["event"] in {"data", "counter"}:
            found[names[event["sid"]]] += int(event.get("value", event.get("count", 0)))
    return found


async def test_commits_merges_and_refs_are_synced_in_the_hub_and_where_they_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    traced = tmp_path / "bin" / "git"
    traced.parent.mkdir()
    git = find_git(os.environ["PATH"])
    make_user(tmp_path / "user", {"a.txt": b"one\n", "folder/b.txt": b"three\n"})
    traced.write_text(f'#!/bin/sh\nGIT_TRACE2_EVENT={trace} exec {git} "$@"\n')
    traced.chmod(0o755)
    monkeypatch.setenv("PATH", f"{traced.parent}:{os.environ['PATH']}")
    desk = await open_desk(tmp_path / "user", tmp_path)
    try:
        ours, theirs = await desk.taken({b"a.txt": b"two\n"}), await desk.taken({b"folder/b.txt": b"four\n"})
        trace.unlink()
        merged = await desk.repo.merge(ours, theirs, "merge", WHO)
        assert isinstance(merged, Merged)
        # the tree of the whole; the commit and the hub's refs are written without git
        assert synced(trace) == {"merge-tree": 1}
        assert await desk.repo.update_branch(RUN, merged.commit, None)
        trace.unlink()
        await desk.repo.land(RUN, merged.commit)
        landed = synced(trace)
        assert landed["index-pack"] > 0
        assert landed["update-ref"] == 1, "the user's ref"
    finally:
        await desk.repo.close()
