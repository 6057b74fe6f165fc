"""What every repository does: the real one and the fake."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from codexteam.core.ids import CommitId, RunId
from codexteam.core.paths import GUARDED_PATHS
from codexteam.errors import RepoError
from codexteam.ports.repo import Accepted, Conflict, Identity, IntakePolicy, IntakeRefused, Merged, Repo
from codexteam.ports.sandbox import Snapshot
from tests.support_packs import Edit, snapshot_of

RUN = RunId("20260102-0304-abcd")
WHO = Identity("implementer", "implementer@codexteam.invalid", 1_700_000_000)
FILES: dict[str, bytes | str] = {
    "a.txt": b"one\ntwo\nthree\n",
    "folder/b.txt": b"four\n",
    "folder/deep/c.txt": b"five\n",
    "link": "a.txt",
    ".gitignore": b"*.log\n",
}
FREE = IntakePolicy(allowed=(), guarded=GUARDED_PATHS)


Made: TypeAlias = tuple[
    Repo, Callable[[CommitId, Mapping[bytes, Edit]], Awaitable[Snapshot]], Callable[[str, bytes], object]
]


@dataclass
class Bench:
    """A repository with a base, and a way to come by snapshots."""

    repo: Repo
    base: CommitId
    make: Callable[[CommitId, Mapping[bytes, Edit]], Awaitable[Snapshot]]
    write: Callable[[str, bytes], object]
    """Changes a file of the user's."""

    async def taken(self, base: CommitId, edits: Mapping[bytes, Edit]) -> CommitId:
        """Take edits in, and commit them on their base."""
        intake = await self.repo.intake(await self.make(base, edits), FREE)
        assert isinstance(intake, Accepted), intake
        return await self.repo.commit(intake.tree, [base], "work", WHO)


async def _real(folder: Path) -> Made:
    from codexteam.adapters.git.location import locate
    from codexteam.adapters.git.repo import GitRepo

    root = folder / "user"
    root.mkdir()
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(data) if isinstance(data, str) else path.write_bytes(data)
    for argv in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *argv], cwd=root, check=True)
    state = folder / "state"
    repo = GitRepo(locate(root, os.environ), state, os.environ)

    async def make(base: CommitId, edits: Mapping[bytes, Edit]) -> Snapshot:
        return snapshot_of(folder / "packs", state / "hub.git", base, edits)

    return repo, make, lambda name, data: (root / name).write_bytes(data)


async def _fake(folder: Path) -> Made:
    from tests.fakes.fake_repo import FakeRepo

    repo = FakeRepo(folder / "fake", FILES)

    async def make(base: CommitId, edits: Mapping[bytes, Edit]) -> Snapshot:
        read = json.loads((await repo.base_source(RUN, base)).root_archive.read_text())
        files, links = read["files"], set(read["links"])
        for path, edit in edits.items():
            name = path.decode()
            if edit is None:
                del files[name]
            elif isinstance(edit, str):
                files[name] = edit
                links.add(name)
            else:
                files[name] = (edit if isinstance(edit, bytes) else edit[1]).hex()
        pack = folder / f"{len(list(folder.iterdir()))}.json"
        pack.write_text(json.dumps({"files": files, "links": sorted(links)}))
        return Snapshot("0" * 40, base, pack, pack.stat().st_size)

    return repo, make, repo.uncommitted.__setitem__


@pytest.fixture(params=[_real, _fake], ids=["git", "fake"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    repo, make, write = await request.param(tmp_path)
    facts = await repo.inspect()
    await repo.fetch_base(RUN, facts.head)
    yield Bench(repo, facts.head, make, write)
    await repo.close()


async def test_inspect_names_head_and_branch(bench: Bench) -> None:
    facts = await bench.repo.inspect()
    assert (facts.head, facts.branch, facts.dirty) == (bench.base, "main", False)


async def test_a_base_may_be_fetched_again(bench: Bench) -> None:
    await bench.repo.fetch_base(RUN, bench.base)
    assert len(await bench.repo.list_files(bench.base)) == len(FILES)


async def test_a_base_that_is_not_there_is_an_error(bench: Bench) -> None:
    with pytest.raises(RepoError):
        await bench.repo.fetch_base(RUN, CommitId("1" * 40))


async def test_uncommitted_changes_become_a_commit_on_the_base(bench: Bench) -> None:
    bench.write("a.txt", b"one\n")
    bench.write("folder/new.txt", b"new\n")

    made = await bench.repo.commit_work_tree(bench.base, "uncommitted", WHO)

    changes = {(change.path, change.status) for change in await bench.repo.changes(bench.base, made)}
    assert changes == {(b"a.txt", "M"), (b"folder/new.txt", "A")}
    assert await bench.repo.read_blob(made, b"a.txt", limit_bytes=100) == b"one\n"
    assert await bench.repo.commit_work_tree(bench.base, "uncommitted", WHO) == made


async def test_blobs_are_read_by_id_in_order_and_not_beyond_the_limit(bench: Bench) -> None:
    blobs = {path: blob for path, _, blob in await bench.repo.list_files(bench.base)}

    wanted = [blobs[b"folder/b.txt"], "0" * 40, blobs[b"a.txt"]]
    assert await bench.repo.read_blobs(wanted, limit_bytes=100) == [b"four\n", None, b"one\ntwo\nthree\n"]
    assert await bench.repo.read_blobs(wanted, limit_bytes=5) == [b"four\n", None, None]


async def test_base_sources_are_made_once_and_share_their_root(bench: Bench) -> None:
    first = await bench.repo.base_source(RUN, bench.base)
    assert first.root_commit == first.commit == bench.base
    assert first.delta_pack is None
    assert first.root_archive.is_file()
    assert await bench.repo.base_source(RUN, bench.base) == first
    later = await bench.taken(bench.base, {b"new.txt": b"new\n"})
    second = await bench.repo.base_source(RUN, later)
    assert (second.root_commit, second.commit) == (bench.base, later)
    assert second.delta_pack is not None
    assert second.delta_pack.is_file()


async def test_a_run_without_base_has_no_base_source(bench: Bench) -> None:
    with pytest.raises(RepoError):
        await bench.repo.base_source(RunId("another"), bench.base)


async def test_work_comes_in_with_its_changes(bench: Bench) -> None:
    edits: dict[bytes, Edit] = {b"a.txt": b"1\n", b"new/x.txt": b"x\n", b"folder/b.txt": None, b"way": "folder/deep"}
    intake = await bench.repo.intake(await bench.make(bench.base, edits), FREE)
    assert isinstance(intake, Accepted)
    assert sorted((change.path, change.status) for change in intake.changes) == [
        (b"a.txt", "M"),
        (b"folder/b.txt", "D"),
        (b"new/x.txt", "A"),
        (b"way", "A"),
    ]
    commit = await bench.repo.commit(intake.tree, [bench.base], "work", WHO)
    assert await bench.repo.tree_of(commit) == intake.tree
    assert await bench.repo.read_blob(commit, b"new/x.txt", limit_bytes=10) == b"x\n"
    assert await bench.repo.changes(bench.base, commit) == intake.changes


@pytest.mark.parametrize(
    ("rule", "edits", "allowed"),
    [
        ("scope", {b"folder/b.txt": b"x\n"}, ("a.txt",)),
        ("scope", {b"folder/b.txt": None}, ("a.txt",)),
        ("guarded", {b".github/workflows/ci.yml": b"on: push\n"}, ()),
        ("guarded", {b".github/workflows/ci.yml": b"on: push\n"}, (".github/**",)),
        ("guarded", {b".github/workflows/ci.yml": b"on: push\n"}, (".github/workflows/ci.yml",)),
        ("guarded", {b"sub/.GITATTRIBUTES": b"* -diff\n"}, ()),
        ("name", {b"a/nul": b""}, ()),
        ("name", {"a\u202eb".encode(): b""}, ()),
        ("link", {b"bad": "/etc/passwd"}, ()),
        ("link", {b"folder/bad": "../../x"}, ()),
        ("secret", {b"conf": b"a\nkey=canary-5f3a91\n"}, ()),
        ("size", {b"large": b"x" * 5000}, ()),
    ],
)
async def test_work_that_breaks_a_rule_is_refused_with_the_reason(
    bench: Bench, rule: str, edits: dict[bytes, Edit], allowed: tuple[str, ...]
) -> None:
    policy = IntakePolicy(allowed, GUARDED_PATHS, max_blob_bytes=4096, secret_values=("canary-5f3a91",))
    intake = await bench.repo.intake(await bench.make(bench.base, edits), policy)
    assert isinstance(intake, IntakeRefused)
    assert {violation.rule for violation in intake.violations} == {rule}
    assert all("canary-5f3a91" not in violation.message for violation in intake.violations)
    if rule == "secret":
        assert [(violation.path, violation.line) for violation in intake.violations] == [("conf", 2)]


@pytest.mark.parametrize("opened", [".github/workflows/ci.yml", ".github/workflows/*.yml", ".github/workflows", "**"])
async def test_a_guarded_path_that_a_person_opened_may_change(bench: Bench, opened: str) -> None:
    policy = IntakePolicy((".github/workflows/ci.yml",), GUARDED_PATHS, opened=(opened,))
    snapshot = await bench.make(bench.base, {b".github/workflows/ci.yml": b"on: push\n"})
    assert isinstance(await bench.repo.intake(snapshot, policy), Accepted)


async def test_a_lenient_scope_lets_through_and_says_so(bench: Bench) -> None:
    policy = IntakePolicy(("a.txt",), GUARDED_PATHS)
    intake = await bench.repo.intake(await bench.make(bench.base, {b"other": b"x\n"}), policy, enforce_scope=False)
    assert isinstance(intake, Accepted)
    assert [(warning.rule, warning.path) for warning in intake.warnings] == [("scope", "other")]


async def test_what_is_no_pack_is_refused(bench: Bench, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"\0" * 100)
    intake = await bench.repo.intake(Snapshot("2" * 40, bench.base, junk, 100), FREE)
    assert isinstance(intake, IntakeRefused)
    assert intake.violations[0].rule == "pack"


async def test_the_same_commit_has_the_same_id(bench: Bench) -> None:
    tree = await bench.repo.tree_of(bench.base)
    first = await bench.repo.commit(tree, [bench.base], "same", WHO)
    assert first == await bench.repo.commit(tree, [bench.base], "same", WHO)
    assert first != await bench.repo.commit(tree, [bench.base], "other", WHO)


async def test_work_on_an_older_base_merges_onto_the_tip(bench: Bench) -> None:
    one = await bench.taken(bench.base, {b"a.txt": b"changed\n"})
    two = await bench.taken(bench.base, {b"folder/b.txt": b"changed\n"})
    first = await bench.repo.merge(bench.base, one, "merge one", WHO)
    assert isinstance(first, Merged)
    assert await bench.repo.forecast(first.commit, two) == ()
    second = await bench.repo.merge(first.commit, two, "merge two", WHO)
    assert isinstance(second, Merged)
    assert second == await bench.repo.merge(first.commit, two, "merge two", WHO)
    changed = [change.path for change in await bench.repo.changes(bench.base, second.commit)]
    assert sorted(changed) == [b"a.txt", b"folder/b.txt"]
    # work on top of the merge has the merge as its base
    three = await bench.taken(second.commit, {b"a.txt": b"again\n"})
    third = await bench.repo.merge(second.commit, three, "merge three", WHO)
    assert isinstance(third, Merged)
    assert await bench.repo.read_blob(third.commit, b"a.txt", limit_bytes=100) == b"again\n"


async def test_work_that_clashes_is_a_conflict_with_its_paths(bench: Bench) -> None:
    one = await bench.taken(bench.base, {b"a.txt": b"mine\n"})
    two = await bench.taken(bench.base, {b"a.txt": b"yours\n", b"folder/b.txt": b"fine\n"})
    first = await bench.repo.merge(bench.base, one, "one", WHO)
    assert isinstance(first, Merged)
    assert await bench.repo.forecast(first.commit, two) == ("a.txt",)
    second = await bench.repo.merge(first.commit, two, "two", WHO)
    assert isinstance(second, Conflict)
    assert second.paths == ("a.txt",)
    assert "a.txt" in second.messages


async def test_a_commit_can_be_put_into_a_workspace_again_as_work_on_its_base(bench: Bench, tmp_path: Path) -> None:
    first = await bench.taken(bench.base, {b"folder/b.txt": b"changed\n"})
    tip = await bench.taken(bench.base, {b"a.txt": b"one\n"})
    merged = await bench.repo.merge(tip, first, "again", WHO)
    assert isinstance(merged, Merged)

    snapshot = await bench.repo.as_snapshot(tip, merged.commit, tmp_path / "again.pack")

    intake = await bench.repo.intake(snapshot, FREE)
    assert isinstance(intake, Accepted), intake
    assert intake.tree == merged.tree
    assert [change.path for change in intake.changes] == [b"folder/b.txt"]
    assert (snapshot.base, snapshot.pack_bytes) == (tip, snapshot.pack.stat().st_size)


async def test_a_diff_lists_every_file_with_its_size_and_says_what_is_left_out(bench: Bench) -> None:
    lines = b"".join(b"line %d\n" % n for n in range(200))
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
    new = await bench.taken(bench.base, {b"a.txt": b"one\ntwo\nTHREE\n", b"esc.txt": lines, b"b.png": image})
    text, cut = await bench.repo.diff_text(bench.base, new, limit_bytes=1 << 20)
    assert not cut
    assert "-three\n+THREE\n" in text
    assert "+line 199\n" in text
    short, cut = await bench.repo.diff_text(bench.base, new, limit_bytes=1200)
    assert cut
    assert len(short.encode()) <= 1200
    assert "-three\n+THREE\n" in short
    assert "of this file's diff are shown]" in short
    for listed in (text, short):
        assert listed.startswith("3 files changed:\n")
        assert f"b.png, Binary file ({len(image):,} bytes, PNG image)" in listed
        assert f"{len(lines):,} bytes" in listed
        assert "IHDR" not in listed


async def test_a_file_is_read_only_up_to_the_limit(bench: Bench) -> None:
    assert await bench.repo.read_blob(bench.base, b"folder/deep/c.txt", limit_bytes=5) == b"five\n"
    with pytest.raises(ValueError, match="at most 4"):
        await bench.repo.read_blob(bench.base, b"folder/deep/c.txt", limit_bytes=4)
    for missing in (b"nope", b"folder", b"folder/deep", b"a.txt/x", b"", b"folder/"):
        assert await bench.repo.read_blob(bench.base, missing, limit_bytes=100) is None


async def test_files_are_listed_with_mode_and_id(bench: Bench) -> None:
    listed = {path: mode for path, mode, _ in await bench.repo.list_files(bench.base)}
    assert listed == {name.encode(): "120000" if name == "link" else "100644" for name in FILES}


async def test_an_overlay_takes_paths_from_another_commit(bench: Bench) -> None:
    new = await bench.taken(
        bench.base,
        {b"a.txt": b"weak\n", b"folder/b.txt": None, b"folder/extra.txt": b"x\n", b"kept.txt": b"kept\n"},
    )
    tree = await bench.repo.overlay(new, bench.base, [b"a.txt", b"folder", b"absent"])
    commit = await bench.repo.commit(tree, [new], "overlay", WHO)
    assert [change.path for change in await bench.repo.changes(bench.base, commit)] == [b"kept.txt"]
    assert await bench.repo.overlay(new, bench.base, []) == await bench.repo.tree_of(new)


async def test_the_branch_moves_only_from_where_it_was_expected(bench: Bench) -> None:
    repo = bench.repo
    one = await bench.taken(bench.base, {b"a.txt": b"1\n"})
    two = await bench.taken(bench.base, {b"a.txt": b"2\n"})
    assert await repo.branch_tip(RUN) is None
    assert await repo.update_branch(RUN, one, None)
    assert await repo.update_branch(RUN, one, None), "a repeated effect is not a failure"
    assert not await repo.update_branch(RUN, two, bench.base)
    assert not await repo.update_branch(RUN, two, None)
    assert await repo.branch_tip(RUN) == one
    assert await repo.update_branch(RUN, two, one)
    assert await repo.branch_tip(RUN) == two


async def test_landing_gives_the_branch_and_may_be_repeated(bench: Bench) -> None:
    one = await bench.taken(bench.base, {b"a.txt": b"1\n"})
    assert await bench.repo.land(RUN, one) == f"codexteam/{RUN}"
    assert await bench.repo.land(RUN, one) == f"codexteam/{RUN}"
    two = await bench.taken(one, {b"a.txt": b"2\n"})
    assert await bench.repo.land(RUN, two) == f"codexteam/{RUN}"


async def test_a_snapshot_is_kept_though_its_file_goes(bench: Bench) -> None:
    snapshot = await bench.make(bench.base, {b"a.txt": b"1\n"})
    await bench.repo.keep(RUN, "implementer T1.1", snapshot)
    await bench.repo.keep(RUN, "implementer T1.1", snapshot)
    snapshot.pack.unlink()


async def test_an_unknown_commit_is_an_error(bench: Bench) -> None:
    with pytest.raises(RepoError):
        await bench.repo.tree_of(CommitId("3" * 40))


async def test_the_fakes_fit_each_other(tmp_path: Path) -> None:
    from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
    from codexteam.core.ids import AgentKey, Purpose
    from codexteam.ports.sandbox import SandboxSpec
    from tests.fakes.fake_repo import FakeRepo
    from tests.fakes.fake_sandbox import FakeEngine

    repo = FakeRepo(tmp_path / "fake", FILES)
    await repo.fetch_base(RUN, repo.head)
    base = repo.head
    for number in (1, 2):
        agent = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, f"T{number}", 1)
        source = await repo.base_source(RUN, base)
        spec = SandboxSpec(agent, source, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())
        sandbox = await FakeEngine().start(spec)
        await sandbox.write_file(f"new{number}.txt", b"x\n")
        snapshot = await sandbox.snapshot(tmp_path / "snapshot")
        assert snapshot is not None
        intake = await repo.intake(snapshot, FREE)
        assert isinstance(intake, Accepted)
        assert [change.path for change in intake.changes] == [f"new{number}.txt".encode()]
        base = await repo.commit(intake.tree, [base], "work", WHO)
    assert set(repo.content(base)) == {*FILES, "new1.txt", "new2.txt"}
