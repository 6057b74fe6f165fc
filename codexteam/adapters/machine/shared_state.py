"""A state folder that a group of the machine's accounts may read, and a box in it for what they ask.

The owner's process alone writes the state. Others put letters into the box, each a file of its own: who wrote one is what the
kernel says of the file's owner. They cannot list the box, and neither replace nor remove what others put there.
"""

import contextlib
import grp
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.machine.lock import LOCK_PREFIX
from codexteam.adapters.machine.person import name_of
from codexteam.adapters.store.journal import EVENTS_NAME
from codexteam.errors import ConfigError, StoreError

_BOX = "asked"
_STORE_FILES = ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm")
_MOST_BYTES = 256 << 10
#: What `post` calls a letter.
_NAME = re.compile(r"[0-9a-f]{16}")
#: What a letter is called while it is written.
_UNFINISHED = "."


def group_id(name: str) -> int:
    """Return a group's number.

    Raises:
        ConfigError: there is none, or this account is not in it, so that it cannot give it anything.
    """
    try:
        found = grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(
            f"[codexteam.access] group: this machine has no group {name!r}", hint="`getent group` lists them"
        ) from None
    if os.geteuid() != 0 and found not in {os.getegid(), *os.getgroups()}:
        raise ConfigError(
            f"[codexteam.access] group: you are not in the group {name!r}",
            hint=f"have an administrator add you (usermod -aG {name} ...), and sign in again",
        )
    return found


@dataclass(frozen=True, slots=True)
class Letter:
    """What somebody put into the box."""

    name: str
    by: str
    """The account that the file belongs to."""
    text: str


class SharedState:
    """The owner's side."""

    def __init__(self, state_dir: Path, run_folder: Path, group: int, *, takes_requests: bool) -> None:
        """Nothing is changed yet; with `takes_requests` the group gets a box."""
        self._state_dir = state_dir
        self._run_folder = run_folder
        self._group = group
        self._box = state_dir / _BOX if takes_requests else None

    def open_up(self) -> None:
        """Let the group read the store, locks and the run's events; what is right already is not touched.

        Raises:
            StoreError: that is not ours to change.
        """
        try:
            wanted = dict(self._wanted())
            # before anybody gets into the folders, what else is in them is closed: some was made as the umask says
            for folder in (self._state_dir, self._run_folder.parent, self._run_folder):
                for path in folder.iterdir() if folder.is_dir() else ():
                    if path not in wanted:
                        _close(path)
            for path, mode in wanted.items():
                with contextlib.suppress(FileNotFoundError):  # not made yet, or gone again
                    self._give(path, mode)
        except OSError as error:
            raise StoreError(
                f"{error.filename}: the group cannot be given it: {error.strerror}",
                hint="the state folder must belong to who runs it; or take [codexteam.access] out",
            ) from error

    def _wanted(self) -> Iterator[tuple[Path, int]]:
        # what is made in it later gets the group
        yield self._state_dir, 0o2750
        for name in _STORE_FILES:
            yield self._state_dir / name, 0o640
        for lock in self._state_dir.glob(f"{LOCK_PREFIX}*"):
            yield lock, 0o640
        yield self._run_folder.parent, 0o2750
        yield self._run_folder, 0o2750
        yield self._run_folder / EVENTS_NAME, 0o640
        if self._box is not None:
            self._box.mkdir(mode=0o700, exist_ok=True)
            yield self._box, 0o3730

    def _give(self, path: Path, mode: int) -> None:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return
        if found.st_gid != self._group:
            os.chown(path, -1, self._group, follow_symlinks=False)
        if stat.S_IMODE(found.st_mode) != mode:
            path.chmod(mode)

    def letters(self) -> list[Letter]:
        """Return what waits in the box, oldest first."""
        if self._box is None:
            return []
        entries = [entry for entry in self._box.iterdir() if not entry.name.startswith(_UNFINISHED)]
        found = [letter for letter in map(_read, entries) if letter is not None]
        return [letter for _, letter in sorted(found, key=lambda pair: (pair[0], pair[1].name))]

    def remove(self, letter: Letter) -> None:
        """Take a letter out of the box, which is how its writer sees that it was read."""
        if self._box is not None:
            (self._box / letter.name).unlink(missing_ok=True)


def _close(path: Path) -> None:
    """Take what groups and others may do with a file or folder away."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077 and not stat.S_ISLNK(found.st_mode):
            path.chmod(mode & ~0o077)


def _read(path: Path) -> tuple[int, Letter] | None:
    """Return when a letter was written, and the letter; what is none is removed."""
    if not _NAME.fullmatch(path.name):  # the name is stored with the request, which takes not every one
        _discard(path)
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        _discard(path)
        return None
    try:
        found = os.fstat(descriptor)
        # another name of somebody else's file would make them the writer
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size > _MOST_BYTES:
            _discard(path)
            return None
        text = os.read(descriptor, _MOST_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
    return found.st_mtime_ns, Letter(path.name, name_of(found.st_uid), text)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def close_up(state_dir: Path) -> None:
    """Take back what a group was given earlier; a folder that never was shared is left as it is."""
    box = state_dir / _BOX
    with contextlib.suppress(OSError):
        if stat.S_IMODE(state_dir.stat().st_mode) == 0o2750:
            state_dir.chmod(0o700)
        if box.is_dir() and not box.is_symlink():
            shutil.rmtree(box)


def may_only_post(state_dir: Path) -> bool:
    """Return whether this account does not own the state and may put letters into its box."""
    box = state_dir / _BOX
    return not os.access(state_dir / _STORE_FILES[0], os.W_OK) and os.access(box, os.W_OK | os.X_OK)


def post(state_dir: Path, text: str) -> str:
    """Put a letter into the box; give its name.

    Raises:
        StoreError: it cannot be written.
    """
    name = secrets.token_hex(8)
    path = state_dir / _BOX / name
    new = path.with_name(f"{_UNFINISHED}{name}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)  # whatever the umask is: nobody else gets into the folder
            file.write(text)
        new.rename(path)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}", hint="may you write into it? `codexteam status` works without"
        ) from error
    return name


def is_posted(state_dir: Path, name: str) -> bool:
    """Return whether a letter still waits in the box."""
    return (state_dir / _BOX / name).exists()
