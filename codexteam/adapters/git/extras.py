"""Files that a workspace needs and git does not give: ignored files asked for, LFS objects, submodules.

All are read by us from the user's own places: regular files only, links not followed, no filter run.
"""

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.places import Places
from codexteam.adapters.git.runner import Call, Deadline, GitRunner
from codexteam.core.ids import CommitId
from codexteam.core.paths import decode
from codexteam.errors import RepoError

#: A pointer is three short lines; git-lfs itself takes nothing of this size or more for one.
LFS_POINTER_BYTES = 1024
_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_INCLUDE = ".worktreeinclude"
_MAX_BYTES = 2 << 30
_MAX_FILES = 200_000
_MAX_SUBMODULE_DEPTH = 8
_SECONDS = 600.0


def lfs_pointer(data: bytes) -> tuple[str, int] | None:
    """Give the SHA-256 and the size that an LFS pointer file names, or None when it is none."""
    found = _POINTER.fullmatch(data)
    return (found[1].decode(), int(found[2])) if found else None


class _Archive:
    """A tar that counts, and stops where a workspace would be flooded."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._bytes = 0
        self.files = 0

    def add(self, path: bytes, mode: int, size: int) -> tarfile.TarInfo:
        """Count a file and give its header."""
        self.files += 1
        self._bytes += size
        if self.files > _MAX_FILES or self._bytes > _MAX_BYTES:
            raise RepoError(
                "the ignored, LFS and submodule files for workspaces are too many or too large",
                hint=f"At most {_MAX_FILES} files and {_MAX_BYTES >> 30} GB: narrow `copy_ignored` or {_INCLUDE}.",
            )
        member = tarfile.TarInfo(decode(path))
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


def write_extras(hub: Hub, places: Places, commit: CommitId, copy_ignored: Sequence[str], tar_path: Path) -> bool:
    """Write the tar; False when nothing is in it.

    Raises:
        RepoError: it would be too large.
    """
    files = list(hub.files(commit))
    with tarfile.open(tar_path, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        archive = _Archive(tar)
        for path in _ignored(hub.runner, places, copy_ignored, tar_path):
            archive.file(path, os.path.join(os.fsencode(places.root), path))  # noqa: PTH118 - bytes
        if any(path.split(b"/")[-1] == b".gitattributes" for path, _, _ in files):
            _add_lfs(archive, hub, places, files)
        for path, mode, _ in files:
            if mode == "160000":
                _add_submodule(archive, hub.runner, places.root, path, 1)
    return archive.files > 0


def _ignored(runner: GitRunner, places: Places, copy_ignored: Sequence[str], beside: Path) -> list[bytes]:
    """Give the ignored files that configuration or `.worktreeinclude` names, matched by git itself."""
    include = places.root / _INCLUDE
    patterns = "".join(f"{glob}\n" for glob in copy_ignored).encode()
    if include.is_file() and not include.is_symlink():
        patterns += include.read_bytes()
    if not patterns.strip():
        return []

    def others(*how: str) -> set[bytes]:
        call = Call(
            ("ls-files", "-z", "--others", "--ignored", *how),
            places.git_dir,
            work_tree=places.root,
            excludes_file=places.excludes_file,
        )
        return set(runner.check(call, "ignored files").split(b"\0")[:-1])

    # beside the archive and under one name: what a killed sitting leaves is written over and removed by the next
    file = beside.with_suffix(".patterns")
    try:
        file.write_bytes(patterns)
        asked = others(f"--exclude-from={file}")
    finally:
        file.unlink(missing_ok=True)
    return sorted(asked & others("--exclude-standard")) if asked else []


def _add_lfs(archive: _Archive, hub: Hub, places: Places, files: list[tuple[bytes, str, str]]) -> None:
    deadline = Deadline.after(_SECONDS)
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
    listing = runner.run(Call(("ls-tree", "-r", "-z", "--full-tree", "HEAD"), git_dir))
    if not listing.ok:
        return
    entries = list(_entries(listing.out))
    with ObjectReader(runner, git_dir) as reader:
        wanted = [blob for _, mode, blob in entries if mode != "160000"]
        contents = reader.read_many(wanted, limit_bytes=_MAX_BYTES, deadline=Deadline.after(_SECONDS))
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
