"""What a review judges, found in real repositories: ranges, branches, and work that is not committed."""

import os
from pathlib import Path

import pytest

from codexteam.core.ids import CommitId
from codexteam.errors import RepoError, UsageError
from codexteam.ports.repo import ChangeWanted, FoundChange
from tests.support_git import RUN, WHO, Desk, git, open_desk


def _commit(desk: Desk, name: str, text: str) -> str:
    (desk.root / name).write_text(text)
    git(desk.root, "add", "--", name)
    git(desk.root, "commit", "-qm", f"write {name}")
    return git(desk.root, "rev-parse", "HEAD").decode().strip()


async def _found(desk: Desk, **wanted: object) -> FoundChange:
    return await desk.repo.find_change(ChangeWanted(**wanted))  # type: ignore[arg-type]  # as given


async def test_a_branch_is_compared_with_where_it_left_its_base(desk: Desk) -> None:
    git(desk.root, "switch", "-qc", "feature")
    one, two = _commit(desk, "one.txt", "1"), _commit(desk, "two.txt", "2")
    git(desk.root, "switch", "-q", "main")
    _commit(desk, "other.txt", "o")
    git(desk.root, "switch", "-q", "feature")

    found = await _found(desk)

    assert (found.base, found.head) == (desk.base, two)
    assert found.messages == ("write two.txt", "write one.txt")
    assert (found.title, found.subject) == ("feature against main", "base:main:feature")
    assert await _found(desk, base="main") == found
    assert (await _found(desk, commit=one[:8])).base == desk.base
    assert (await _found(desk, range="main..feature")).base != desk.base
    assert (await _found(desk, range="main...feature")).base == desk.base
    assert (await _found(desk, range=f"{one}..")).head == two
    assert (await _found(desk, range="feature..feature")).empty
    named = (await _found(desk, range="main..feature")).subject
    assert named == "range:refs/heads/main..refs/heads/feature"
    assert (await _found(desk, range="HEAD~1..HEAD")).subject == ""


async def test_the_remote_says_what_a_branch_is_compared_with(desk: Desk) -> None:
    git(desk.root, "update-ref", "refs/remotes/origin/next", str(desk.base))
    git(desk.root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/next")
    _commit(desk, "one.txt", "1")
    assert (await _found(desk)).title == "main against origin/next"
    git(desk.root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(desk.root, "update-ref", "refs/remotes/origin/main", str(desk.base))
    assert (await _found(desk)).messages == ("write one.txt",)


async def test_a_checkout_of_no_branch_is_the_same_as_no_earlier_one(desk: Desk) -> None:
    head = _commit(desk, "one.txt", "1")
    git(desk.root, "checkout", "-q", "--detach")
    found = await _found(desk, base=str(desk.base))
    assert (found.head, found.subject) == (head, "")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"base": "gone"}, "--base: found 'gone', which is not a commit here"),
        ({"base": "--output=x"}, "--base: found '--output=x'"),
        ({"commit": "main"}, "it has no parent"),
        ({"range": "main"}, "allowed are A..B"),
        ({"range": "a..b..c"}, "allowed are A..B"),
        ({}, "cannot be told"),
    ],
)
async def test_what_names_no_change_is_refused(desk: Desk, wanted: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        await _found(desk, **wanted)


async def test_histories_without_a_common_commit_are_refused(desk: Desk) -> None:
    git(desk.root, "switch", "-q", "--orphan", "other")
    _commit(desk, "one.txt", "1")
    with pytest.raises(UsageError, match="no commit in common"):
        await _found(desk, base="main")


async def test_uncommitted_work_is_taken_as_it_is_and_nothing_is_written(desk: Desk) -> None:
    (desk.root / "a.txt").write_text("changed\n")
    (desk.root / "folder" / "b.txt").unlink()
    (desk.root / "link").symlink_to("a.txt")
    program = desk.root / "run.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (desk.root / "staged.txt").write_text("staged")
    git(desk.root, "add", "staged.txt")
    (desk.root / "plan.md").write_text("# Plan\n\n<!-- codexteam run 20260101-0000-aaaa -->\n")
    ignored = desk.root / "noise.log"
    ignored.write_text("noise")
    (desk.root / ".git" / "info" / "exclude").write_text("*.log\n")
    index = (desk.root / ".git" / "index").read_bytes()
    objects = git(desk.root, "count-objects", "-v")

    made = await desk.repo.commit_work_tree(desk.base, "uncommitted", WHO)

    changes = {(change.path, change.status, change.new_mode) for change in await desk.repo.changes(desk.base, made)}
    assert changes == {
        (b"a.txt", "M", "100644"),
        (b"folder/b.txt", "D", "000000"),
        (b"link", "A", "120000"),
        (b"run.sh", "A", "100755"),
        (b"staged.txt", "A", "100644"),
    }
    assert await desk.repo.read_blob(made, b"staged.txt", limit_bytes=99) == b"staged"
    assert (desk.root / ".git" / "index").read_bytes() == index
    assert git(desk.root, "count-objects", "-v") == objects
    assert not list(desk.hub.glob("index-*"))
    await desk.repo.update_branch(RUN, made, None)
    git(desk.hub, "-c", "safe.bareRepository=all", "fsck", "--strict")


async def test_an_edit_in_the_second_of_the_index_is_seen(desk: Desk) -> None:
    path = desk.root / "a.txt"
    path.write_text("111\n")
    git(desk.root, "commit", "-qam", "three digits")
    base = CommitId(git(desk.root, "rev-parse", "HEAD").decode().strip())
    path.write_text("222\n")
    seconds = (desk.root / ".git" / "index").stat().st_mtime_ns
    os.utime(path, ns=(seconds, seconds))
    await desk.repo.fetch_base(RUN, base)

    made = await desk.repo.commit_work_tree(base, "uncommitted", WHO)

    assert await desk.repo.read_blob(made, b"a.txt", limit_bytes=99) == b"222\n"


async def test_what_lies_beside_a_sparse_checkout_is_taken_too(desk: Desk) -> None:
    git(desk.root, "sparse-checkout", "set", "--cone", "other")
    (desk.root / "folder").mkdir(exist_ok=True)
    (desk.root / "folder" / "new.txt").write_text("new")

    made = await desk.repo.commit_work_tree(desk.base, "uncommitted", WHO)

    changes = {(change.path, change.status) for change in await desk.repo.changes(desk.base, made)}
    assert changes == {(b"folder/new.txt", "A")}


async def test_a_change_that_configures_its_own_checkout_is_named(desk: Desk) -> None:
    git(desk.root, "switch", "-qc", "feature")
    (desk.root / ".codex").mkdir()
    _commit(desk, ".codex/config.toml", "model = 'x'\n")
    assert (await _found(desk, base="main")).configures == (".codex/config.toml",)
    git(desk.root, "switch", "-q", "main")
    assert (await _found(desk, range="main...feature")).configures == ()
    (desk.root / ".codex").mkdir()
    (desk.root / ".codex" / "codexteam.config.toml").write_text("")
    assert (await _found(desk, uncommitted=True)).configures == (".codex/codexteam.config.toml",)


async def test_a_bare_repository_has_nothing_that_is_not_committed(desk: Desk, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", os.fspath(desk.root), os.fspath(bare))
    other = await open_desk(bare, tmp_path / "beside")
    with pytest.raises(RepoError, match="a bare repository has no uncommitted changes"):
        await other.repo.commit_work_tree(other.base, "uncommitted", WHO)
    await other.repo.close()
