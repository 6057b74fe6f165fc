"""The states a user's repository can be in when a run starts: it continues and says what it does, or refuses in one line."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codexteam.adapters.git.location import Places, locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.core.ids import CommitId, RunId
from codexteam.errors import RepoError
from codexteam.ports.repo import RepositoryFacts
from tests.support_git import RUN, git, make_user, open_desk
from tests.support_packs import snapshot_of


@pytest.fixture
def user(tmp_path: Path) -> Path:
    root = tmp_path / "user"
    make_user(root, {"a.txt": b"one\n", "folder/b.txt": b"two\n"})
    return root


async def _look(root: Path, environment: dict[str, str] | None = None) -> RepositoryFacts:
    given = dict(os.environ) if environment is None else environment
    places = locate(root, given)
    repo = GitRepo(places, root / "unused-state", given)
    try:
        return await repo.inspect()
    finally:
        await repo.close()


def _commit(root: Path, message: str = "more") -> None:
    git(root, "commit", "--allow-empty", "-qm", message)


async def test_a_clean_repository_has_nothing_to_say(user: Path) -> None:
    facts = await _look(user / "folder")
    assert facts.root == user
    assert (facts.branch, facts.dirty, facts.notices) == ("main", False, ())
    assert not (user / "unused-state").exists(), "looking writes nothing"


def _modify(root: Path) -> None:
    (root / "a.txt").write_text("changed\n")


def _modify_same_size(root: Path) -> None:
    (root / "a.txt").write_text("ONE\n")


def _stage(root: Path) -> None:
    (root / "new.txt").write_text("x\n")
    git(root, "add", "new.txt")


def _remove(root: Path) -> None:
    (root / "a.txt").unlink()


def _unstage_removed(root: Path) -> None:
    git(root, "rm", "-q", "--cached", "a.txt")


def _mode(root: Path) -> None:
    (root / "a.txt").chmod(0o755)


def _untracked(root: Path) -> None:
    (root / "untracked.txt").write_text("x\n")


def _intent(root: Path) -> None:
    (root / "later.txt").write_text("x\n")
    git(root, "add", "-N", "later.txt")


def _becomes_link(root: Path) -> None:
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to("folder/b.txt")


@pytest.mark.parametrize(
    "change", [_modify, _modify_same_size, _stage, _remove, _unstage_removed, _mode, _untracked, _intent, _becomes_link]
)
async def test_uncommitted_work_is_said_and_left_out(user: Path, change: Callable[[Path], None]) -> None:
    head = git(user, "rev-parse", "HEAD").decode().strip()
    change(user)
    facts = await _look(user)
    assert facts.dirty
    assert facts.head == head
    assert any("Uncommitted work" in notice for notice in facts.notices)


async def test_what_is_no_change_is_not_taken_for_one(user: Path) -> None:
    os.utime(user / "a.txt", (1_000_000_000, 1_000_000_000))
    (user / "plan.md").write_text("# Plan\n")
    (user / ".git" / "info").mkdir(exist_ok=True)
    (user / ".git" / "info" / "exclude").write_text("*.log\n")
    (user / "x.log").write_text("x")
    assert not (await _look(user)).dirty


async def test_the_users_own_list_of_ignored_files_counts(user: Path, tmp_path: Path) -> None:
    (tmp_path / "xdg" / "git").mkdir(parents=True)
    (tmp_path / "xdg" / "git" / "ignore").write_text("*.swp\n")
    (user / "a.swp").write_text("x")
    assert (await _look(user)).dirty
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert not (await _look(user, environment)).dirty


async def test_a_detached_head_starts_from_its_commit(user: Path) -> None:
    git(user, "checkout", "-q", "--detach")
    facts = await _look(user)
    assert facts.branch is None
    assert any("detached" in notice for notice in facts.notices)


async def test_no_repository(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepoError, match="not a git repository") as caught:
        await _look(tmp_path / "empty")
    assert caught.value.exit_code == 6
    assert caught.value.hint
    with pytest.raises(RepoError, match="not a folder"):
        await _look(tmp_path / "absent")


async def test_no_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk", "fresh")
    with pytest.raises(RepoError, match="no commits yet on trunk"):
        await _look(tmp_path / "fresh")


def _conflict(root: Path) -> None:
    git(root, "checkout", "-qb", "side")
    (root / "a.txt").write_text("side\n")
    git(root, "commit", "-qam", "side")
    git(root, "checkout", "-q", "main")
    (root / "a.txt").write_text("main\n")
    git(root, "commit", "-qam", "main")


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["merge", "side"], "a merge is under way"),
        (["rebase", "side"], "a rebase is under way"),
        (["cherry-pick", "side"], "a cherry-pick is under way"),
        (["revert", "--no-edit", "HEAD~1"], "a revert is under way"),
    ],
)
async def test_something_under_way_is_refused(user: Path, argv: list[str], what: str) -> None:
    _conflict(user)
    if argv[0] == "revert":
        (user / "a.txt").write_text("again\n")
        git(user, "commit", "-qam", "again")
    git(user, *argv, check=False)
    with pytest.raises(RepoError, match=what) as caught:
        await _look(user)
    assert "--abort" in caught.value.hint


async def test_a_bisect_goes_on_from_what_is_checked_out(user: Path) -> None:
    for _ in range(4):
        _commit(user)
    git(user, "bisect", "start")
    git(user, "bisect", "bad", "HEAD")
    git(user, "bisect", "good", "HEAD~4")
    assert any("bisect" in notice for notice in (await _look(user)).notices)


async def test_a_bare_repository(user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(user), "bare.git")
    facts = await _look(tmp_path / "bare.git")
    assert facts.root == facts.common_dir == tmp_path / "bare.git"
    assert any("bare" in notice for notice in facts.notices)


async def test_a_linked_worktree_shares_the_common_directory(user: Path, tmp_path: Path) -> None:
    git(user, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    facts = await _look(tmp_path / "linked")
    assert facts.common_dir == user / ".git"
    assert (facts.root, facts.branch) == (tmp_path / "linked", "other")


async def _whole_way(root: Path, folder: Path) -> list[str]:
    """Take a run from the base to a landed branch; give the notices."""
    desk = await open_desk(root, folder)
    try:
        facts = await desk.repo.inspect()
        source = await desk.repo.base_source(RUN, desk.base)
        work = folder / "work"
        work.mkdir()
        shutil.unpack_archive(source.root_archive, work, "tar", filter="data")
        git(work, "reset", "-q", "--hard")
        assert git(work, "status", "--porcelain") == b""
        git(work, "fsck", "--strict")
        if facts.head and len(facts.head) == 40:
            new = await desk.taken({b"a.txt": b"changed\n"})
        else:
            new = desk.base
        await desk.repo.update_branch(RUN, new, None)
        assert await desk.repo.land(RUN, new) == f"codexteam/{RUN}"
        assert git(root, "rev-parse", f"codexteam/{RUN}").decode().strip() == new
        git(root, "fsck", "--connectivity-only")
    finally:
        await desk.repo.close()
    return list(facts.notices)


async def test_a_shallow_clone_works(user: Path, tmp_path: Path) -> None:
    for _ in range(5):
        _commit(user)
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{user}", "shallow")
    assert any("shallow" in notice for notice in await _whole_way(tmp_path / "shallow", tmp_path))


async def test_a_partial_clone_with_its_files_works(user: Path, tmp_path: Path) -> None:
    for n in range(5):
        (user / "a.txt").write_text(f"{n}\n")
        git(user, "commit", "-qam", str(n))
    git(user, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{user}", "partial")
    assert any("partial" in notice for notice in await _whole_way(tmp_path / "partial", tmp_path))


async def test_a_partial_clone_without_its_files_is_one_clear_error(user: Path, tmp_path: Path) -> None:
    git(user, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{user}", "partial")
    with pytest.raises(RepoError, match="clone is partial") as caught:
        await _whole_way(tmp_path / "partial", tmp_path)
    assert "git fetch" in caught.value.hint


async def test_a_sparse_checkout_says_what_is_in_the_run_all_the_same(user: Path, tmp_path: Path) -> None:
    git(user, "sparse-checkout", "set", "--cone", "nothing")
    facts = await _look(user)
    assert not facts.dirty
    assert any("Sparse" in notice for notice in facts.notices)


async def test_a_sparse_index_works(user: Path, tmp_path: Path) -> None:
    git(user, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
    assert not (await _look(user)).dirty


async def test_a_sha256_repository_works(tmp_path: Path) -> None:
    root = tmp_path / "user"
    root.mkdir()
    git(root, "init", "-q", "-b", "main", "--object-format=sha256")
    make_user(root, {"a.txt": b"one\n"})
    facts = await _look(root)
    assert len(facts.head) == 64
    assert not facts.dirty
    await _whole_way(root, tmp_path)


async def test_submodules_are_said_and_taken_as_checked_out(user: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    make_user(inner, {"s/x.txt": b"deep\n", "y.txt": b"y\n"})
    git(user, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(user, "commit", "-qm", "submodule")
    facts = await _look(user)
    assert any("submodule" in notice for notice in facts.notices)
    assert not facts.dirty
    desk = await open_desk(user, tmp_path)
    source = await desk.repo.base_source(RUN, desk.base)
    assert source.extra_files is not None
    shutil.unpack_archive(source.extra_files, tmp_path / "extra", "tar", filter="data")
    assert (tmp_path / "extra/sub/s/x.txt").read_bytes() == b"deep\n"
    await desk.repo.close()


async def test_a_repository_of_another_owner_is_refused_unless_trusted(user: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (user, user / ".git"):
        os.chown(path, 4321, 4321)
    with pytest.raises(RepoError, match="belongs to another user") as caught:
        await _look(user)
    assert "safe.directory" in caught.value.hint
    config = tmp_path / "personal"
    config.write_text(f"[safe]\n\tdirectory = {user}\n")
    assert (await _look(user, {**os.environ, "GIT_CONFIG_GLOBAL": str(config)})).branch == "main"


async def test_an_old_git_is_refused(user: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.37.9\n")
    old.chmod(0o755)
    with pytest.raises(RepoError, match=r"too old: found 'git version 2\.37\.9', needed is 2\.38"):
        await _look(user, {**os.environ, "PATH": str(old.parent)})
    with pytest.raises(RepoError, match="git was not found"):
        await _look(user, {**os.environ, "PATH": str(tmp_path)})


@pytest.mark.parametrize(
    "damage", ["HEAD", "config", "index", "objects"],
)  # fmt: skip
async def test_a_corrupt_repository_is_one_error(user: Path, damage: str) -> None:
    if damage == "objects":
        shutil.rmtree(user / ".git/objects")
        (user / ".git/objects").mkdir()
    else:
        (user / ".git" / damage).write_bytes(b"\xff\x00garbage\n")
    with pytest.raises(RepoError) as caught:
        await _look(user)
    assert len(str(caught.value).splitlines()) == 1


async def test_names_that_are_not_text_go_all_the_way(tmp_path: Path) -> None:
    root = tmp_path / "user"
    root.mkdir()
    odd = [b"new\nline", b"-dash", b"not-\xff-utf8", b'quo"te', b"back\\slash", b"tab\t", "ünï".encode()]
    for name in odd:
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(b"x\n")  # noqa: PTH118
    make_user(root, {"a.txt": b"one\n"})
    facts = await _look(root)
    assert not facts.dirty
    desk = await open_desk(root, tmp_path)
    new = await desk.taken(dict.fromkeys(odd, b"changed\n"))
    assert {change.path for change in await desk.repo.changes(desk.base, new)} == set(odd)
    assert await desk.repo.read_blob(new, b"not-\xff-utf8", limit_bytes=99) == b"changed\n"
    text, _ = await desk.repo.diff_text(desk.base, new, limit_bytes=1 << 20)
    assert text.count("+changed") == len(odd)
    assert text.isprintable() or all(line.isprintable() for line in text.splitlines())
    tree = await desk.repo.overlay(new, desk.base, odd)
    assert tree == await desk.repo.tree_of(desk.base)
    await desk.repo.land(RUN, new)
    await desk.repo.close()


async def test_three_thousand_refs_and_a_name_like_ours(user: Path, tmp_path: Path) -> None:
    head = git(user, "rev-parse", "HEAD").decode().strip()
    git(user, "update-ref", "--stdin", data="".join(f"create refs/heads/b{n} {head}\n" for n in range(3000)).encode())
    await _whole_way(user, tmp_path)


async def test_a_grown_repository_brings_only_what_is_new(user: Path, tmp_path: Path) -> None:
    desk = await open_desk(user, tmp_path)
    (user / "noise").write_bytes(os.urandom(300_000))
    git(user, "add", "-A")
    _commit(user, "noise")
    head = (await desk.repo.inspect()).head
    await desk.repo.fetch_base(RunId("second"), head)
    before = {path.name for path in (desk.hub / "objects/pack").glob("*.pack")}
    _commit(user, "empty")
    head = (await desk.repo.inspect()).head
    await desk.repo.fetch_base(RunId("third"), head)
    fresh = [path for path in (desk.hub / "objects/pack").glob("*.pack") if path.name not in before]
    assert sum(path.stat().st_size for path in fresh) < 5_000
    git(desk.hub, "--git-dir=.", "fsck", "--strict", "--connectivity-only")
    await desk.repo.close()


async def test_histories_of_any_shape_are_cut_where_they_should_be(user: Path, tmp_path: Path) -> None:
    """Merges, branches that fork before the cut, runs on both: the hub stays connected."""
    for n in range(6):
        _commit(user, f"main {n}")
    git(user, "checkout", "-qb", "side", "HEAD~4")
    for n in range(3):
        (user / "side.txt").write_text(f"{n}\n")
        git(user, "add", "-A")
        _commit(user, f"side {n}")
    side = git(user, "rev-parse", "HEAD").decode().strip()
    git(user, "checkout", "-q", "main")
    git(user, "merge", "-q", "--no-edit", "side")
    places: Places = locate(user, os.environ)
    repo = GitRepo(places, tmp_path / "state", os.environ, history_depth=3)
    merged = (await repo.inspect()).head
    for name, commit in (("one", merged), ("two", side), ("three", git(user, "rev-parse", "HEAD~5").decode().strip())):
        await repo.fetch_base(RunId(name), CommitId(commit))
        git(tmp_path / "state/hub.git", "--git-dir=.", "fsck", "--strict", "--connectivity-only")
        source = await repo.base_source(RunId(name), CommitId(commit))
        work = tmp_path / f"work-{name}"
        work.mkdir()
        shutil.unpack_archive(source.root_archive, work, "tar", filter="data")
        git(work, "reset", "-q", "--hard")
        git(work, "fsck", "--strict")
        assert git(work, "log", "--oneline", "--first-parent").count(b"\n") <= 3
        snapshot = snapshot_of(tmp_path / "packs", tmp_path / "state/hub.git", CommitId(commit), {b"x": b"x"})
        assert snapshot.pack_bytes
    await repo.close()
