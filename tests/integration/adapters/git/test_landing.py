"""The one ref in the user's repository, taking it into a branch, and clearing away what is left."""

import shutil
import tarfile
from pathlib import Path

import pytest

from codexteam.adapters.git.repo import GitRepo
from codexteam.core.ids import CommitId
from codexteam.errors import LandingError
from codexteam.ports.repo import Merged
from tests.support_git import RUN, WHO, Desk, git, make_user, open_desk

BRANCH = f"codexteam/{RUN}"


def _at(root: Path, name: str) -> str:
    return git(root, "rev-parse", "--verify", "--quiet", name, check=False).decode().strip()


async def test_landing_moves_its_ref_and_nothing_else(desk: Desk) -> None:
    (desk.root / "a.txt").write_text("my own work\n")
    index = (desk.root / ".git/index").read_bytes()
    one = await desk.taken({b"a.txt": b"1\n"})
    two = await desk.taken({b"a.txt": b"2\n"}, one)
    await desk.repo.land(RUN, one)
    assert _at(desk.root, BRANCH) == one
    await desk.repo.land(RUN, two)
    assert _at(desk.root, BRANCH) == two
    assert (desk.root / ".git/index").read_bytes() == index
    assert (desk.root / "a.txt").read_text() == "my own work\n"
    assert _at(desk.root, "HEAD") == desk.base
    assert git(desk.root, "fsck", "--strict") == b""


async def test_a_branch_that_somebody_moved_is_left_alone(desk: Desk) -> None:
    one = await desk.taken({b"a.txt": b"1\n"})
    two = await desk.taken({b"a.txt": b"2\n"}, one)
    await desk.repo.land(RUN, one)
    tree = git(desk.root, "rev-parse", "HEAD^{tree}").decode().strip()
    other = git(desk.root, "commit-tree", "-p", "HEAD", "-m", "mine", tree).decode().strip()
    git(desk.root, "branch", "-f", BRANCH, other)
    with pytest.raises(LandingError, match="moved by something else") as caught:
        await desk.repo.land(RUN, two)
    assert caught.value.exit_code == 7
    assert caught.value.hint
    assert _at(desk.root, BRANCH) == other


async def test_a_branch_of_that_name_that_was_there_before_is_left_alone(desk: Desk) -> None:
    git(desk.root, "commit", "--allow-empty", "-qm", "mine")
    git(desk.root, "branch", BRANCH)
    with pytest.raises(LandingError, match="moved by something else"):
        await desk.repo.land(RUN, await desk.taken({b"a.txt": b"1\n"}))


async def test_a_result_that_went_back_is_landed_again(desk: Desk) -> None:
    """A red merge is taken out of the integration branch: the new tip does not contain the old one."""
    one = await desk.taken({b"a.txt": b"1\n"})
    other = await desk.taken({b"a.txt": b"other\n"})
    await desk.repo.land(RUN, one)
    await desk.repo.land(RUN, other)
    assert _at(desk.root, BRANCH) == other


@pytest.mark.parametrize("where", ["main", "linked"])
async def test_a_checked_out_branch_is_never_moved(desk: Desk, where: str) -> None:
    one = await desk.taken({b"a.txt": b"1\n"})
    two = await desk.taken({b"a.txt": b"2\n"}, one)
    await desk.repo.land(RUN, one)
    if where == "main":
        git(desk.root, "checkout", "-q", BRANCH)
    else:
        git(desk.root, "worktree", "add", "-q", str(desk.folder / "linked"), BRANCH)
    with pytest.raises(LandingError, match="checked out in"):
        await desk.repo.land(RUN, two)
    assert _at(desk.root, BRANCH) == one


async def test_a_branch_called_codexteam_in_the_way_is_said(desk: Desk) -> None:
    git(desk.root, "branch", "codexteam")
    with pytest.raises(LandingError, match="cannot be written"):
        await desk.repo.land(RUN, await desk.taken({b"a.txt": b"1\n"}))


@pytest.mark.slow
async def test_a_lock_in_the_users_repository_is_waited_for_and_never_removed(desk: Desk) -> None:
    lock = desk.root / f".git/refs/heads/{BRANCH}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    with pytest.raises(LandingError, match="cannot be written"):
        await desk.repo.land(RUN, await desk.taken({b"a.txt": b"1\n"}))
    assert lock.exists()


# apply


async def _landed(desk: Desk, content: bytes = b"ONE\ntwo\n") -> CommitId:
    new = await desk.taken({b"a.txt": content})
    await desk.repo.update_branch(RUN, new, None)
    await desk.repo.land(RUN, new)
    return new


async def test_apply_is_a_fast_forward_where_it_can_be(desk: Desk) -> None:
    new = await _landed(desk)
    (desk.root / "plan.md").write_text("# Plan\n")
    done = await desk.repo.apply(new, "Merge the run")
    assert (done.branch, done.head, done.fast_forward) == ("main", new, True)
    assert (desk.root / "a.txt").read_text() == "ONE\ntwo\n"
    assert (await desk.repo.apply(new, "again")).already


async def test_apply_merges_with_the_users_identity_and_hooks(desk: Desk) -> None:
    new = await _landed(desk)
    (desk.root / "mine.txt").write_text("mine\n")
    git(desk.root, "add", "-A")
    git(desk.root, "commit", "-qm", "mine")
    hook = desk.root / ".git/hooks/commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "Checked-by: hook" >> "$1"\n')
    hook.chmod(0o755)
    done = await desk.repo.apply(new, "Merge the run\n\nwith a body")
    assert not done.fast_forward
    assert git(desk.root, "log", "-1", "--format=%cn <%ce>").strip() == b"Test User <user@example.org>"
    assert b"Checked-by: hook" in git(desk.root, "log", "-1", "--format=%B")
    assert _at(desk.root, "HEAD^2") == new


async def test_apply_leaves_everything_when_a_hook_refuses(desk: Desk) -> None:
    new = await _landed(desk)
    git(desk.root, "commit", "--allow-empty", "-qm", "mine")
    before = _at(desk.root, "HEAD")
    hook = desk.root / ".git/hooks/commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no such commit here >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(LandingError, match="no such commit here"):
        await desk.repo.apply(new, "Merge")
    assert _at(desk.root, "HEAD") == before
    assert git(desk.root, "status", "--porcelain") == b""


async def test_apply_takes_a_conflict_back(desk: Desk) -> None:
    new = await _landed(desk)
    (desk.root / "a.txt").write_text("clash\ntwo\n")
    git(desk.root, "commit", "-qam", "clash")
    with pytest.raises(LandingError, match=r"CONFLICT.*a\.txt") as caught:
        await desk.repo.apply(new, "Merge")
    assert "git merge" in caught.value.hint
    assert git(desk.root, "status", "--porcelain") == b""
    assert not (desk.root / ".git/MERGE_HEAD").exists()


async def test_apply_needs_a_clean_work_tree(desk: Desk) -> None:
    new = await _landed(desk)
    (desk.root / "folder/b.txt").write_text("mine\n")
    with pytest.raises(LandingError, match="uncommitted changes"):
        await desk.repo.apply(new, "Merge")
    assert (desk.root / "folder/b.txt").read_text() == "mine\n"


async def test_apply_does_not_run_over_an_untracked_file(desk: Desk) -> None:
    new = await desk.taken({b"new.txt": b"theirs\n"})
    await desk.repo.land(RUN, new)
    (desk.root / "new.txt").write_text("mine\n")
    with pytest.raises(LandingError, match=r"new\.txt"):
        await desk.repo.apply(new, "Merge")
    assert (desk.root / "new.txt").read_text() == "mine\n"


# salvage and clean


async def test_kept_work_is_listed_exported_and_put_back(desk: Desk) -> None:
    snapshot = desk.snapshot({b"a.txt": b"saved\n", b"bin": bytes(range(256))})
    await desk.repo.keep(RUN, "implementer T1.1", desk.snapshot({b"a.txt": b"earlier\n"}))
    await desk.repo.keep(RUN, "implementer T1.1", snapshot)
    snapshot.pack.unlink()
    (work,) = await desk.repo.kept_work(RUN)
    assert (work.name, work.tip, work.base) == ("implementer T1.1", snapshot.tip, desk.base)
    patch = desk.folder / "saved.patch"
    desk.export(work, patch)
    git(desk.root, "apply", "--index", str(patch))
    assert (desk.root / "a.txt").read_bytes() == b"saved\n"
    assert (desk.root / "bin").read_bytes() == bytes(range(256))
    assert work.snapshot().pack.is_file()


async def test_names_of_kept_work_cannot_leave_their_folder(desk: Desk) -> None:
    await desk.repo.keep(RUN, "../../../escape\n/x", desk.snapshot({b"a.txt": b"x\n"}))
    (work,) = await desk.repo.kept_work()
    assert work.pack.parent == desk.state / "kept" / RUN


async def test_clean_archives_what_is_not_saved_and_keeps_the_users_branch(desk: Desk) -> None:
    new = await desk.taken({b"a.txt": b"1\n"})
    more = await desk.taken({b"a.txt": b"2\n"}, new)
    await desk.repo.update_branch(RUN, more, None)
    await desk.repo.land(RUN, new)
    await desk.repo.keep(RUN, "T2.1", desk.snapshot({b"b": b"x\n"}))
    said = await desk.repo.clean(RUN)
    assert any("archived" in line for line in said)
    assert any("left branch" in line for line in said)
    assert _at(desk.root, BRANCH) == new
    assert await desk.repo.clean(RUN) == [f"left branch {BRANCH}: no other branch has its commits"]
    with tarfile.open(desk.state / "archive" / f"{RUN}.tar") as tar:
        names = tar.getnames()
        tar.extractall(desk.folder / "archive", filter="data")
    assert any(name.endswith(".pack") for name in names)
    git(
        desk.root,
        "fetch",
        "-q",
        str(desk.folder / "archive" / RUN / "branch.bundle"),
        f"refs/heads/{BRANCH}:refs/heads/saved",
    )
    assert _at(desk.root, "saved") == more


async def test_an_archive_joins_an_earlier_one_despite_a_killed_gits_lock(desk: Desk) -> None:
    new = await desk.taken({b"a.txt": b"1\n"})
    await desk.repo.update_branch(RUN, new, None)
    earlier = desk.state / "archive" / f"{RUN}.tar"
    earlier.parent.mkdir()
    earlier.write_bytes(b"earlier")
    (earlier.parent / f"{RUN}.bundle.new.lock").touch()
    said = await desk.repo.clean(RUN)
    beside = earlier.with_name(f"{RUN}-2.tar")
    assert f"archived unmerged work as {beside}" in said
    with tarfile.open(beside) as tar:
        assert tar.getnames() == [f"{RUN}/branch.bundle"]
    assert earlier.read_bytes() == b"earlier"


async def test_clean_removes_a_branch_that_was_merged(desk: Desk) -> None:
    new = await _landed(desk)
    git(desk.root, "merge", "-q", "--ff-only", BRANCH)
    said = await desk.repo.clean(RUN)
    assert f"removed branch {BRANCH}" in said
    assert not _at(desk.root, BRANCH)
    assert _at(desk.root, "HEAD") == new
    assert not (desk.state / "archive").exists(), "nothing was unsaved"


async def test_a_new_start_clears_what_a_dead_process_left_in_the_hub(desk: Desk) -> None:
    import os

    new = await desk.taken({b"a.txt": b"1\n"})
    await desk.repo.update_branch(RUN, desk.base, None)
    await desk.repo.close()
    ref = desk.hub / f"refs/heads/{BRANCH}.lock"
    ref.write_text("")
    (desk.hub / "objects/pack/tmp_pack_x").write_text("half")
    (desk.hub / "HEAD.lock").write_text("")
    (desk.state / "quarantine/q-dead").mkdir(parents=True)
    repo = GitRepo(desk.repo.places, desk.state, os.environ)
    assert await repo.update_branch(RUN, new, desk.base)
    assert not list(desk.hub.rglob("*.lock"))
    assert not (desk.hub / "objects/pack/tmp_pack_x").exists()
    assert not (desk.state / "quarantine").exists()
    await repo.close()


async def test_many_packs_are_joined_at_a_start_and_nothing_is_lost(desk: Desk) -> None:
    import os

    works = [await desk.taken({b"n.txt": b"%d\n" % number}) for number in range(55)]
    await desk.repo.close()
    repo = GitRepo(desk.repo.places, desk.state, os.environ)
    for number, work in enumerate(works):  # no ref names any of them
        assert await repo.read_blob(work, b"n.txt", limit_bytes=9) == b"%d\n" % number
    assert len(list((desk.hub / "objects/pack").glob("*.pack"))) < 10
    git(desk.hub, "--git-dir=.", "fsck", "--strict")
    await repo.close()


async def test_a_lock_that_appears_in_the_hub_does_not_stop_it(desk: Desk) -> None:
    new = await desk.taken({b"a.txt": b"1\n"})
    await desk.repo.update_branch(RUN, desk.base, None)
    (desk.hub / f"refs/heads/{BRANCH}.lock").write_text("")
    assert await desk.repo.update_branch(RUN, new, desk.base)


async def test_the_state_folder_gone_during_a_run_is_one_error(desk: Desk) -> None:
    from codexteam.errors import RepoError

    await desk.repo.list_files(desk.base)
    shutil.rmtree(desk.state)
    with pytest.raises(RepoError):
        await desk.repo.commit(await desk.repo.tree_of(desk.base), [desk.base], "x", WHO)


async def test_commits_carry_role_trailers_and_dates(desk: Desk) -> None:
    message = "T1: Read the file\n\nCodexteam-Run: r\nCodexteam-Task: T1\n"
    new = await desk.taken({b"a.txt": b"1\n"})
    merged = await desk.repo.merge(desk.base, new, message, WHO)
    assert isinstance(merged, Merged)
    shown = git(
        desk.hub,
        "--git-dir=.",
        "log",
        "-1",
        "--format=%an|%ae|%at|%cn|%(trailers:key=Codexteam-Task,valueonly)|%P",
        merged.commit,
    )
    assert shown.decode().strip().split("|") == [
        WHO.name,
        WHO.email,
        str(WHO.at_seconds),
        "codexteam",
        "T1\n",
        desk.base,
    ]
    from codexteam.ports.repo import Identity

    odd = Identity("evil <x>\n", "a@b\nparent 0000", 5)
    await desk.repo.commit(merged.tree, [desk.base], "x\0y", odd)


# a base that the user's repository no longer has


def _rewrite(root: Path, *, prune: bool = True) -> None:
    """Reword the newest commit as people do, and let git forget the old one."""
    git(root, "commit", "-q", "--amend", "-m", "reworded")
    git(root, "reflog", "expire", "--expire=now", "--all")
    if prune:
        git(root, "gc", "-q", "--prune=now")


def _is_whole(root: Path) -> bool:
    found = [git(root, "fsck", "--connectivity-only"), git(root, "log", "--all", "--oneline"), git(root, "gc", "-q")]
    return bool(found[1])


@pytest.mark.parametrize("depth", [50, 1, 2])
async def test_a_base_that_was_rewritten_and_pruned_is_sent_with_the_result(tmp_path: Path, depth: int) -> None:
    root = tmp_path / "user"
    make_user(root, {"a.txt": b"one\n", "folder/b.txt": b"b\n"})
    for number in range(3):
        (root / "a.txt").write_text(f"{number}\n")
        git(root, "commit", "-qam", f"more {number}")
    desk = await open_desk(root, tmp_path, history_depth=depth)
    try:
        new = await desk.taken({b"c.txt": b"c\n"})
        _rewrite(root)
        assert git(root, "cat-file", "-e", desk.base, check=False) == b""
        await desk.repo.land(RUN, new)
        assert _is_whole(root)
        assert git(root, "show", f"{BRANCH}:folder/b.txt") == b"b\n"
        assert git(root, "rev-list", "--count", BRANCH).strip() == b"5"
        done = await desk.repo.apply(new, "Merge the run")
        assert not done.fast_forward
    finally:
        await desk.repo.close()


async def test_missing_objects_of_the_base_are_sent_even_if_the_base_exists(desk: Desk) -> None:
    """Half a commit is not a commit: git prunes objects one by one."""
    new = await desk.taken({b"c.txt": b"c\n"})
    _rewrite(desk.root, prune=False)
    blob = git(desk.root, "rev-parse", "HEAD:a.txt").decode().strip()
    (desk.root / "a.txt").write_text("rewritten\n")
    git(desk.root, "commit", "-qa", "--amend", "-m", "rewritten")
    git(desk.root, "reflog", "expire", "--expire=now", "--all")
    (desk.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    await desk.repo.land(RUN, new)
    assert _is_whole(desk.root)


async def test_a_history_gone_everywhere_stops_the_landing_before_any_write(tmp_path: Path) -> None:
    root = tmp_path / "user"
    make_user(root, {"a.txt": b"one\n"})
    for number in range(3):
        (root / "a.txt").write_text(f"{number}\n")
        git(root, "commit", "-qam", f"more {number}")
    desk = await open_desk(root, tmp_path, history_depth=1)
    try:
        new = await desk.taken({b"c.txt": b"c\n"})
        tree = git(root, "rev-parse", "HEAD^{tree}").decode().strip()
        fresh = git(root, "commit-tree", "-m", "all anew", tree).decode().strip()
        git(root, "reset", "-q", "--hard", fresh)
        git(root, "reflog", "expire", "--expire=now", "--all")
        git(root, "gc", "-q", "--prune=now")
        before = sorted(path for path in (root / ".git").rglob("*"))
        with pytest.raises(LandingError, match="is gone: .* nothing was written") as caught:
            await desk.repo.land(RUN, new)
        assert caught.value.hint
        assert sorted(path for path in (root / ".git").rglob("*")) == before
        assert _is_whole(root)
    finally:
        await desk.repo.close()


async def test_a_shallow_clone_whose_only_commit_was_pruned_is_not_damaged(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    make_user(origin, {"a.txt": b"one\n"})
    (origin / "a.txt").write_text("two\n")
    git(origin, "commit", "-qam", "two")
    root = tmp_path / "user"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", str(root))
    desk = await open_desk(root, tmp_path)
    try:
        new = await desk.taken({b"c.txt": b"c\n"})
        tree = git(root, "rev-parse", "HEAD^{tree}").decode().strip()
        fresh = git(root, "commit-tree", "-m", "all anew", tree).decode().strip()
        git(root, "reset", "-q", "--hard", fresh)
        git(root, "remote", "set-head", "origin", "-d")
        git(root, "remote", "remove", "origin")
        git(root, "reflog", "expire", "--expire=now", "--all")
        git(root, "gc", "-q", "--prune=now")
        with pytest.raises(LandingError, match="nothing was written"):
            await desk.repo.land(RUN, new)
        assert _is_whole(root)
    finally:
        await desk.repo.close()
