"""File requests, confined to the workspace whatever links an agent makes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .protocol import RequestRefused


class Workspace:
    """The folder that file requests are confined to."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)

    def resolve(self, path: str) -> str:
        """Return the real path, links followed; it lies inside the workspace."""
        if "\0" in path:
            raise RequestRefused("value", "a path cannot hold a NUL")
        real = os.path.realpath(os.path.join(self.root, path))
        self.check(real, path)
        return real

    def check(self, real: str, path: str) -> None:
        if real != self.root and not real.startswith(self.root + "/"):
            raise RequestRefused("value", f"{path} lies outside the workspace")

    def check_open(self, descriptor: int, path: str) -> None:
        """Look at what was really opened: a link may have changed since the path was resolved."""
        self.check(os.readlink(f"/proc/self/fd/{descriptor}"), path)

    def read(self, path: str, limit: int) -> bytes | None:
        real = self.resolve(path)
        try:
            # without O_NONBLOCK a FIFO would hold this program up
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise RequestRefused("value", f"{path} is not a regular file") from error
            raise
        try:
            self.check_open(descriptor, path)
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise RequestRefused("value", f"{path} is not a regular file")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            size = max(state.st_size, len(data))
            raise RequestRefused("value", f"{path} has {size} bytes, more than the {limit} allowed")
        return data

    def open_parent(self, real: str, path: str, *, create: bool) -> int:
        parent = os.path.dirname(real)
        if create:
            os.makedirs(parent, exist_ok=True)
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.check_open(descriptor, path)
        except RequestRefused:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, path: str, data: bytes, *, executable: bool | None) -> None:
        real = self.resolve(path)
        name = os.path.basename(real)
        if real == self.root or path.endswith("/") or os.path.isdir(real):
            raise RequestRefused("value", f"{path} names a folder")
        try:
            parent = self.open_parent(real, path, create=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RequestRefused("value", f"a part of {path} is a file, not a folder") from error
        temporary = f".{name[:200]}.codexteam-{os.getpid()}"
        try:
            mode = 0o644
            try:
                before = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                before = None
            if before is not None:
                if not stat.S_ISREG(before.st_mode):
                    raise RequestRefused("value", f"{path} is not a regular file")
                mode = before.st_mode & 0o777
            if executable is not None:
                mode = mode | 0o111 if executable else mode & ~0o111
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.suppress(FileNotFoundError):  # left by an earlier server of this sandbox
                os.unlink(temporary, dir_fd=parent)
            descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    os.fchmod(descriptor, mode)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
        finally:
            os.close(parent)

    def delete(self, path: str) -> None:
        if "\0" in path:
            raise RequestRefused("value", "a path cannot hold a NUL")
        joined = os.path.join(self.root, path).rstrip("/")
        name = os.path.basename(joined)
        real_parent = os.path.realpath(os.path.dirname(joined))
        self.check(real_parent, path)
        if joined == self.root or name in ("", ".", ".."):
            raise RequestRefused("value", f"{path} names a folder")
        try:
            parent = self.open_parent(os.path.join(real_parent, name), path, create=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except IsADirectoryError as error:
            raise RequestRefused("value", f"{path} names a folder") from error
        finally:
            os.close(parent)
