"""What a workspace is made from: a tar with a small `.git` of the run's base, and packs of what came after."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from codexteam.adapters.git.composite import Member
from codexteam.adapters.git.fetch import last_commits, pack_request
from codexteam.adapters.git.hub import Hub, base_ref
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import GitDeadline
from codexteam.adapters.git.untracked import CopyRules, ExtraSource, write_extras
from codexteam.core.ids import CommitId, RunId
from codexteam.errors import RepoError
from codexteam.ports.sandbox import BaseSource
from codexteam.system.fault_points import reach

_SECONDS = 1800.0

#: What interpreters and tools leave behind wherever they run. In a repository whose .gitignore forgets them, running
#: the tests would else make them part of an agent's work. What is tracked is taken all the same.
LEFT_BEHIND = (
    "__pycache__/",
    "*.pyc",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    "node_modules/",
    ".DS_Store",
)


class BaseSources:
    """Makes the files of `BaseSource`, each once, in a run's folder."""

    def __init__(
        self, hub: Hub, places: Places, folder: Path, *, depth: int, rules: CopyRules, members: Sequence[Member] = ()
    ) -> None:
        """Take where they are kept and what goes into them.

        Args:
            hub: holds the commits.
            places: the user's repository, for files that git does not track or stores elsewhere.
            folder: made when it is missing.
            depth: commits of history that a workspace shows.
            rules: which ignored files workspaces get.
            members: where several repositories make the workspace: all of them.
        """
        self._hub = hub
        self._places = places
        self._folder = folder
        self._depth = depth
        self._rules = rules
        self._members = members

    def give(self, run_id: RunId, commit: CommitId) -> BaseSource:
        """Return the base for a commit.

        Raises:
            RepoError: the run has no base yet, the commit is unknown, or the files cannot be written.
        """
        root = self._hub.ref(base_ref(run_id))
        if root is None:
            raise RepoError(f"run {run_id} has no base commit in the hub")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            archive, cut = self._archive(root)
            delta = None if commit == root else self._delta(root, commit, cut)
            return BaseSource(root, archive, commit, delta, self._extras(root), self._hub.tree_of(commit))
        except OSError as error:
            raise RepoError(f"{self._folder}: a workspace's base cannot be written: {error.strerror}") from error

    def _archive(self, root: CommitId) -> tuple[Path, frozenset[str]]:
        archive = self._folder / f"{root}.tar"
        cuts = self._folder / f"{root}.shallow"
        parts = self._folder / f"{root}.parts"
        shutil.rmtree(
            parts, ignore_errors=True
        )  # left by a session that was killed, perhaps just after the archive was written
        if archive.exists() and cuts.exists():
            return archive, frozenset(cuts.read_text().split())
        shallow = set(self._hub.shallow().decode().split())
        history = last_commits(self._hub.reader, root, self._depth, shallow, GitDeadline.after(_SECONDS))
        parts.mkdir()
        self._hub.output(
            "pack-objects", "--revs", "--delta-base-offset", "-q", str(parts / "pack"),
            stdin=pack_request([root], [], history.cut | shallow),
        )  # fmt: skip
        text = "".join(f"{commit}\n" for commit in sorted(history.cut))
        _replace(cuts, text.encode())
        fresh = archive.with_suffix(".new")
        with tarfile.open(fresh, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in (
                ".git",
                ".git/info",
                ".git/objects",
                ".git/objects/info",
                ".git/objects/pack",
                ".git/refs",
                ".git/refs/heads",
            ):
                tar.addfile(_member(name, 0o755, folder=True))
            _add(tar, ".git/HEAD", f"{root}\n".encode())
            _add(tar, ".git/config", _config(self._hub.object_format))
            _add(tar, ".git/info/exclude", "".join(f"{pattern}\n" for pattern in LEFT_BEHIND).encode())
            if text:
                _add(tar, ".git/shallow", text.encode())
            for part in sorted(parts.iterdir()):
                member = _member(f".git/objects/pack/{part.name}", 0o444)
                member.size = part.stat().st_size
                with part.open("rb") as file:
                    tar.addfile(member, file)
        _finish(fresh, archive)
        shutil.rmtree(parts)
        return archive, frozenset(history.cut)

    def _delta(self, root: CommitId, commit: CommitId, cut: frozenset[str]) -> Path:
        pack = self._folder / f"{root}-{commit}.pack"
        if not pack.exists():
            request = pack_request([commit], [root], cut)
            _replace(
                pack,
                self._hub.output(
                    "pack-objects", "--thin", "--revs", "--stdout", "--delta-base-offset", "-q", stdin=request
                ),
            )
        return pack

    def _extras(self, root: CommitId) -> Path | None:
        # the files to copy may change, and trust be withdrawn, before a run continues
        sources = [ExtraSource(each.places, each.head, each.name) for each in self._members]
        sources = sources or [ExtraSource(self._places, root)]
        patterns = b"\0".join(self._rules.patterns(each.places.root) for each in sources)
        asked = hashlib.sha256(patterns).hexdigest()[:12]
        extras = self._folder / f"{root}.{asked}.extra.tar"
        none = self._folder / f"{root}.{asked}.extra.none"
        if extras.exists() or none.exists():
            return extras if extras.exists() else None
        fresh = extras.with_suffix(".new")
        if write_extras(self._hub, sources, self._rules, fresh):
            _finish(fresh, extras)
            return extras
        fresh.unlink(missing_ok=True)
        none.touch()
        return None


def _config(object_format: str) -> bytes:
    if object_format == "sha1":
        return b"[core]\n\trepositoryFormatVersion = 0\n\tbare = false\n\tlogAllRefUpdates = true\n"
    return (
        b"[core]\n\trepositoryFormatVersion = 1\n\tbare = false\n\tlogAllRefUpdates = true\n"
        b"[extensions]\n\tobjectFormat = %s\n" % object_format.encode()
    )


def _member(name: str, mode: int, *, folder: bool = False) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    member.mode = mode
    return member


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = _member(name, 0o644)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    _finish(fresh, path)


def _finish(fresh: Path, path: Path) -> None:
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    reach("base.replace.before")
    fresh.replace(path)
    reach("base.replace.after")
