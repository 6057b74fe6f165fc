"""The hub: a bare repository in the state folder that only codexteam writes."""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codexteam.adapters.git.object_files import read_ref, write_ref
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import ATTRIBUTES, GitCall, GitDeadline, GitResult, GitRunner, GitTimeout
from codexteam.core.ids import CommitId, RunId, TreeId, branch_name
from codexteam.errors import RepoError
from codexteam.system.fault_points import reach

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: Nobody creates a tree or commit larger than this.
_OBJECT_BYTES = 64 << 20
_OPERATION_SECONDS = 120.0
_MANY_PACKS = 50
#: Without one of these git sees no repository, or we cannot write into it.
_PARTS = ("config", "info", "objects/pack", "refs/heads")


def checked_run(run_id: str) -> str:
    """Return a run id that is safe in a ref name and a path.

    Raises:
        RepoError: it is not.
    """
    if not _RUN.fullmatch(run_id):
        raise RepoError(f"{run_id!r} is not a run id")
    return run_id


def branch_ref(run_id: RunId) -> str:
    """Return the ref of a run's integration branch, the same in the hub and in the user's repository."""
    return f"refs/heads/{branch_name(RunId(checked_run(run_id)))}"


def base_ref(run_id: RunId) -> str:
    """Return the hub's ref for the commit that a run started from."""
    return f"refs/codexteam/base/{checked_run(run_id)}"


def landed_ref(run_id: RunId) -> str:
    """Return the hub's ref for what was last put into the user's repository."""
    return f"refs/codexteam/landed/{checked_run(run_id)}"


def write_bare_repository(
    path: Path, object_format: str, *, alternates: Sequence[Path] = (), shallow: bytes = b""
) -> None:
    """Write an empty bare repository: no template, no hooks, its own attributes over all others.

    Args:
        path: a folder that is not there yet, or is empty; in one that is there what is missing is added.
        object_format: `sha1` or `sha256`.
        alternates: object folders that it reads as well.
        shallow: the content of its `shallow` file.
    """
    for folder in ("objects/info", "objects/pack", "refs/heads", "info"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    version = "0" if object_format == "sha1" else "1"
    extensions = "" if object_format == "sha1" else f"[extensions]\n\tobjectFormat = {object_format}\n"
    (path / "config").write_text(
        f"[core]\n\trepositoryFormatVersion = {version}\n\tbare = true\n\tlogAllRefUpdates = false\n"
        f"[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{extensions}"
    )
    (path / "info" / "attributes").write_bytes(ATTRIBUTES)
    if alternates:
        (path / "objects/info/alternates").write_bytes(b"".join(os.fsencode(each) + b"\n" for each in alternates))
    if shallow:
        (path / "shallow").write_bytes(shallow)
    # git takes a folder for a repository once HEAD is there: last
    (path / "HEAD").write_text("ref: refs/heads/none\n")


class Hub:
    """The hub's refs and objects. May be used from several threads of the one process that holds the lock."""

    def __init__(
        self, path: Path, object_format: str, runner: GitRunner, *, read_only: bool = False, is_alone: bool = True
    ) -> None:
        """Open it, or make it.

        Locks and half-written files of a process that died are removed where this one `is_alone`: it holds the
        repository's lock. With `read_only` neither is done, and the lock need not be held.

        Raises:
            RepoError: it cannot be made, or is of another object format.
        """
        self.path = path
        self.object_format = object_format
        self.runner = runner
        self.reader = ObjectReader(runner, path)
        self._refs = threading.Lock()
        if read_only:
            return
        try:
            self._make()
            if is_alone:
                self._sweep()
        except OSError as error:
            raise RepoError(
                f"{path}: the hub cannot be made: {error.strerror}",
                hint="Make the state folder writable, or give another one with --state-dir.",
            ) from error

    def _make(self) -> None:
        for gone in self.path.parent.glob(f"{self.path.name}.gone-*"):
            shutil.rmtree(gone, ignore_errors=True)
        if not (self.path / "HEAD").exists():
            fresh = self.path.with_name(self.path.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.mkdir(mode=0o700)
            write_bare_repository(fresh, self.object_format)
            for name in ("config", "HEAD"):  # git syncs what it writes, and after a power cut it must find a repository
                _sync(fresh / name)
            shutil.rmtree(self.path, ignore_errors=True)
            reach("hub.make.before")
            fresh.rename(self.path)
            reach("hub.make.after")
        elif not all((self.path / part).exists() for part in _PARTS):
            # half removed, as by a codexteam that did not yet rename first; what is left does no harm and may be work
            write_bare_repository(self.path, self.object_format)
        (self.path / "info" / "attributes").write_bytes(ATTRIBUTES)
        is_sha256 = b"sha256" in (self.path / "config").read_bytes()
        if is_sha256 != (self.object_format == "sha256"):
            raise RepoError(
                f"{self.path}: the hub is of another object format than the repository ({self.object_format})",
                hint="Move the state folder away; it belongs to a repository that no longer exists.",
            )

    def _sweep(self) -> None:
        for lock in self.path.rglob("*.lock"):
            lock.unlink(missing_ok=True)
        for pattern in ("objects/pack/tmp_*", "objects/tmp_*", "objects/*/tmp_obj_*", "objects/pack/.tmp-*"):
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)
        for index in self.path.glob("index-*"):
            shutil.rmtree(index, ignore_errors=True)

    def tidy(self) -> None:
        """Join packs when there are many, each intake having made one; nothing is dropped, reachable or not."""
        if len(list((self.path / "objects" / "pack").glob("*.pack"))) > _MANY_PACKS:
            self.output("repack", "-q", "-d", "--geometric=2", "--no-write-bitmap-index")

    def close(self) -> None:
        """End the process that reads objects."""
        self.reader.close()

    def remove(self) -> None:
        """Remove it. It loses its name first: killed while its files go, we leave no hub that looks whole.

        Raises:
            RepoError: it cannot be removed.
        """
        self.close()
        gone = self.path.with_name(f"{self.path.name}.gone-{os.getpid()}")
        try:
            reach("hub.remove.before")
            self.path.rename(gone)
            reach("hub.remove.after")
        except OSError as error:
            raise RepoError(f"{self.path}: the hub cannot be removed: {error.strerror}") from error
        shutil.rmtree(gone, ignore_errors=True)

    def run(self, *args: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> GitResult:
        """Run git in the hub, whatever its exit code."""
        try:
            return self.runner.run(GitCall(args, self.path, stdin=stdin, environment=environment or {}))
        except GitTimeout:
            raise RepoError(f"git {args[0]} took too long in the hub") from None

    def output(self, *args: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """Run git in the hub and give its output.

        Raises:
            RepoError: it failed.
        """
        result = self.run(*args, stdin=stdin, environment=environment)
        if not result.ok:
            raise RepoError(f"{self.path}: git {args[0]} failed: {result.err or result.code}")
        return result.out

    # refs

    def ref(self, name: str) -> CommitId | None:
        """Return what a ref points to."""
        found = read_ref(self.path, name)
        if found is not None and _ID.fullmatch(found):
            return CommitId(found)
        if found is None and not (self.path / "packed-refs").exists():
            return None
        result = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        return CommitId(result.out.decode().strip()) if result.ok else None

    def refs(self, prefix: str) -> dict[str, CommitId]:
        """Return all refs below a prefix that ends with `/`."""
        lines = self.output("for-each-ref", "--format=%(objectname) %(refname)", prefix).decode().splitlines()
        return {name: CommitId(object_id) for object_id, _, name in (line.partition(" ") for line in lines)}

    def move_ref(self, name: str, new: CommitId, old: CommitId | None) -> bool:
        """Point a ref to `new` if it points to `old` (None: if it is not there); True also when it is at `new`."""
        with self._refs:
            if not (self.path / "packed-refs").exists():
                with contextlib.suppress(OSError):  # git has the words for what is in the way
                    return write_ref(self.path, name, new, old) or self.ref(name) == new
            expected = old or "0" * len(new)
            for _ in range(2):
                if self.run("update-ref", "--no-deref", name, new, expected).ok or self.ref(name) == new:
                    return True
                # a git of ours that was killed may have left its lock, and nobody else writes here
                lock = self.path / f"{name}.lock"
                if not lock.exists():
                    return False
                lock.unlink(missing_ok=True)
            return False

    def set_ref(self, name: str, new: CommitId) -> None:
        """Point a ref to `new`, wherever it was."""
        if not self.move_ref(name, new, self.ref(name)):
            raise RepoError(f"{self.path}: {name} cannot be set")

    def delete_ref(self, name: str) -> None:
        """Remove a ref; nothing happens when it is not there."""
        with self._refs:
            (self.path / f"{name}.lock").unlink(missing_ok=True)
            self.output("update-ref", "--no-deref", "-d", name)

    # objects

    def tree_of(self, commit: CommitId) -> TreeId:
        """Return a commit's tree.

        Raises:
            RepoError: there is no such commit.
        """
        return commit_links(self.commit_bytes(commit))[0]

    def commit_bytes(self, commit: CommitId) -> bytes:
        """Return a commit object."""
        found = self.reader.read(commit, limit_bytes=_OBJECT_BYTES, deadline=GitDeadline.after(_OPERATION_SECONDS))
        if found is None or found.type != "commit" or found.data is None:
            raise RepoError(f"{commit}: no such commit in the hub")
        return found.data

    def has(self, object_id: str) -> bool:
        return self.reader.describe([object_id], deadline=GitDeadline.after(_OPERATION_SECONDS))[0] is not None

    def shallow(self) -> bytes:
        """Return the `shallow` file: commits whose parents were not taken."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "shallow").read_bytes()
        return b""

    def files(self, tree: str) -> Iterator[tuple[bytes, str, str]]:
        """Return path, mode and id of every file of a tree or commit."""
        listing = self.output("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", tree)
        for line in listing.split(b"\0")[:-1]:
            head, _, path = line.partition(b"\t")
            mode, _, object_id = head.decode().split(" ")
            yield path, mode, object_id


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def commit_links(data: bytes) -> tuple[TreeId, tuple[CommitId, ...]]:
    """Take tree and parents from a commit object.

    Raises:
        RepoError: it names no tree.
    """
    tree = ""
    parents: list[CommitId] = []
    for line in data.split(b"\n\n", 1)[0].split(b"\n"):
        word, _, rest = line.partition(b" ")
        if word == b"tree" and not tree:
            tree = rest.decode("ascii", "replace")
        elif word == b"parent":
            parents.append(CommitId(rest.decode("ascii", "replace")))
        else:
            break
    if not tree:
        raise RepoError("a commit without tree")
    return TreeId(tree), tuple(parents)
