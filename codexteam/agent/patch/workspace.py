"""A patch applied in a sandbox: read what it names, decide, then write. All of it or nothing."""

from collections.abc import Mapping
from typing import Protocol

from codexteam.agent.tools.tool import ToolProblem
from codexteam.core.patch.apply import (
    Applied,
    FileState,
    OutsideWorkspace,
    Unreadable,
    apply_hunks,
    paths_of,
    resolve_path,
)
from codexteam.core.patch.parse import NotAPatch, parse_patch
from codexteam.ports.sandbox import WORKSPACE

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


async def apply_patch(patch_text: str, sandbox: WorkspaceFiles) -> str:
    """Apply a patch in the workspace and give Codex's list of what it changed.

    A patch that does not fit writes nothing, also where Codex's program would leave the files of the hunks before the
    one that failed. A write that fails is undone with those before it.

    Raises:
        ToolProblem: it is no patch, does not fit, or cannot be written; the message is Codex's own.
        SandboxLost: the sandbox went away.
    """
    hunks = parse_patch(patch_text)
    if isinstance(hunks, NotAPatch):
        raise ToolProblem(hunks.message)
    files: dict[str, FileState] = {}
    for named in paths_of(hunks):
        path = resolve_path(named, root=WORKSPACE)
        if path and not isinstance(path, OutsideWorkspace) and "\0" not in path and path not in files:
            files[path] = await _read(path, sandbox)
    applied = apply_hunks(hunks, files, root=WORKSPACE)
    if not isinstance(applied, Applied):
        raise ToolProblem(applied.message)
    await _write_all(applied.writes, files, sandbox)
    return applied.text


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
            raise ToolProblem(
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
