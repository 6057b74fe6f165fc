"""Tells folders of a base that nothing was written in, so that a snapshot looks only where something was.

Most workspaces are overlays over a base that never changes. Whatever is written below a folder of the base, the kernel
first makes copies of that folder and of all above it in the upper layer; a copy has a time of last change of its own, which
no command can set. So a folder that still has the time it had when the base was sealed has nothing in it, however deep,
but what the base has. It may have been moved there from elsewhere, by a renamed folder above it: therefore each folder of a
base is given a modification time that no other has.

In a workspace that is no overlay, a write leaves the folder's times alone: there, and in a copy of a base, no folder counts
as untouched.
"""

from __future__ import annotations

import json
import os

from .files import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: In a base's `.git`, and in the server's own git folder.
FOLDERS = "codexteam-folders.json"
_MOUNTS = "/proc/self/mountinfo"


class FolderMarks:
    """The times of the folders of a base, as they were when it was sealed: last writing and last change."""

    def __init__(self, times: dict[bytes, tuple[int, int]]) -> None:
        self.times = times

    def is_untouched(self, path: bytes, state: os.stat_result) -> bool:
        """Whether a folder of an overlay is the base's, with all that is in it."""
        return self.times.get(path) == (state.st_mtime_ns, state.st_ctime_ns)


def mark_folders(root: bytes, files: Iterable[bytes], seconds: int) -> FolderMarks:
    """Give each folder that these files are in a time of its own within a second, and return all times.

    None is marked where the file system keeps no times that fine.
    """
    folders = sorted({folder for file in files for folder in _above(file)})
    times: dict[bytes, tuple[int, int]] = {}
    for number, folder in enumerate(folders):
        full = os.path.join(root, folder)
        if number < 1_000_000_000 and os.path.isdir(full) and not os.path.islink(full):
            written_ns = seconds * 1_000_000_000 + number
            os.utime(full, ns=(written_ns, written_ns))
            state = os.lstat(full)
            if state.st_mtime_ns != written_ns:
                return FolderMarks({})
            times[folder] = state.st_mtime_ns, state.st_ctime_ns
    return FolderMarks(times)


def _above(file: bytes) -> Iterable[bytes]:
    at = file.rfind(b"/")
    while at > 0:
        yield file[:at]
        at = file.rfind(b"/", 0, at)


def write_marks(path: str, marks: FolderMarks) -> None:
    """Keep what `read_marks` reads."""
    write_file(path, json.dumps([[os.fsdecode(name), *times] for name, times in marks.times.items()]).encode())


def read_marks(path: str, workspace: str) -> FolderMarks:
    """Return the marks of a workspace's base; none where the workspace is no overlay, and where there are none."""
    if not os.path.exists(path) or not is_overlay(workspace):
        return FolderMarks({})
    rows = json.loads(read_file(path).decode())
    return FolderMarks({os.fsencode(name): (written_ns, changed_ns) for name, written_ns, changed_ns in rows})


def is_overlay(folder: str) -> bool:
    """Whether a folder is where an overlay is mounted (proc(5): of two mounts on one place, the later is seen)."""
    kind = b""
    for line in read_file(_MOUNTS).splitlines():
        mount, _, source = line.partition(b" - ")
        if _plain(mount.split(b" ")[4]) == os.fsencode(folder):
            kind = source.split(b" ")[0]
    return kind == b"overlay"


def _plain(place: bytes) -> bytes:
    """Return a path of that file as it is: blanks, tabs, line ends and backslashes stand there in octal digits."""
    for code in (b"040", b"011", b"012", b"134"):
        place = place.replace(b"\\" + code, bytes([int(code, 8)]))
    return place
