"""Reads a run's commits and exports them, without the repository's lock: during a run or after it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from codexteam.adapters.git.cleanup import is_only_holder
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, landed_ref
from codexteam.adapters.git.landing import landed_at
from codexteam.adapters.git.location import Places, git_runner
from codexteam.adapters.git.merge import raw_changes
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitTimeout
from codexteam.adapters.git.saved_snapshots import Kept, KeptWork, export_patch
from codexteam.core.ids import CommitId, RunId
from codexteam.core.text import clean
from codexteam.errors import RepoError, SurroundingsError
from codexteam.ports.repo import TreeChange

_SECONDS = 300.0
#: More than a person reads; a patch file has no such limit.
_SHOWN_BYTES = 64 << 20
_PATCH_BYTES = 4 << 30
#: Nothing that a repository or a user's configuration names has a say in what is shown.
_NEUTRAL = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")


class Form(Enum):
    """How a difference is shown."""

    PATCH = ("-p", "-M")
    STAT = ("--stat=80", "-M")


@dataclass(frozen=True, slots=True)
class ShownDiff:
    """A difference for readers, escaped."""

    text: str
    cut: bool


class RunCommits:
    """The commits of a repository's runs: in the hub, or in the user's repository once they have landed."""

    def __init__(self, places: Places, state_dir: Path, environment: Mapping[str, str]) -> None:
        """Take where to look; nothing is touched."""
        self._places = places
        self._state_dir = state_dir
        self._hub = Hub(
            state_dir / "hub.git", places.object_format, git_runner(environment, places.start), read_only=True
        )

    def tip(self, run_id: RunId) -> CommitId | None:
        """Return where a run's integration branch points."""
        for git_dir in self._git_dirs():
            call = GitCall(("rev-parse", "--verify", "--quiet", "--end-of-options", branch_ref(run_id)), git_dir)
            result = self._hub.runner.run(call)
            if result.ok:
                return CommitId(result.out.decode().strip())
        return None

    def in_hub(self, run_id: RunId) -> bool:
        """Return whether the hub has refs of a run."""
        return any(self._hub_ref(name(run_id)) is not None for name in (branch_ref, landed_ref, base_ref))

    def landed(self, run_id: RunId) -> CommitId | None:
        """Return where a run's branch is in the user's repository."""
        return landed_at(self._hub, self._places, run_id)

    def only_holder(self, run_id: RunId, at: CommitId) -> bool:
        """Return whether that branch alone has its commits: then `clean` leaves it."""
        return is_only_holder(self._hub, self._places, run_id, at)

    def has(self, commit: str) -> bool:
        """Return whether a commit is still there."""
        call = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{tree}}")
        return any(self._hub.runner.run(GitCall(call, git_dir)).ok for git_dir in self._git_dirs())

    def diff(self, old: str, new: str, form: Form) -> ShownDiff:
        """Compare two commits for readers.

        Raises:
            RepoError: one of them is gone.
        """
        args = ("diff-tree", "-r", *form.value, *_NEUTRAL, old, new, "--")
        result = self._run(args, self._holding(old, new), _SHOWN_BYTES)
        data = result[: result.rfind(b"\n") + 1] if len(result) >= _SHOWN_BYTES else result
        return ShownDiff(clean(without_binary(data).decode("utf-8", "surrogateescape")), len(data) != len(result))

    def patches(self, old: str, new: str) -> dict[str, ShownDiff]:
        """Return what each commit between two changed against its first parent, newest first, in one go.

        Raises:
            RepoError: one of the two is gone.
        """
        # no line of a patch begins so: those of files have a sign in front
        args = ("log", "--first-parent", "-m", "--format=commit %H", "-p", "-M", *_NEUTRAL, f"{old}..{new}", "--")
        result = self._run(args, self._holding(old, new), _SHOWN_BYTES)
        parts = re.split(rb"^commit ([0-9a-f]{40,64})\n", result, flags=re.MULTILINE)
        cut = len(result) >= _SHOWN_BYTES
        return {
            name.decode(): ShownDiff(
                clean(without_binary(patch.lstrip(b"\n")).decode("utf-8", "surrogateescape")),
                cut and number == len(parts) // 2 - 1,
            )
            for number, (name, patch) in enumerate(zip(parts[1::2], parts[2::2], strict=True))
        }

    def changes(self, old: str, new: str) -> list[TreeChange]:
        """Compare two commits, path by path.

        Raises:
            RepoError: one of them is gone.
        """
        git_dir = self._holding(old, new)
        return raw_changes(lambda *args: self._run(args, git_dir, _SHOWN_BYTES), old, new)

    def write_patch(self, old: str, new: str, to: Path) -> int:
        """Write a difference as a patch that `git apply` takes; give its size in bytes.

        Raises:
            RepoError: a commit is gone.
            SurroundingsError: the file cannot be written.
        """
        args = ("diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", *_NEUTRAL, old, new, "--")
        return _write(to, self._run(args, self._holding(old, new), _PATCH_BYTES))

    def write_mail(self, commit: str, to: Path) -> int:
        """Write a commit with its message as a mail that `git am` takes; give its size in bytes.

        Raises:
            RepoError: it is gone.
            SurroundingsError: the file cannot be written.
        """
        args = ("format-patch", "--stdout", "--binary", "--full-index", "--no-renames", "--no-signature", "-1")
        return _write(to, self._run((*args, *_NEUTRAL, commit, "--"), self._holding(commit), _PATCH_BYTES))

    def write_bundle(self, run_id: RunId, to: Path) -> bool:
        """Write a run's integration branch as a bundle that `git fetch` takes; False when there is nothing on it.

        Raises:
            RepoError: the branch cannot be read.
        """
        tip, base = self._hub_ref(branch_ref(run_id)), self._hub_ref(base_ref(run_id))
        if tip is None or tip == base:
            return False
        without = [f"^{base}"] if base else []
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SurroundingsError(f"{to.parent}: cannot be made: {error.strerror}") from error
        self._run(("bundle", "create", "-q", str(to), branch_ref(run_id), *without), self._hub.path, _SHOWN_BYTES)
        return True

    def kept(self, run_id: RunId) -> tuple[Kept, ...]:
        """Return the snapshots that were kept of a run."""
        return KeptWork(self._state_dir / "kept").list(run_id)

    def write_snapshot(self, work: Kept, to: Path) -> None:
        """Write a snapshot's changes as a patch.

        Raises:
            RepoError: it cannot be opened, or the patch not written.
        """
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SurroundingsError(f"{to.parent}: cannot be made: {error.strerror}") from error
        # beside the result: the run's own quarantines may be in use
        quarantines = to.parent / ".opening"
        try:
            export_patch(self._hub, quarantines, work, to)
        finally:
            if quarantines.is_dir() and not any(quarantines.iterdir()):
                quarantines.rmdir()

    def close(self) -> None:
        """End what reads objects."""
        self._hub.close()

    def _git_dirs(self) -> list[Path]:
        return [*([self._hub.path] if (self._hub.path / "HEAD").exists() else []), self._places.git_dir]

    def _hub_ref(self, name: str) -> CommitId | None:
        return self._hub.ref(name) if (self._hub.path / "HEAD").exists() else None

    def _holding(self, *commits: str) -> Path:
        """Return the repository that has all these commits."""
        for git_dir in self._git_dirs():
            check = ("rev-parse", "--verify", "--quiet", "--end-of-options")
            if all(self._hub.runner.run(GitCall((*check, f"{commit}^{{tree}}"), git_dir)).ok for commit in commits):
                return git_dir
        short = ", ".join(commit[:10] for commit in commits)
        raise RepoError(f"{short}: no longer there", hint="was the run cleaned? codexteam salvage lists what is left")

    def _run(self, args: tuple[str, ...], git_dir: Path, limit_bytes: int) -> bytes:
        call = GitCall(args, git_dir, deadline=GitDeadline.after(_SECONDS), output_bytes=limit_bytes)
        try:
            result = self._hub.runner.run(call)
        except GitTimeout:
            raise RepoError(f"git {args[0]} took too long") from None
        if not result.ok and not result.cut:
            raise RepoError(f"git {args[0]} failed: {result.err or result.code}")
        return result.out


def without_binary(patch: bytes) -> bytes:
    """Return a patch in which files with zero bytes in them are named, not shown.

    The hub takes every file for text, so that none can hide by saying of itself that it is binary.
    """
    if b"\0" not in patch:
        return patch
    parts = re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE)
    return b"".join(_named(part) if b"\0" in part else part for part in parts)


def _named(part: bytes) -> bytes:
    head, _, rest = part.partition(b"\n--- ")
    old, _, rest = rest.partition(b"\n+++ ")
    new = rest.partition(b"\n")[0]
    return b"%s\nBinary files %s and %s differ\n" % (head, old, new)


def _write(to: Path, data: bytes) -> int:
    """Write a file whole or not at all."""
    fresh = to.with_name(f".{to.name}.codexteam-new")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(to)
    except OSError as error:
        raise SurroundingsError(f"{to}: cannot be written: {error.strerror}") from error
    return len(data)
