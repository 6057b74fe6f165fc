"""Where a pack from a sandbox is opened: a bare repository of its own that reads the hub's objects, and is deleted after."""

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from types import TracebackType

from codexteam.adapters.git.hub import Hub, write_bare_repository
from codexteam.adapters.git.object_files import write_pack
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitResult, ResourceLimits
from codexteam.errors import RepoError

#: What git writes beside the objects of a pack, and more.
_ROOM_BYTES = 1 << 20
#: Objects of together so many bytes are packed here; more are git's work, which stores of large files what changed.
_PACKED_HERE_BYTES = 4 << 20


class PackRefusal(Exception):  # noqa: N818 - an outcome that the intake turns into a violation
    """The pack is not taken; `str()` says why."""


class Quarantine:
    """One attempt's pack, opened apart. A context manager: what is not taken into the hub is gone afterwards."""

    def __init__(self, hub: Hub, folder: Path, deadline: GitDeadline) -> None:
        """Name where quarantines are made, and when this one's time is over."""
        self._hub = hub
        self._folder = folder
        self._deadline = deadline
        self.path = folder
        self.reader = ObjectReader(hub.runner, folder)

    def __enter__(self) -> "Quarantine":
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path = Path(mkdtemp(prefix="q-", dir=self._folder))
            write_bare_repository(
                self.path, self._hub.object_format, alternates=[self._hub.path / "objects"], shallow=self._hub.shallow()
            )
        except OSError as error:
            raise RepoError(f"{self._folder}: a quarantine cannot be made: {error.strerror}") from error
        self.reader = ObjectReader(self._hub.runner, self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def index(self, pack: Path, max_pack_bytes: int) -> None:
        """Index a pack strictly, under limits of size, time and memory.

        Raises:
            PackRefusal: it is too large, no pack, holds what git calls broken or dangerous, or lacks objects.
            RepoError: our own disk does not take it.
            GitTimeout: it took too long.
        """
        try:
            descriptor = os.open(pack, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise PackRefusal(f"the pack cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PackRefusal("the pack is not a regular file")
            if found.st_size > max_pack_bytes:
                raise PackRefusal(f"the pack has {found.st_size} bytes; at most {max_pack_bytes} are taken")
            # --fix-thin adds the base's objects that the pack only names: room for those too
            limits = ResourceLimits(
                memory_bytes=2 << 30,
                cpu_seconds=int(self._deadline.left()) + 2,
                file_bytes=2 * max_pack_bytes + (256 << 20),
            )
            args = ("index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={max_pack_bytes}")
            call = GitCall(args, self.path, stdin=file, deadline=self._deadline, limits=limits, output_bytes=1 << 20)
            result = self._hub.runner.run(call)
        if not result.ok:
            self._demand_room(2 * found.st_size)
            raise PackRefusal(f"git refuses the pack: {result.err or f'index-pack ended with {result.code}'}")

    def run(self, *args: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> GitResult:
        """Run git on the quarantine within its time."""
        return self._hub.runner.run(
            GitCall(
                args,
                self.path,
                stdin=stdin,
                environment=environment or {},
                deadline=self._deadline,
                limits=ResourceLimits(cpu_seconds=int(self._deadline.left()) + 2),
            )
        )

    def output(self, *args: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
        """Run git on the quarantine and give its output.

        Raises:
            PackRefusal: it failed: the objects are not what they should be.
            RepoError: our own disk is full.
        """
        result = self.run(*args, stdin=stdin, environment=environment)
        if not result.ok:
            self._demand_room(0)
            raise PackRefusal(f"git {args[0]} fails on it: {result.err or result.code}")
        return result.out

    def _demand_room(self, needed_bytes: int) -> None:
        """If git failed, check that it was not for lack of disk space: that is not the work's fault.

        Git's own message is not evidence, since the pack can influence it.
        """
        try:
            with TemporaryFile(dir=self.path) as probe:
                os.posix_fallocate(probe.fileno(), 0, needed_bytes + _ROOM_BYTES)
        except OSError as error:
            hint = "free some disk space, or set another folder with --state-dir; then `codexteam resume` continues"
            raise RepoError(f"{self._folder}: {error.strerror}", hint=hint) from error

    def migrate(self, object_ids: Sequence[str]) -> None:
        """Write the named objects, and no others, as one pack into the hub.

        The pack is written beside the hub's and renamed: a process that is killed leaves none, or a whole one.
        """
        if not object_ids:
            return
        sizes = [found.size for found in self.reader.describe(object_ids, deadline=self._deadline) if found is not None]
        if sum(sizes) <= _PACKED_HERE_BYTES:
            read = self.reader.read_many(object_ids, limit_bytes=_PACKED_HERE_BYTES, deadline=self._deadline)
            objects = [found for found in read if found is not None]
            if len(objects) < len(object_ids):
                raise RepoError(f"{self._hub.path}: objects cannot be taken in: some are gone")
            try:
                write_pack(self._hub.path, self._hub.object_format, objects)
            except OSError as error:
                raise RepoError(f"{self._hub.path}: objects cannot be taken in: {error.strerror}") from error
            return
        target = self._hub.path / "objects" / "pack" / "pack"
        wanted = "".join(f"{each}\n" for each in object_ids).encode()
        result = self.run("pack-objects", "-q", "--delta-base-offset", str(target), stdin=wanted)
        if not result.ok:
            raise RepoError(f"{self._hub.path}: objects cannot be taken in: {result.err or result.code}")
