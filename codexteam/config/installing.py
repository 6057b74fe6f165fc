"""Puts files in place: all or none of them, never over a file that is there unless asked, and then with a backup."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codexteam.config.starter import StarterFile
from codexteam.errors import ConfigError


class Action(StrEnum):
    """What became of one file."""

    WROTE = "wrote"
    REPLACED = "replaced"
    """A backup of what was there is kept."""
    UNCHANGED = "unchanged"
    """It was there with the same bytes."""
    KEPT = "kept"
    """It was there, is different, and was left alone."""


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file and what became of it."""

    path: Path
    action: Action
    replaceable: bool
    backup: Path | None = None


@dataclass(slots=True)
class _Step:
    """A file on its way to its place."""

    path: Path
    """Where it goes, links followed, so that a linked file stays one."""
    shown: Path
    data: bytes
    action: Action
    replaceable: bool
    staged: Path | None = None
    backup: Path | None = None
    done: bool = False


def install(
    files: Sequence[StarterFile], folder: Path, *, force: bool = False, within: Path | None = None
) -> tuple[InstalledFile, ...]:
    """Write `files` into `folder`, which is made when it is not there.

    Everything is checked and written beside its place first, then renamed; when that fails, what was there before is
    put back.

    Args:
        files: What to write.
        folder: Absolute.
        force: Replace files that differ, keeping `NAME.bak`, `NAME.bak2`, ... of them.
        within: A folder that nothing may be written outside of, links followed.

    Raises:
        ConfigError: something is in the way or may not be written; nothing has been changed.
    """
    made: list[Path] = []
    steps: list[_Step] = []
    try:
        steps.extend(_step(file, folder, force=force, within=within) for file in files)
        writing = [step for step in steps if step.action in (Action.WROTE, Action.REPLACED)]
        for step in writing:
            _make_folders(step.path.parent, made, private=folder if within is None else None)
            step.staged = _stage(step)
        for step in writing:
            _put_in_place(step)
    except OSError as error:
        _undo(steps, made)
        where = error.filename or folder
        raise ConfigError(
            f"{where}: cannot be written: {error.strerror or error}; nothing was changed",
            hint=f"make {folder} a folder that you may write, or set CODEX_HOME to one",
        ) from error
    return tuple(InstalledFile(step.shown, step.action, step.replaceable, step.backup) for step in steps)


def _step(file: StarterFile, folder: Path, *, force: bool, within: Path | None) -> _Step:
    shown = folder / file.name
    path = Path(os.path.realpath(shown))  # unlike Path.resolve it does not raise where links lead in a circle
    if within is not None and not path.is_relative_to(within.resolve()):
        raise ConfigError(
            f"{shown}: a link leads out of {within}, to {path}", hint="remove the link, then run the command again"
        )
    if path.exists() and not path.is_file():
        raise ConfigError(f"{shown} is not a regular file, so no file can be written there", hint="move it away first")
    data = file.text.encode()
    if not path.exists():
        action = Action.WROTE
    elif path.read_bytes() == data:
        action = Action.UNCHANGED
    else:
        action = Action.REPLACED if force and file.replaceable else Action.KEPT
    return _Step(path, shown, data, action, file.replaceable)


def _make_folders(folder: Path, made: list[Path], *, private: Path | None) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        # a Codex home will hold credentials; a project's folder is shared
        path.mkdir(mode=0o700 if path == private else 0o777)
        made.append(path)


def _stage(step: _Step) -> Path:
    staged = step.path.with_name(f".{step.path.name}.codexteam-new")
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    step.staged = staged
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(step.data)
        file.flush()
        os.fsync(file.fileno())
    if step.action is Action.REPLACED:
        shutil.copymode(step.path, staged)
    return staged


def _put_in_place(step: _Step) -> None:
    if step.action is Action.REPLACED:
        step.backup = _back_up(step.path)
    if step.staged is not None:
        step.staged.replace(step.path)
        step.done = True


def _back_up(path: Path) -> Path:
    """Copy a file beside itself under a name that is free."""
    number = 1
    while True:
        backup = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(handle, "wb") as copy:
            copy.write(path.read_bytes())
            copy.flush()
            os.fsync(copy.fileno())
        shutil.copystat(path, backup)
        return backup


def _undo(steps: Sequence[_Step], made: Sequence[Path]) -> None:
    """Put back what was there; whatever still fails is left as it is, since the first error is the one to report."""
    for step in steps:
        with contextlib.suppress(OSError):
            if step.staged is not None and not step.done:
                step.staged.unlink(missing_ok=True)
            if step.done and step.backup is None:
                step.path.unlink()
            if step.done and step.backup is not None:
                step.backup.replace(step.path)
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            folder.rmdir()
