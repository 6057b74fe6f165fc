"""Files: the server's own, read and written whole; the beginning of what anybody may have put there; archives that come in."""

from __future__ import annotations

import os
import stat

from .protocol import RequestRefused


def read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_file(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_some(path: str | bytes) -> bytes:
    """Return the beginning of a regular file; nothing of anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1 << 20) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def listing(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def extract_tar(descriptor: int, root: str, only: str | None) -> list[str]:
    """Unpack files, folders and links of a tar that codexteam wrote; give the names of files and links."""
    import shutil
    import tarfile

    names = []
    with os.fdopen(os.dup(descriptor), "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            name = os.path.normpath(member.name)
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or (only is not None and parts[0] != only):
                raise RequestRefused("value", f"the archive holds {member.name!r}")
            path = os.path.join(root, name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            if member.issym():
                os.symlink(member.linkname, path)
            elif member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                mode = 0o755 if member.mode & 0o111 else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(path, flags, mode), "wb") as file:
                    shutil.copyfileobj(source, file)
            else:
                continue
            names.append(name)
    return names
