"""Snapshots that are kept whatever becomes of their attempt, so that no work is lost."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.hub import Hub, checked_run
from codexteam.adapters.git.quarantine import PackRefusal, Quarantine
from codexteam.adapters.git.runner import GitDeadline, GitTimeout
from codexteam.adapters.git.trees import TreeRefusal, TreeSizes, TreeWalk, walk_tree
from codexteam.core.codec import StoredForm, decode, encode, stored
from codexteam.core.ids import CommitId, RunId
from codexteam.core.paths import MAX_DEPTH
from codexteam.errors import RepoError, StoreError
from codexteam.ports.sandbox import Snapshot
from codexteam.system.fault_points import reach

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_EXPORT_SECONDS = 120.0
_EXPORT_PACK_BYTES = 2 << 30
_EXPORT_ENTRIES = 2_000_000


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class _KeptFile:
    """What stands beside a kept pack."""

    name: str
    tip: str
    base: CommitId
    pack: str
    """Its name, in the same folder."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that was kept."""

    run_id: RunId
    name: str
    tip: str
    base: CommitId
    pack: Path
    pack_bytes: int

    def snapshot(self) -> Snapshot:
        """Return it as what a sandbox can be started with."""
        return Snapshot(self.tip, self.base, self.pack, self.pack_bytes)


class KeptWork:
    """The kept snapshots of all runs: for each a pack, and a file that says what it is."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it has one folder per run."""
        self.folder = folder

    def keep(self, run_id: RunId, name: str, snapshot: Snapshot) -> None:
        """Copy a snapshot's pack, in place of an earlier one of this name.

        Raises:
            RepoError: it cannot be written.
        """
        folder = self.folder / checked_run(run_id)
        stem = _UNSAFE.sub("_", name).lstrip(".")[:200] or "_"
        facts = _KeptFile(name, snapshot.tip, snapshot.base, f"{stem}-{snapshot.tip[:16]}.pack")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            pack = folder / facts.pack
            if not pack.exists():
                _copy(snapshot.pack, pack)
            before = self._read(run_id, folder / f"{stem}.json")
            _write(folder / f"{stem}.json", json.dumps(encode(facts)).encode())
            if before is not None and before.pack != pack:
                before.pack.unlink(missing_ok=True)
        except OSError as error:
            raise RepoError(f"{folder}: a snapshot cannot be kept: {error.strerror}") from error

    def list(self, run_id: RunId | None = None) -> tuple[Kept, ...]:
        if not self.folder.is_dir():
            return ()
        runs = [RunId(run_id)] if run_id else [RunId(each.name) for each in sorted(self.folder.iterdir())]
        found = (self._read(run, path) for run in runs for path in sorted((self.folder / run).glob("*.json")))
        return tuple(kept for kept in found if kept is not None)

    def remove(self, run_id: RunId) -> None:
        """Remove what was kept of a run; may be repeated."""
        shutil.rmtree(self.folder / checked_run(run_id), ignore_errors=True)

    def _read(self, run_id: RunId, path: Path) -> Kept | None:
        try:
            facts = decode(_KeptFile, json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError, StoreError):
            return None
        pack = path.parent / Path(facts.pack).name
        if not pack.is_file():
            return None
        return Kept(run_id, facts.name, facts.tip, facts.base, pack, pack.stat().st_size)


def export_patch(hub: Hub, quarantines: Path, kept: Kept, destination: Path) -> None:
    """Write what a kept snapshot changed, against its base, as a patch that `git apply` takes.

    The pack is opened in a quarantine, as at intake; guarded paths and secrets are not judged, since it is for the
    user's eyes.

    Raises:
        RepoError: the pack is broken or hostile, its base is gone from the hub, or the patch cannot be written.
    """
    deadline = GitDeadline.after(_EXPORT_SECONDS)
    try:
        with Quarantine(hub, quarantines, deadline) as quarantine:
            quarantine.index(kept.pack, _EXPORT_PACK_BYTES)
            tree = (
                quarantine.output("rev-parse", "--verify", "--end-of-options", f"{kept.tip}^{{tree}}").decode().strip()
            )
            walk = walk_tree(
                quarantine.reader, tree, TreeSizes(), deadline, max_depth=MAX_DEPTH * 4, max_trees=_EXPORT_ENTRIES
            )
            _refuse_flood(walk)
            patch = quarantine.output(
                *(
                    "diff-tree",
                    "-r",
                    "-p",
                    "--binary",
                    "--full-index",
                    "--no-renames",
                    "--no-ext-diff",
                    "--no-textconv",
                ),
                *("--no-color", "--src-prefix=a/", "--dst-prefix=b/", kept.base, kept.tip, "--"),
            )
        _write(destination, patch)
    except (PackRefusal, TreeRefusal) as refusal:
        raise RepoError(
            f"{kept.name}: cannot be exported as a patch: {refusal}", hint=f"Its pack is {kept.pack}"
        ) from refusal
    except GitTimeout:
        raise RepoError(f"{kept.name}: exporting took too long", hint=f"Its pack is {kept.pack}") from None
    except OSError as error:
        raise RepoError(f"{destination}: cannot be written: {error.strerror}") from error


def _refuse_flood(walk: TreeWalk) -> None:
    if walk.size.entries > _EXPORT_ENTRIES:
        raise PackRefusal("it expands to too many files")


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_name(target.name + ".new")
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reading, fresh.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
    reach("kept.pack.before")
    fresh.replace(target)
    reach("kept.pack.after")


def _write(target: Path, data: bytes) -> None:
    fresh = target.with_name(target.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    reach("kept.facts.before")
    fresh.replace(target)
    reach("kept.facts.after")
