"""What is written into the hub without git is what git would have written, and is on the disk before it has a name."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.location import git_runner
from codexteam.adapters.git.merge import forecast, make_commit, raw_changes
from codexteam.adapters.git.object_files import read_ref, write_object, write_pack, write_ref
from codexteam.adapters.git.objects import GitObject
from codexteam.adapters.git.runner import GitDeadline
from codexteam.adapters.git.trees import tree_changes
from codexteam.core.ids import CommitId, TreeId
from codexteam.errors import RepoError
from codexteam.ports.repo import Identity
from tests.examples import examples

MINUTE = 60.0


@pytest.fixture(params=["sha1", "sha256"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    found = Hub(tmp_path / "hub.git", request.param, git_runner(dict(os.environ), tmp_path))
    yield found
    found.close()


def empty_tree(hub: Hub) -> TreeId:
    return TreeId(write_object(hub.path, hub.object_format, "tree", b""))


@pytest.mark.parametrize("name", ["codexteam implementer", "  \\dots., ", "a <b> c\nd", "Zoë", ""])
@pytest.mark.parametrize("message", ["title\n", "title\n\nbody\n\n\n", "Zoë\0", ""])
def test_a_commit_is_the_one_that_git_makes(hub: Hub, name: str, message: str) -> None:
    tree = empty_tree(hub)
    first = make_commit(hub, tree, (), "first", Identity("a", "a@x", 1))
    ours = make_commit(hub, tree, (first,), message, Identity(name, "x@y", 1_700_000_000))
    stored = hub.commit_bytes(ours).decode()
    written = next(line for line in stored.splitlines() if line.startswith("author "))
    when = "@1700000000 +0000"
    environment = {
        "GIT_AUTHOR_NAME": written.removeprefix("author ").partition(" <")[0],
        "GIT_AUTHOR_EMAIL": "x@y",
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_NAME": "codexteam",
        "GIT_COMMITTER_EMAIL": "codexteam@localhost",
        "GIT_COMMITTER_DATE": when,
    }
    text = stored.partition("\n\n")[2].encode()
    theirs = hub.output("commit-tree", tree, "-p", first, stdin=text, environment=environment).decode().strip()
    assert ours == theirs
    assert hub.run("fsck", "--strict", "--no-dangling", ours).ok


def test_no_commit_is_made_of_what_is_not_in_the_hub(hub: Hub) -> None:
    tree = empty_tree(hub)
    missing = CommitId("1" * len(tree))
    with pytest.raises(RepoError, match=f"there is no commit {missing}"):
        make_commit(hub, tree, (missing,), "x", Identity("a", "a@x", 1))
    with pytest.raises(RepoError, match="there is no commit"):
        make_commit(hub, tree, (CommitId(tree),), "x", Identity("a", "a@x", 1))


def test_a_pack_is_read_by_git_object_by_object(hub: Hub, tmp_path: Path) -> None:
    other = Hub(tmp_path / "other.git", hub.object_format, hub.runner)
    datas = [bytes([number]) * (number * number) for number in range(60)]
    ids = [write_object(other.path, other.object_format, "blob", data) for data in datas]
    ids.append(write_object(other.path, other.object_format, "tree", b""))
    objects = [GitObject(name, "blob", len(data), data) for name, data in zip(ids, datas, strict=False)]
    objects.append(GitObject(ids[-1], "tree", 0, b""))
    write_pack(hub.path, hub.object_format, objects)
    write_pack(hub.path, hub.object_format, objects)
    (pack,) = (hub.path / "objects/pack").glob("*.pack")
    assert hub.run("verify-pack", str(pack)).ok
    assert [hub.output("cat-file", "blob", name) for name in ids[:-1]] == datas
    assert hub.run("fsck", "--strict", "--no-dangling").ok
    other.close()


def test_an_object_under_anothers_name_is_not_packed(hub: Hub) -> None:
    name = empty_tree(hub)
    with pytest.raises(RepoError, match="is not what its name says"):
        write_pack(hub.path, hub.object_format, [GitObject(name, "blob", 1, b"x")])
    assert not list((hub.path / "objects/pack").iterdir())


def test_a_ref_moves_only_from_where_it_is_said_to_be(hub: Hub) -> None:
    tree = empty_tree(hub)
    one, two = (make_commit(hub, tree, (), text, Identity("a", "a@x", 1)) for text in "ab")
    name = "refs/heads/codexteam/run"
    assert not hub.move_ref(name, two, one)
    assert hub.move_ref(name, one, None)
    assert not hub.move_ref(name, two, None)
    assert hub.move_ref(name, two, one)
    assert hub.move_ref(name, two, one), "it is there already"
    assert hub.ref(name) == two
    assert hub.output("rev-parse", name).decode().strip() == two
    assert not hub.move_ref(f"{name}/below", one, None), "a part of its name is a ref"
    hub.output("pack-refs", "--all")
    assert hub.ref(name) == two
    assert hub.move_ref(name, one, two)
    assert hub.ref(name) == one


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing")
@pytest.mark.parametrize(
    "what",
    [
        "write_object(git_dir, 'sha1', 'blob', b'x')",
        "write_pack(git_dir, 'sha1', [GitObject('e69de29bb2d1d6434b8b29ae775ad8c2e48c5391', 'blob', 0, b'')])",
        "write_ref(git_dir, 'refs/heads/x', '1' * 40, None)",
    ],
)
def test_what_is_written_is_synced_before_it_gets_its_name(tmp_path: Path, what: str) -> None:
    for name in ("objects/pack", "refs/heads"):
        (tmp_path / name).mkdir(parents=True)
    lines = (
        "from pathlib import Path",
        "from codexteam.adapters.git.object_files import write_object, write_pack, write_ref",
        "from codexteam.adapters.git.objects import GitObject",
        f"git_dir = Path({str(tmp_path)!r})",
        what,
    )
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2"
    argv = ("strace", "-qq", "-y", "-e", calls, sys.executable, "-c", "\n".join(lines))
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    kept = [line.partition("(")[0] for line in said.splitlines() if str(tmp_path) in line]
    assert kept, said
    assert kept == ["fsync", "rename"] * (len(kept) // 2)


def test_a_ref_without_a_file_is_not_there(tmp_path: Path) -> None:
    assert read_ref(tmp_path, "refs/heads/x") is None
    assert write_ref(tmp_path, "refs/heads/x/y", "1" * 40, None)
    assert read_ref(tmp_path, "refs/heads/x") is None
    assert read_ref(tmp_path, "refs/heads/x/y/z") is None


ENTRIES = st.dictionaries(
    st.sampled_from([b"a", b"a-b", b"a/b", b"a/c/d", b"a.b", b"b", b"b/c"]),
    st.tuples(st.sampled_from(["100644", "100755", "120000", "160000"]), st.sampled_from(["1", "2"])),
)


@given(before=ENTRIES, after=ENTRIES)
@settings(max_examples=examples(100))
def test_trees_differ_in_what_git_says_they_differ_in(
    before: dict[bytes, tuple[str, str]], after: dict[bytes, tuple[str, str]]
) -> None:
    with TemporaryDirectory() as folder:
        hub = Hub(Path(folder) / "hub.git", "sha1", git_runner(dict(os.environ), Path(folder)))
        try:
            old, new = (tree_of(hub, files) for files in (before, after))
            found = tree_changes(hub.reader, old, new, GitDeadline.after(MINUTE))
            assert found == raw_changes(hub.output, old, new)
        finally:
            hub.close()


@pytest.mark.parametrize(
    ("ours", "theirs", "conflicts"),
    [
        ({b"a": "2"}, {b"b": "2"}, ()),
        ({b"new": "1"}, {b"c/new": "2"}, ()),
        ({b"a": "2"}, {b"a": "3"}, ("a",)),
        ({b"new": "1"}, {b"new": "2"}, ("new",)),
        ({b"a": ""}, {b"a": "3"}, ("a",)),
    ],
)
def test_work_that_meets_nowhere_is_forecast_as_git_merges_it(
    tmp_path: Path, ours: dict[bytes, str], theirs: dict[bytes, str], conflicts: tuple[str, ...]
) -> None:
    hub = Hub(tmp_path / "hub.git", "sha1", git_runner(dict(os.environ), tmp_path))
    files = {b"a": "1", b"b": "1", b"c/d": "1"}

    def commit(changed: dict[bytes, str], *parents: CommitId) -> CommitId:
        there = {path: ("100644", text) for path, text in {**files, **changed}.items() if text}
        return make_commit(hub, TreeId(tree_of(hub, there)), parents, "x", Identity("a", "a@x", 1))

    base = commit({})
    assert forecast(hub, commit(ours, base), commit(theirs, base)) == conflicts
    hub.close()


def tree_of(hub: Hub, files: dict[bytes, tuple[str, str]]) -> str:
    """Make a tree; of a file and a folder of one name the file is left out."""
    lines = [
        f"{mode} {write_object(hub.path, 'sha1', 'blob', text.encode())}\t".encode() + path + b"\0"
        for path, (mode, text) in files.items()
        if not any(other.startswith(path + b"/") for other in files)
    ]
    environment = {"GIT_INDEX_FILE": str(hub.path / "index")}
    hub.output("read-tree", "--empty", environment=environment)
    hub.output("update-index", "-z", "--index-info", stdin=b"".join(lines), environment=environment)
    return hub.output("write-tree", "--missing-ok", environment=environment).decode().strip()
