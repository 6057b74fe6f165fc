"""What is not committed in the user's work tree, compared without a change to it or to its index."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import GitCall, GitRunner

_SKIP_WORK_TREE = 0x40000000
_ASSUME_VALID = 0x8000
_INTENT_TO_ADD = 0x20000000
_HASH_BYTES = 64 << 20
_ENTRY = re.compile(
    rb"(\d+) ([0-9a-f]+) (\d)\t([^\0]+)\0"
    rb"  ctime: \d+:\d+\n  mtime: (\d+):(\d+)\n  dev: \d+\tino: \d+\n  uid: \d+\tgid: \d+\n"
    rb"  size: (\d+)\tflags: ([0-9a-f]+)\n"
)


@dataclass(frozen=True, slots=True)
class WorkTreeState:
    """What is not committed."""

    changed: int
    """Tracked files that differ from HEAD, in the index or in the work tree."""
    untracked: int
    """Files that git neither tracks nor ignores, folders counted once."""
    sparse: int
    """Tracked files that the user chose not to check out."""

    @property
    def dirty(self) -> bool:
        """Whether anything would be left out of a run."""
        return bool(self.changed or self.untracked)


@dataclass(frozen=True, slots=True)
class _Indexed:
    mode: bytes
    id: str
    path: bytes
    seconds: int
    nanoseconds: int
    size: int
    flags: int


def work_tree_state(
    runner: GitRunner, places: Places, head_files: dict[bytes, tuple[str, str]], plan: bytes
) -> WorkTreeState:
    """Compare HEAD, index and files.

    Args:
        runner: calls git.
        places: the repository; not a bare one.
        head_files: path to mode and blob id at HEAD.
        plan: a path that does not count, because codexteam itself writes it.
    """
    listed = runner.check(
        GitCall(("ls-files", "--stage", "--debug", "-z"), places.git_dir, work_tree=places.root), "the index"
    )
    indexed = {found[4]: _indexed(found) for found in _ENTRY.finditer(listed)}
    sparse = sum(bool(entry.flags & _SKIP_WORK_TREE) for entry in indexed.values())
    changed = {path for path in head_files if path not in indexed}
    for path, entry in indexed.items():
        committed = head_files.get(path)
        if committed != (entry.mode.decode(), entry.id) or _differs(places.root, entry, places.object_format):
            changed.add(path)
    others = runner.check(
        GitCall(
            ("ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory", "-z"),
            places.git_dir,
            work_tree=places.root,
            excludes_file=places.excludes_file,
        ),
        "the work tree",
    ).split(b"\0")[:-1]
    return WorkTreeState(len(changed - {plan}), len([path for path in others if path != plan]), sparse)


def _indexed(found: re.Match[bytes]) -> _Indexed:
    mode, object_id, _, path, seconds, nanoseconds, size, flags = found.groups()
    return _Indexed(mode, object_id.decode(), path, int(seconds), int(nanoseconds), int(size), int(flags, 16))


def _differs(root: Path, entry: _Indexed, object_format: str) -> bool:
    if entry.flags & _INTENT_TO_ADD:
        return True
    if entry.mode == b"160000" or entry.flags & (_SKIP_WORK_TREE | _ASSUME_VALID):
        return False  # what a submodule holds is not looked into
    path = os.path.join(os.fsencode(root), entry.path)  # noqa: PTH118 - a path of bytes
    try:
        found = os.lstat(path)
    except OSError:
        return True
    if entry.mode == b"120000":
        return not stat.S_ISLNK(found.st_mode) or _id(os.readlink(path), object_format) != entry.id  # noqa: PTH115
    if not stat.S_ISREG(found.st_mode) or bool(found.st_mode & 0o100) != (entry.mode == b"100755"):
        return True
    noted = (entry.seconds, entry.nanoseconds)
    if entry.size == found.st_size & 0xFFFFFFFF and noted == divmod(found.st_mtime_ns, 1_000_000_000):
        return False
    if found.st_size > _HASH_BYTES:
        return True
    try:
        data = Path(os.fsdecode(path)).read_bytes()
    except OSError:
        return True
    return _id(data, object_format) != entry.id


def _id(data: bytes, object_format: str) -> str:
    # git's own name for the content, not a protection
    digest = hashlib.new(object_format, b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()
