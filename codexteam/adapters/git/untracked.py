"""Files that a workspace needs and git does not give: ignored files asked for, LFS objects, submodules.

All are read by us from the user's own places: regular files only, links not followed, no filter run.
"""

import codecs
import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner
from codexteam.core.ids import CommitId
from codexteam.core.paths import decode
from codexteam.errors import RepoError

#: A pointer is three short lines; git-lfs itself takes nothing of this size or more for one.
LFS_POINTER_BYTES = 1024
_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
INCLUDE = ".worktreeinclude"
_MAX_BYTES = 2 << 30
_MAX_FILES = 200_000
_MAX_SUBMODULE_DEPTH = 8
_SECONDS = 600.0


def lfs_pointer(data: bytes) -> tuple[str, int] | None:
    """Return the SHA-256 and the size that an LFS pointer file names, or None if it is not a pointer."""
    found = _POINTER.fullmatch(data)
    return (found[1].decode(), int(found[2])) if found else None


class _Archive:
    """A tar that counts, and stops where a workspace would be flooded."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.folder = b""
        """What all that is added lies in, with a slash at its end; empty: the root."""
        self._bytes = 0
        self.files = 0

    def add(self, path: bytes, mode: int, size: int) -> tarfile.TarInfo:
        """Count a file and give its header."""
        self.files += 1
        self._bytes += size
        if self.files > _MAX_FILES or self._bytes > _MAX_BYTES:
            raise RepoError(
                "the ignored, LFS and submodule files for workspaces are too many or too large",
                hint=f"At most {_MAX_FILES} files and {_MAX_BYTES >> 30} GB: narrow `copy_ignored` or {INCLUDE}.",
            )
        member = tarfile.TarInfo(decode(self.folder + path))
        member.mode = mode
        member.size = size
        return member

    def data(self, path: bytes, data: bytes, *, executable: bool = False) -> None:
        """Add a file's bytes."""
        import io

        self._tar.addfile(self.add(path, 0o755 if executable else 0o644, len(data)), io.BytesIO(data))

    def link(self, path: bytes, target: bytes) -> None:
        """Add a symbolic link that a repository holds."""
        member = self.add(path, 0o777, 0)
        member.type = tarfile.SYMTYPE
        member.linkname = decode(target)
        self._tar.addfile(member)

    def file(self, path: bytes, source: bytes) -> bool:
        """Add a regular file from disk; False when it is something else or cannot be read."""
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return False
            mode = 0o755 if found.st_mode & 0o100 else 0o644
            self._tar.addfile(self.add(path, mode, found.st_size), file)
        return True


@dataclass(frozen=True, slots=True)
class CopyRules:
    """Which of the user's ignored files workspaces get."""

    globs: tuple[str, ...] = ()
    """From the user's settings."""
    trusted: bool = False
    """The project is trusted, so that its own `.worktreeinclude` counts: it names files that only the user has."""
    untrusted: frozenset[Path] = frozenset()
    """The roots of those of several repositories that are not, all the same."""

    def has_unused_include(self, root: Path) -> bool:
        """Whether the repository names files that are not copied because it is not trusted."""
        return not self._counts(root) and _is_plain(root / INCLUDE)

    def patterns(self, root: Path) -> bytes:
        """Return what git is asked for, a pattern a line; empty for nothing."""
        patterns = "".join(f"{glob}\n" for glob in self.globs).encode()
        if self._counts(root) and _is_plain(root / INCLUDE):
            patterns += (root / INCLUDE).read_bytes().removeprefix(codecs.BOM_UTF8)
        return patterns

    def _counts(self, root: Path) -> bool:
        return self.trusted and root not in self.untrusted


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@dataclass(frozen=True, slots=True)
class ExtraSource:
    """Where the files come from: a repository at a commit, and the folder of the workspace that it is."""

    places: Places
    commit: CommitId
    folder: str = ""
    """Empty: the workspace itself."""


def write_extras(hub: Hub, sources: Sequence[ExtraSource], rules: CopyRules, tar_path: Path) -> bool:
    """Write the tar; False when nothing is in it.

    Raises:
        RepoError: it would be too large.
    """
    with tarfile.open(tar_path, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        archive = _Archive(tar)
        for source in sources:
            if source.places.bare:
                continue
            archive.folder = f"{source.folder}/".encode() if source.folder else b""
            _add_all(archive, hub, source, rules, tar_path)
    return archive.files > 0


def _add_all(archive: _Archive, hub: Hub, source: ExtraSource, rules: CopyRules, tar_path: Path) -> None:
    places, files = source.places, list(hub.files(source.commit))
    for path in ignored_files(hub.runner, places, rules, tar_path):
        archive.file(path, os.path.join(os.fsencode(places.root), path))  # noqa: PTH118 - bytes
    if any(path.split(b"/")[-1] == b".gitattributes" for path, _, _ in files):
        _add_lfs(archive, hub, places, files)
    for path, mode, _ in files:
        if mode == "160000":
            _add_submodule(archive, hub.runner, places.root, path, 1)


def ignored_files(runner: GitRunner, places: Places, rules: CopyRules, beside: Path) -> list[bytes]:
    """Return the ignored files that the rules name, matched by git itself; `beside` is where a file may be written."""
    patterns = rules.patterns(places.root)
    if not patterns.strip():
        return []

    def others(*how: str) -> set[bytes]:
        call = GitCall(
            ("ls-files", "-z", "--others", "--ignored", *how),
            places.git_dir,
            work_tree=places.root,
            excludes_file=places.excludes_file,
        )
        return set(runner.check(call, "ignored files").split(b"\0")[:-1])

    # beside the archive, under a fixed name: what a killed session leaves is overwritten and removed by the next
    file = beside.with_suffix(".patterns")
    try:
        file.write_bytes(patterns)
        asked = others(f"--exclude-from={file}")
    finally:
        file.unlink(missing_ok=True)
    return sorted(asked & others("--exclude-standard")) if asked else []


def _add_lfs(archive: _Archive, hub: Hub, places: Places, files: list[tuple[bytes, str, str]]) -> None:
    deadline = GitDeadline.after(_SECONDS)
    regular = [(path, mode, blob) for path, mode, blob in files if mode in {"100644", "100755"}]
    described = hub.reader.describe([blob for _, _, blob in regular], deadline=deadline)
    small = [
        each for each, found in zip(regular, described, strict=True) if found and 100 < found.size < LFS_POINTER_BYTES
    ]
    contents = hub.reader.read_many([blob for _, _, blob in small], limit_bytes=LFS_POINTER_BYTES, deadline=deadline)
    for (path, mode, _), found in zip(small, contents, strict=True):
        pointer = lfs_pointer(found.data) if found is not None and found.data is not None else None
        if pointer is None:
            continue
        name, size = pointer
        stored = places.common_dir / "lfs" / "objects" / name[:2] / name[2:4] / name
        if not stored.is_file() or stored.stat().st_size != size or size > _MAX_BYTES:
            continue
        data = stored.read_bytes()
        if hashlib.sha256(data).hexdigest() == name:
            archive.data(path, data, executable=mode == "100755")


def _add_submodule(archive: _Archive, runner: GitRunner, root: Path, path: bytes, level: int) -> None:
    """Add the files of the commit that the user has checked out in a submodule, and of those inside it."""
    work_tree = root / os.fsdecode(path)
    git_dir = _git_dir(work_tree)
    if git_dir is None or level > _MAX_SUBMODULE_DEPTH:
        return
    listing = runner.run(GitCall(("ls-tree", "-r", "-z", "--full-tree", "HEAD"), git_dir))
    if not listing.ok:
        return
    entries = list(_entries(listing.out))
    with ObjectReader(runner, git_dir) as reader:
        wanted = [blob for _, mode, blob in entries if mode != "160000"]
        contents = reader.read_many(wanted, limit_bytes=_MAX_BYTES, deadline=GitDeadline.after(_SECONDS))
        for inner, mode, _ in entries:
            if mode == "160000":
                continue
            found = next(contents)
            if found is None or found.data is None:
                continue
            if mode == "120000":
                archive.link(path + b"/" + inner, found.data)
            else:
                archive.data(path + b"/" + inner, found.data, executable=mode == "100755")
    for inner, mode, _ in entries:
        if mode == "160000":
            _add_submodule(archive, runner, root, path + b"/" + inner, level + 1)


def _git_dir(work_tree: Path) -> Path | None:
    marker = work_tree / ".git"
    if marker.is_dir():
        return marker
    if not marker.is_file():
        return None
    text = os.fsdecode(marker.read_bytes()[:8192]).strip()
    if not text.startswith("gitdir: "):
        return None
    return (work_tree / text.removeprefix("gitdir: ")).resolve()


def _entries(listing: bytes) -> Iterator[tuple[bytes, str, str]]:
    for line in listing.split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, _, object_id = facts.decode().split(" ")
        yield path, mode, object_id
