"""The folder of a run, on disk; and plan.md at the root of the user's work tree."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from codexteam.errors import StoreError
from codexteam.system.fault_points import reach

#: The name of the plan's file.
PLAN_NAME = "plan.md"
#: How often a file is written whose folder is there, and which somebody else removes meanwhile.
_TRIES = 5


class DiskRunFiles:
    """The RunFiles port. Files are replaced whole: a crash leaves the old one or the new one."""

    def __init__(self, state_dir: Path, run_id: str, *, plan_root: Path, redact: Callable[[str], str]) -> None:
        """Use `state_dir/runs/<run_id>`, made if need be; plan.md lies in `plan_root`."""
        self._folder = state_dir / "runs" / run_id
        self._plan = plan_root / PLAN_NAME
        self._redact = redact
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # not in the user's work tree, where their `git stash -u` would see it come and go
        self._new_plan = _new_name(self._folder / PLAN_NAME)
        for left in (_new_name(self._plan), self._new_plan):  # by a killed session
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return self._folder

    def attempt_folder(self, task_id: str, attempt: int) -> Path:
        """Return the folder of an attempt, made if need be."""
        folder = self._folder / "tasks" / task_id / str(attempt)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, self._redact(text), mode=0o600)
        return path

    def write_plan(self, text: str) -> None:
        """Replace plan.md, unless it says that already."""
        text = self._redact(text)
        if self.read_plan() != text:
            replace_file(self._plan, text, mode=0o644, new=self._new_plan)

    def read_plan(self) -> str | None:
        """Return plan.md's text; None when there is none.

        Raises:
            StoreError: it is there and cannot be read as UTF-8 text.
        """
        return read_plan_file(self._plan)


def read_plan_file(path: Path) -> str | None:
    """Return a plan file's text; None when there is none.

    Raises:
        StoreError: it is there and cannot be read as UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path}: byte {error.start} is not UTF-8", hint="save it as UTF-8, or move it away"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="it must be a file that you may read and write") from error


def replace_file(path: Path, text: str, *, mode: int, new: Path | None = None) -> None:
    """Write a file whole or not at all: a temporary one, on disk, then renamed over it.

    The temporary one is `new`, where that is on the same file system, else one beside it. A link is not followed:
    its name becomes the file. Lone surrogates are written as visible escapes. A user's `git stash -u` or `git
    clean` may take either file away at any moment: then it is written once more.

    Raises:
        StoreError: the folder cannot be written.
    """
    for left in reversed(range(_TRIES)):
        try:
            _replace(path, text, mode, new or _new_name(path))
            return
        except OSError as error:
            with contextlib.suppress(OSError):  # where nothing can be written, nothing can be removed
                (new or _new_name(path)).unlink(missing_ok=True)
            if new is not None and error.errno == errno.EXDEV:
                new = None
                continue
            if left and isinstance(error, FileNotFoundError) and path.parent.is_dir():
                continue
            full = "make room and run `codexteam resume`" if error.errno == 28 else "the folder must be writable"
            raise StoreError(f"{path}: {error.strerror}", hint=full) from error


def _replace(path: Path, text: str, mode: int, temporary: Path) -> None:
    kept = stat.S_IMODE(path.lstat().st_mode) if path.is_file() and not path.is_symlink() else mode
    with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.chmod(kept)
    reach("file.replace.before")
    temporary.replace(path)
    reach("file.replace.after")
    _sync_folder(path.parent)


def _new_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.codexteam-new")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
