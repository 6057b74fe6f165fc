"""A patch applied in a sandbox: read what it names, decide, then write. All of it or nothing."""

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from codexteam.agent.patch.apply import (
    AppliedPatch,
    FileState,
    OutsideWorkspace,
    Unreadable,
    apply_hunks,
    paths_of,
    resolve_path,
)
from codexteam.agent.patch.invocation import advice
from codexteam.agent.patch.parse import Hunk, NotAPatch, UpdateFile, parse_patch
from codexteam.ports.sandbox import WORKSPACE


class PatchRefused(Exception):  # noqa: N818 - it is the model's problem, not ours
    """A patch that cannot be applied as it is; its text goes back to the model."""


#: Stricter than what is accepted: a model that is held to a grammar has no need of tolerance.
GRAMMAR = r"""start: opening file+ closing
opening: "*** Begin Patch" NEWLINE
closing: "*** End Patch" NEWLINE?

file: added | deleted | updated
added: "*** Add File: " NAME NEWLINE ADDED_LINE+
deleted: "*** Delete File: " NAME NEWLINE
updated: "*** Update File: " NAME NEWLINE moved? first_chunk chunk*
moved: "*** Move to: " NAME NEWLINE

first_chunk: ANCHOR? LINE+ end_of_file?
chunk: ANCHOR LINE+ end_of_file?
end_of_file: "*** End of File" NEWLINE

NAME: /[^\n]+/
ANCHOR: /@@( [^\n]+)?\n/
ADDED_LINE: /\+[^\n]*\n/
LINE: /[-+ ][^\n]*\n/
NEWLINE: /\n/
"""


#: The largest file that is patched. Both it and the patched one are in memory at once.
_FILE_LIMIT_BYTES = 32 << 20


class WorkspaceFiles(Protocol):
    """The part of a sandbox that a patch needs."""

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """As `Sandbox.read_file`."""
        ...

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None = None) -> None:
        """As `Sandbox.write_file`."""
        ...


async def apply_patch(patch_text: str, sandbox: WorkspaceFiles, *, folder: str = WORKSPACE) -> str:
    """Apply a patch in the workspace and give Codex's list of what it changed.

    A patch that does not fit writes nothing, also where Codex's program would leave the files of the hunks before the
    one that failed. A write that fails is undone with those before it.

    Args:
        patch_text: the patch.
        sandbox: where the files are.
        folder: what its relative paths start from.

    Raises:
        PatchRefused: it is not a patch, does not fit, or cannot be written; the message is Codex's own, and for a near miss
            the right form behind it.
        SandboxLost: the sandbox went away.
    """
    hunks = parse_patch(patch_text)
    if isinstance(hunks, NotAPatch):
        raise PatchRefused(_with_advice(patch_text, hunks.message))
    hunks = hunks if posixpath.normpath(folder) == WORKSPACE else tuple(_placed(hunk, folder) for hunk in hunks)
    files: dict[str, FileState] = {}
    for named in paths_of(hunks):
        path = resolve_path(named, root=WORKSPACE)
        if path and not isinstance(path, OutsideWorkspace) and "\0" not in path and path not in files:
            files[path] = await _read(path, sandbox)
    applied = apply_hunks(hunks, files, root=WORKSPACE)
    if not isinstance(applied, AppliedPatch):
        raise PatchRefused(_with_advice(patch_text, applied.message))
    await _write_all(applied.writes, files, sandbox)
    return applied.text


def _with_advice(patch_text: str, message: str) -> str:
    said = advice(patch_text, message)
    return f"{message}\n{said}" if said else message


def _placed(hunk: Hunk, folder: str) -> Hunk:
    """Return a hunk with its paths as they are from the workspace's root."""
    path = posixpath.join(folder, hunk.path)
    if isinstance(hunk, UpdateFile):
        move_to = None if hunk.move_to is None else posixpath.join(folder, hunk.move_to)
        return replace(hunk, path=path, move_to=move_to)
    return replace(hunk, path=path)


async def _read(path: str, sandbox: WorkspaceFiles) -> FileState:
    try:
        return await sandbox.read_file(path, limit_bytes=_FILE_LIMIT_BYTES)
    except ValueError as error:
        return Unreadable(str(error))


async def _write_all(
    writes: Mapping[str, bytes | None], before: Mapping[str, FileState], sandbox: WorkspaceFiles
) -> None:
    written: list[str] = []
    for path, data in writes.items():
        if before.get(path) == data:
            continue
        try:
            await sandbox.write_file(path, data)
        except (ValueError, OSError) as error:
            await _undo(written, before, sandbox)
            raise PatchRefused(
                f"Failed to write file {WORKSPACE}/{path}: {_why(error)}. No file was changed."
            ) from error
        written.append(path)


def _why(error: ValueError | OSError) -> str:
    """Say what is wrong with a file of the sandbox, without the system's number for it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def _undo(written: list[str], before: Mapping[str, FileState], sandbox: WorkspaceFiles) -> None:
    for path in reversed(written):
        state = before.get(path)
        await sandbox.write_file(path, None if isinstance(state, Unreadable) else state)
