"""One tree of several repositories: its base commit, what may come in, and its result put into all of them or none."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codexteam.adapters.git.composite import Member, composite_base
from codexteam.adapters.git.location import git_runner, locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.adapters.git.untracked import CopyRules
from codexteam.core.ids import CommitId
from codexteam.errors import LandingError, RepoError
from codexteam.ports.repo import Accepted, IntakePolicy, IntakeRefused
from tests.support_git import RUN, WHO, git, make_user
from tests.support_packs import Edit, snapshot_of

BRANCH = f"codexteam/{RUN}"


@dataclass
class Together:
    """Two repositories, `api` and `web`, with a run in both."""

    repo: GitRepo
    members: tuple[Member, ...]
    base: CommitId
    state: Path

    def root(self, name: str) -> Path:
        return next(each.places.root for each in self.members if each.name == name)

    def tip(self, name: str) -> str:
        return git(self.root(name), "rev-parse", "--verify", "--quiet", BRANCH, check=False).decode().strip()

    def log(self, name: str) -> list[str]:
        return git(self.root(name), "log", "--reverse", "--format=%s", f"main..{BRANCH}").decode().split("\n")[:-1]

    async def work(self, edits: Mapping[bytes, Edit], on: CommitId, *folders: str) -> Accepted | IntakeRefused:
        snapshot = snapshot_of(self.state / "packs", self.state / "hub.git", on, edits)
        return await self.repo.intake(snapshot, IntakePolicy((), (), folders=folders or ("api", "web")))

    async def commit(self, edits: Mapping[bytes, Edit], on: CommitId, title: str) -> CommitId:
        taken = await self.work(edits, on)
        assert isinstance(taken, Accepted), taken
        return await self.repo.commit(taken.tree, (on,), f"{title}\n", WHO)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Together]:
    members = []
    for name in ("web", "api"):
        head = make_user(folder / name, {"a.txt": name.encode(), "lib/b.txt": b"b"})
        members.append(Member(name, locate(folder / name, os.environ), head))
    base = composite_base(git_runner(os.environ, folder), members).commit
    repo = GitRepo(members[1].places, folder / "state", os.environ, members=members)
    await repo.fetch_base(RUN, base)
    try:
        yield Together(repo, tuple(members), base, folder / "state")
    finally:
        await repo.close()


async def test_ignored_files_come_from_the_repositories_that_are_trusted(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        for name in ("api", "web"):
            git(both.root(name), "config", "core.excludesFile", str(tmp_path / "ignored"))
            (both.root(name) / ".env").write_text("A=1\n")
            (both.root(name) / ".worktreeinclude").write_text(".env\n")
        (tmp_path / "ignored").write_text(".env\n")
        rules = CopyRules(trusted=True, untrusted=frozenset({both.root("web")}))
        members = [replace(each, places=locate(each.places.root, os.environ)) for each in both.members]
        repo = GitRepo(members[1].places, both.state, os.environ, members=members, copied=rules)
        try:
            assert await repo.copied_files() == [b"api/.env"]
        finally:
            await repo.close()


async def test_the_base_is_a_folder_for_each_on_the_commits_of_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        files = sorted(path for path, _, _ in await both.repo.list_files(both.base))
        shown = git(both.state / "hub.git", "cat-file", "commit", both.base).decode()
        again = composite_base(git_runner(os.environ, tmp_path), both.members[::-1])

    assert files == [b"api/a.txt", b"api/lib/b.txt", b"web/a.txt", b"web/lib/b.txt"]
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("parent")] == [
        both.members[1].head,
        both.members[0].head,
    ]
    assert again.commit == both.base


async def test_each_repository_gets_the_commits_that_changed_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        one = await both.commit({b"api/a.txt": b"1"}, both.base, "One")
        two = await both.commit({b"web/a.txt": b"2", b"web/lib/b.txt": None}, one, "Two")
        three = await both.commit({b"api/a.txt": b"3", b"web/c.txt": b"3"}, two, "Three")

        assert await both.repo.land(RUN, three) == BRANCH
        assert await both.repo.land(RUN, three) == BRANCH
        assert (both.log("api"), both.log("web")) == (["One", "Three"], ["Two", "Three"])
        assert git(both.root("web"), "ls-tree", "-r", "--name-only", BRANCH) == b"a.txt\nc.txt\n"
        assert git(both.root("api"), "status", "--porcelain") == b""
        assert git(both.root("api"), "fsck", "--strict") == b""
        assert await both.repo.clean(RUN)
        assert (both.tip("api"), both.tip("web")) != ("", "")  # no other branch has their commits


async def test_a_repository_whose_files_are_as_before_gets_no_branch(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        one = await both.commit({b"api/a.txt": b"1", b"web/a.txt": b"1"}, both.base, "One")
        back = await both.commit({b"web/a.txt": b"web"}, one, "Back")
        await both.repo.land(RUN, back)

        assert both.tip("api")
        assert not both.tip("web")


async def test_where_one_cannot_take_its_part_none_gets_any(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        one = await both.commit({b"api/a.txt": b"1", b"web/a.txt": b"1"}, both.base, "One")
        lock = both.root("web") / ".git" / "refs" / "heads" / "codexteam" / f"{RUN}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        with pytest.raises(LandingError, match="web: .*no repository was changed"):
            await both.repo.land(RUN, one)
        assert not both.tip("api")

        lock.unlink()
        await both.repo.land(RUN, one)
        assert both.tip("api")
        assert both.tip("web")


async def test_a_branch_of_that_name_in_one_keeps_the_others_as_they_are(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        one = await both.commit({b"api/a.txt": b"1", b"web/a.txt": b"1"}, both.base, "One")
        git(both.root("web"), "commit", "--allow-empty", "-qm", "mine")
        git(both.root("web"), "branch", BRANCH)
        with pytest.raises(LandingError, match="web: .*moved by something else"):
            await both.repo.land(RUN, one)
        assert not both.tip("api")


async def test_work_outside_of_its_repository_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        for path in (b"web/a.txt", b"notes.md", b"API/x.txt", b"api.txt"):
            taken = await both.work({path: b"mine"}, both.base, "api")
            assert isinstance(taken, IntakeRefused), path
            assert {one.rule for one in taken.violations} == {"scope"}
        assert isinstance(await both.work({b"api/new.txt": b"mine"}, both.base, "api"), Accepted)
        assert isinstance(await both.work({b"api": b"a file"}, both.base, "api"), IntakeRefused)


async def test_a_link_into_another_repository_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        inside = await both.work({b"api/link": ("120000", b"lib/b.txt")}, both.base)
        outside = await both.work({b"api/link": ("120000", b"../web/a.txt")}, both.base)

    assert isinstance(inside, Accepted)
    assert isinstance(outside, IntakeRefused)
    assert outside.violations[0].rule == "link"


async def test_apply_merges_into_all_or_says_what_is_in_the_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as both:
        one = await both.commit({b"api/a.txt": b"1", b"web/a.txt": b"1"}, both.base, "One")
        await both.repo.land(RUN, one)
        (both.root("web") / "a.txt").write_text("theirs")
        git(both.root("web"), "commit", "-qam", "theirs")
        head = git(both.root("api"), "rev-parse", "HEAD")
        with pytest.raises(LandingError, match="web: .*cannot be merged"):
            await both.repo.apply_together(RUN, one, "Merge")
        assert git(both.root("api"), "rev-parse", "HEAD") == head

        git(both.root("web"), "reset", "-q", "--hard", "HEAD~1")
        done = dict(await both.repo.apply_together(RUN, one, "Merge"))
        assert {name: result.fast_forward for name, result in done.items()} == {"api": True, "web": True}
        assert (both.root("web") / "a.txt").read_text() == "1"


async def test_repositories_of_two_object_formats_are_refused(tmp_path: Path) -> None:
    head = make_user(tmp_path / "old", {"a": b"a"})
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    git(tmp_path / "new", "commit", "-q", "--allow-empty", "-m", "first")
    new = CommitId(git(tmp_path / "new", "rev-parse", "HEAD").decode().strip())
    members = [
        Member("old", locate(tmp_path / "old", os.environ), head),
        Member("new", locate(tmp_path / "new", os.environ), new),
    ]
    with pytest.raises(RepoError, match="different object formats"):
        composite_base(git_runner(os.environ, tmp_path), members)
