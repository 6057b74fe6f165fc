"""What is taken out without git is exactly what git takes out: of a folder, and of an overlay over a sealed base."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.adapters.sandbox.server.base_checkout import BaseCheckout
from codexteam.adapters.sandbox.server.git import Git
from codexteam.adapters.sandbox.server.git_index import has_states
from codexteam.adapters.sandbox.server.snapshot import Snapshots
from codexteam.core.ids import JSONObject
from tests.examples import examples
from tests.support_base_source import git, make_repository

CAP = 1 << 24
EXCLUDED = b"__pycache__/\n*.pyc\nnode_modules/\n.DS_Store\n"
FILES: dict[str | bytes, bytes | str] = {
    "a.txt": b"a\n",
    "bin/run": b"#!/bin/sh\n",
    "lib/one.py": b"1\n",
    "lib/sub/two.py": b"2\n",
    "lib.txt": b"sorted between the folder and what is in it\n",
    "link": "a.txt",
    ".gitignore": b"*.log\n/build/\n!keep.log\nlib/**/tmp[0-9]\n",
}


#: How a workspace comes to its files.
FOLDER, OVERLAY = "folder", "overlay"
#: Who mounts one is root; a run of another user has bubblewrap do it (`tests/contract/test_sandbox.py`).
OVERLAYS = pytest.param(OVERLAY, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root may mount an overlay"))


class Workspace:
    """A workspace as an agent finds it, and the two ways to take its work out."""

    def __init__(self, folder: Path, files: dict[str | bytes, bytes | str], *, laid: ExitStack | None = None) -> None:
        """Make one of these files; an overlay over them if there is a stack that takes it away again."""
        self.root = folder / "work"
        base = self.root if laid is None else folder / "base"
        self.base = str(make_repository(base, files))
        git(base, "repack", "-adq")
        Path(base, ".git/info/exclude").write_bytes(EXCLUDED)
        private = folder / "private"
        private.mkdir()
        BaseCheckout(Git(str(base), str(private), None)).seal({"mtime_seconds": 1_000_000_000})
        if laid is not None:
            laid.enter_context(overlay(base, self.root))
        self.git = Git(str(self.root), str(private), None)
        BaseCheckout(self.git).begin({"commit": self.base})
        self.pack = folder / "pack"

    def direct(self, named: list[JSONObject] | None = None) -> JSONObject | None:
        """Take it out without git; None where git is needed."""
        with standard_output(self.pack):
            return Snapshots(self.git).direct.take(self.base, CAP, named or [])

    def by_git(self, named: list[JSONObject] | None = None) -> JSONObject:
        with standard_output(self.pack):
            return Snapshots(self.git).take_by_git(self.base, CAP, named or [])

    def check_pack(self, tip: object) -> None:
        """Let a strict git read what was packed."""
        argv = ("git", "index-pack", "--stdin", "--fix-thin", "--strict")
        with self.pack.open("rb") as file:
            done = subprocess.run(argv, cwd=self.root, stdin=file, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert git(self.root, "cat-file", "-t", str(tip)).strip() == b"commit"
        git(self.root, "rev-list", "--objects", "--quiet", str(tip))


@contextmanager
def overlay(base: Path, place: Path) -> Iterator[None]:
    """Lay a workspace over a base as a sandbox does."""
    place.mkdir()
    with TemporaryDirectory(dir="/dev/shm") as folder:
        upper, work = Path(folder, "upper"), Path(folder, "work")
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={base},upperdir={upper},workdir={work},redirect_dir=on"
        subprocess.run(("mount", "-t", "overlay", "overlay", "-o", options, place), check=True)
        try:
            yield
        finally:
            subprocess.run(("umount", "-l", place), check=True)


@contextmanager
def standard_output(path: Path) -> Iterator[None]:
    """Let what is written to descriptor 1 go into a file, as it goes into a job's pipe."""
    kept = os.dup(1)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


Make = Callable[[dict[str | bytes, bytes | str]], Workspace]


@pytest.fixture(params=[FOLDER, OVERLAYS])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda files: Workspace(tmp_path, files, laid=stack if request.param == OVERLAY else None)


NAMES = ["a.txt", "bin/run", "lib/one.py", "lib/sub/two.py", "lib.txt", "link", ".gitignore", "new", "lib/new.py"]
NAMES += ["lib/sub/deep/er.py", "x.log", "keep.log", "build/out", "lib/sub/tmp1", "lib/z.pyc", "lib/__pycache__/a.pyc"]
NAMES += ["bin", "lib", "lib/sub", "a.txt/inside", "node_modules/m/index.js", ".gitattributes", "sub/.gitignore"]
TEXTS = [
    b"",
    b"a\n",
    b"other\n",
    b"with\r\n",
    b"*.py\n",
    b"!*.log\nnew\n",
    b"* text=auto\n",
    b"*.py filter=x\n",
    b"\0\1",
]
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "chmod", "symlink", "folder", "move", "repository", "pipe", "touch"]),
              st.sampled_from(NAMES), st.sampled_from(TEXTS)),
    max_size=8,
)  # fmt: skip


def act(root: Path, what: str, name: str, data: bytes) -> None:
    """Do one thing that a command may do; what cannot be done is not."""
    path = root / name
    if path.is_fifo() or (what == "pipe" and name.rpartition("/")[2].startswith(".git")):
        return  # who opens a pipe waits for somebody at its other end: whoever writes here, and git reading its rules
    try:
        match what:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            case "remove":
                subprocess.run(("rm", "-rf", "--", path), check=True)
            case "chmod":
                path.chmod(0o755 if data else 0o644)
            case "symlink":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(os.fsdecode(data.strip(b"\0\1") or b"nowhere"))
            case "folder":
                path.mkdir(parents=True)
            case "move":
                path.rename(root / NAMES[7 * len(data) % len(NAMES)])
            case "repository":
                git(root, "init", "-q", str(path))
            case "pipe":
                os.mkfifo(path)
            case _:
                path.touch()
    except (OSError, AssertionError, subprocess.CalledProcessError):
        return


@pytest.mark.parametrize("kind", [FOLDER, OVERLAYS])
@given(steps=STEPS, more=STEPS)
@settings(max_examples=examples(100))
@pytest.mark.slow
def test_a_direct_snapshot_is_the_one_that_git_makes(
    kind: str, steps: list[tuple[str, str, bytes]], more: list[tuple[str, str, bytes]]
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        found = Workspace(Path(folder), FILES, laid=stack if kind == OVERLAY else None)
        for each in steps:
            act(found.root, *each)
        first = found.direct()
        if first is not None and first["tip"] is not None:
            found.check_pack(first["tip"])
        for each in more:
            act(found.root, *each)
        second = found.direct()
        by_git = found.by_git()
        if second is not None:
            assert (second["tip"], second["remarks"]) == (by_git["tip"], by_git["remarks"])


ORDINARY = {
    "nothing": ":",
    "a new file": "echo new >lib/sub/new.py",
    "a changed file": "echo changed >lib/one.py",
    "a mode": "chmod +x bin/run",
    "a file that is gone": "rm lib/sub/two.py",
    "a folder for a file": "rm a.txt; mkdir a.txt; touch a.txt/b",
    "a link for a file": "rm a.txt; ln -s lib a.txt",
    "a link for a folder": "mv lib elsewhere; ln -s elsewhere lib",
    "a renamed folder": "mv lib library",
    "caches": "mkdir lib/__pycache__; touch lib/__pycache__/one.pyc",
}


@pytest.mark.parametrize("what", ORDINARY)
def test_ordinary_work_is_taken_out_without_git(make: Make, what: str) -> None:
    found = make(FILES)
    subprocess.run(("sh", "-ec", ORDINARY[what]), cwd=found.root, check=True)
    direct = found.direct([{"prefix": "lib", "pattern": "", "direct": False}])
    assert direct is not None
    assert direct["tip"] == found.by_git()["tip"]


TWINS: dict[str | bytes, bytes | str] = {
    "one/name": b"1\n",
    "two/name": b"2\n",
    "deep/1/in/name": b"1\n",
    "deep/2/in/name": b"2\n",
}
# every file of a base has one modification time: of these no size and no such time tells that they are others
ALIKE = {
    "files that changed places": "mv lib/one.py x; mv lib/sub/two.py lib/one.py; mv x lib/sub/two.py",
    "a copy with its times": "cp -p lib/sub/two.py lib/one.py",
    "new content with the old time": "echo 3 >lib/one.py; touch -d @1000000000 lib/one.py",
    "folders that changed places": "mv one x; mv two one; mv x two",
    "folders in folders that changed places": "mv deep/1 x; mv deep/2 deep/1; mv x deep/2",
    "a folder in place of another": "rm -r one; mv two one; mkdir two; echo 2 >two/name",
    "a mode there and back": "echo 3 >lib/one.py; chmod +x lib/one.py; chmod -x lib/one.py; touch -d @1000000000 lib/one.py",
    "a link to another file": "ln -f lib/sub/two.py lib/one.py",
}


@pytest.mark.parametrize("what", ALIKE)
def test_content_counts_where_size_and_time_are_alike(make: Make, what: str) -> None:
    found = make({**FILES, **TWINS})
    before = git(found.root, "write-tree")
    subprocess.run(("sh", "-ec", ALIKE[what]), cwd=found.root, check=True)
    direct = found.direct()
    assert direct is not None
    tip = direct["tip"]
    assert tip is not None
    found.check_pack(tip)
    assert git(found.root, "rev-parse", f"{tip}^{{tree}}") != before
    assert tip == found.by_git()["tip"]


@pytest.mark.parametrize("what", ALIKE)
def test_git_sees_what_is_alike_after_a_snapshot_of_its_own(make: Make, what: str) -> None:
    found = make({**FILES, **TWINS})
    subprocess.run(("sh", "-ec", "echo 9 >lib/one.py; touch -d @1000000000 lib/one.py"), cwd=found.root, check=True)
    first = found.by_git()["tip"]
    subprocess.run(("sh", "-ec", ALIKE[what]), cwd=found.root, check=True)
    second = found.by_git()["tip"]
    assert first is not None
    assert second is not None
    assert first != second


@pytest.mark.parametrize("kind", [FOLDER, OVERLAYS])
def test_only_folders_that_were_written_in_are_looked_into(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []
    scandir = os.scandir

    def recorded(path: str | bytes) -> object:
        looked.append(os.path.relpath(os.fsencode(path), os.fsencode(found.root)))
        return scandir(path)

    with ExitStack() as stack:
        found = Workspace(tmp_path, {**FILES, **TWINS}, laid=stack if kind == OVERLAY else None)
        (found.root / "deep/1/in/name").write_bytes(b"3\n")
        monkeypatch.setattr(os, "scandir", recorded)
        direct = found.direct()
        monkeypatch.undo()
        assert direct is not None
        assert direct["tip"] == found.by_git()["tip"]
    touched = [b".", b"deep", b"deep/1", b"deep/1/in"]
    everything = [b"bin", b"deep/2", b"deep/2/in", b"lib", b"lib/sub", b"one", b"two"]
    looked = [each for each in looked if not each.startswith(b".git")]
    assert sorted(looked) == sorted(touched if kind == OVERLAY else touched + everything)


def test_a_copied_base_keeps_an_index_that_speaks_of_it(tmp_path: Path) -> None:
    first = Workspace(tmp_path, FILES)
    copy = tmp_path / "copy"
    subprocess.run(("cp", "-a", first.root, copy), check=True)
    (tmp_path / "other").mkdir()
    checkout = BaseCheckout(Git(str(copy), str(tmp_path / "other"), None))
    checkout.begin({"commit": first.base})
    assert git(copy, "diff-files", "--name-only") == b""
    data = (copy / ".git/index").read_bytes()
    assert has_states(data, os.fsencode(copy))
    assert not has_states(data, os.fsencode(first.root))


BEYOND = {
    "an ignored file": "touch x.log",
    "a repository in it": "git init -q inner",
    "a pipe": "mkfifo pipe",
    "a filter": "echo '*.py filter=lfs' >.gitattributes",
    "line ends": "echo '* text' >.gitattributes; printf '\\r\\n' >n",
    "a rule of a rare kind": "echo '*.[!o]' >.gitignore",
    "a folder in place of rules": "rm .gitignore; mkdir .gitignore",
    "a pipe in place of rules": "rm .gitignore; mkfifo .gitignore",
    "much content": "truncate -s 9M large",
    "a branch": "echo 0123456789012345678901234567890123456789 >.git/refs/heads/other",
}


@pytest.mark.parametrize("what", BEYOND)
def test_what_only_git_can_tell_is_asked_of_git(make: Make, what: str) -> None:
    found = make(FILES)
    subprocess.run(("sh", "-ec", BEYOND[what]), cwd=found.root, check=True)
    open_before = sorted(Path("/proc/self/fd").iterdir())
    assert found.direct() is None
    assert sorted(Path("/proc/self/fd").iterdir()) == open_before, "the server lives long: nothing is left open"


def test_a_new_file_stays_work_when_a_rule_ignores_it_later(make: Make) -> None:
    found = make(FILES)
    (found.root / "result.csv").write_bytes(b"1\n")
    assert found.direct() is not None
    (found.root / ".gitignore").write_bytes(b"*.csv\n")
    assert found.direct() is None
    tip = found.by_git()["tip"]
    found.check_pack(tip)
    assert b"result.csv" in git(found.root, "ls-tree", "--name-only", str(tip))


def test_work_that_git_took_out_once_is_left_to_git(make: Make) -> None:
    found = make(FILES)
    (found.root / "new").touch()
    found.by_git()
    assert found.direct() is None


@pytest.mark.parametrize("wanted", ["x.log", "build", "build/out"])
def test_an_ignored_path_that_is_named_is_left_to_git(make: Make, wanted: str) -> None:
    found = make({**FILES, ".gitignore": b"__pycache__/\n"})
    (found.root / "build").mkdir()
    (found.root / "build/__pycache__").mkdir()
    assert found.direct([{"prefix": wanted, "pattern": "", "direct": False}]) is not None
    named: JSONObject = {"prefix": "build/__pycache__", "pattern": "", "direct": False}
    assert found.direct([named]) is None
