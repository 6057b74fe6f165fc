"""The host's files and folders that a set-up sees: copies in volumes, or mounted where a folder is large.

Copies work with an engine anywhere. A large folder is mounted, read-only, where the engine's machine has the same one at
that place and everything in it is plain, inside and for everybody to read; else it is copied too.
"""

import io
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from docker.types import Mount

from codexteam.adapters.sandbox.docker.client import APIError, EngineClient
from codexteam.adapters.sandbox.docker.containers import create, remove, remove_volume
from codexteam.adapters.sandbox.docker.hardening import INSIDE, What, labels
from codexteam.core.text import clean
from codexteam.errors import SandboxUnavailable

#: From here on a folder is mounted where that is possible.
_COPIED_BYTES = 32 << 20
#: What is compared to see whether the engine's machine has the same folder; a larger file would take long to fetch.
_COMPARED_BYTES = 1 << 20
#: Anything larger is neither configuration nor a folder of packages.
_MOST_BYTES = 4 << 30
_SINGLE = f"{INSIDE}/single"
#: Where what the image has in the place of a single file waits for the end of the set-up.
_ASIDE = "/var/lib/codexteam/aside"
LINK = f"""
mkdir -p {_ASIDE}
for number in "$@"; do
  path=$(cat {_SINGLE}/$number/path)
  mkdir -p "$(dirname "$path")"
  if [ -e "$path" ] || [ -L "$path" ]; then mv "$path" {_ASIDE}/$number; fi
  ln -s {_SINGLE}/$number/file "$path"
done
"""
UNLINK = f"""
for number in "$@"; do
  path=$(cat {_SINGLE}/$number/path)
  rm -f "$path"
  if [ -e {_ASIDE}/$number ] || [ -L {_ASIDE}/$number ]; then mv {_ASIDE}/$number "$path"; fi
done
rm -rf {_ASIDE}
"""


@dataclass(frozen=True, slots=True)
class OrderFolders:
    """Copies of what an order names: a volume for each folder, one with a link to it for each single file."""

    client: EngineClient
    name: str
    """Of the set-up's container."""
    owner: str
    run_id: str
    folders: tuple[Path, ...]
    """Those that are there."""
    mounted: set[Path] = field(default_factory=set)
    """Those that need no copy."""

    @classmethod
    def of(cls, client: EngineClient, name: str, owner: str, run_id: str, folders: Sequence[Path]) -> "OrderFolders":
        """Take those that exist, each once, and none inside another."""
        there = [path for path in dict.fromkeys(folders) if path.is_absolute() and path.exists()]
        outer = [path for path in there if not any(path != other and path.is_relative_to(other) for other in there)]
        return cls(client, name, owner, run_id, tuple(outer))

    @property
    def singles(self) -> list[str]:
        """The numbers of single files, as arguments of `LINK` and `UNLINK`."""
        return [str(number) for number, path in enumerate(self.folders) if not path.is_dir()]

    def _volume(self, number: int) -> str:
        return f"{self.name}-folder-{number}"

    def mounts(self, *, writable: bool = False) -> list[Any]:
        """Return the mounts of the set-up's container."""
        marks = dict(labels(What.SETUP, self.owner, run_id=self.run_id))
        copies = [
            Mount(
                str(path) if path.is_dir() else f"{_SINGLE}/{number}",
                self._volume(number),
                type="volume",
                read_only=not writable,
                no_copy=True,
                labels=marks,
            )
            for number, path in enumerate(self.folders)
            if path not in self.mounted
        ]
        return copies + [_as_it_is(path) for path in self.folders if path in self.mounted]

    async def fill(self, image: str) -> None:
        """See what can be mounted, and make volumes of the others, with containers that never run.

        Raises:
            SandboxUnavailable: a folder cannot be read, or is too large to be copied.
        """
        if not self.folders:
            return
        helper = f"{self.name}-folders"
        options: dict[str, Any] = {
            "name": helper,
            "labels": dict(labels(What.HELPER, self.owner)),
            "network_mode": "none",
        }
        await self.remove()
        for path in self.folders:
            sample = await self.client.call(_sample_of, path) if path.is_dir() else None
            if sample is not None and await self._has_same(image, path, sample, options):
                self.mounted.add(path)
        if self.mounted.issuperset(self.folders):
            return
        container = await create(self.client, image, ("true",), {**options, "mounts": self.mounts(writable=True)})
        try:
            for number, path in enumerate(self.folders):
                if path in self.mounted:
                    continue
                with tempfile.TemporaryFile() as file:
                    await self.client.call(_pack, path, file)
                    target = str(path) if path.is_dir() else f"{_SINGLE}/{number}"
                    await self.client.call(container.put_archive, target, file)
        finally:
            await remove(self.client, helper)

    async def _has_same(self, image: str, folder: Path, sample: Path, options: dict[str, Any]) -> bool:
        """Return whether the engine sees this very folder: at its place there, a file of it is as it is here."""
        try:
            container = await create(self.client, image, ("true",), {**options, "mounts": [_as_it_is(folder)]})
        except APIError:  # nothing is there
            return False
        try:
            stream, about = await self.client.call(container.get_archive, str(sample))
            fetched = await self.client.call(b"".join, stream)
        except APIError:
            return False
        finally:
            await remove(self.client, str(options["name"]))
        return about is not None and await self.client.call(_is_same, sample, fetched, str(about["mtime"]))

    async def remove(self) -> None:
        """Remove the volumes; the container is gone already."""
        for number in range(len(self.folders)):
            await remove_volume(self.client, self._volume(number))


def _as_it_is(folder: Path) -> Any:
    return Mount(str(folder), str(folder), type="bind", read_only=True)


def _is_same(sample: Path, fetched: bytes, changed_at: str) -> bool:
    with tarfile.open(fileobj=io.BytesIO(fetched)) as archive:
        file = archive.extractfile(archive.next() or tarfile.TarInfo())
        data = file.read() if file is not None else b""
    return data == sample.read_bytes() and _seconds(changed_at) == int(sample.stat().st_mtime)


def _seconds(time: str) -> int:
    """Return the whole second of a time as the engine writes it, with any number of digits behind it."""
    return int(datetime.fromisoformat(re.sub(r"\.\d+", "", time)).timestamp())


def _sample_of(folder: Path) -> Path | None:
    """Return a small file of a large folder that may be mounted; None where it is to be copied."""
    total, sample = 0, None
    smallest = _COMPARED_BYTES
    root = folder.resolve()
    try:
        for parent, folders, names in os.walk(folder, onerror=_raise):
            for path in (Path(parent), *(Path(parent) / name for name in (*folders, *names))):
                state = path.lstat()
                if stat.S_ISLNK(state.st_mode):
                    if not path.resolve(strict=True).is_relative_to(root):
                        return None
                    continue
                readable = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(state.st_mode) else 0)
                # a socket could be connected to
                if (
                    not stat.S_ISDIR(state.st_mode) | stat.S_ISREG(state.st_mode)
                    or state.st_mode & readable != readable
                ):
                    return None
                if stat.S_ISREG(state.st_mode):
                    total += state.st_size
                    if 0 < state.st_size < smallest:
                        smallest, sample = state.st_size, path
    except (OSError, RuntimeError):  # what cannot be read is said when it is copied
        return None
    return sample if total > _COPIED_BYTES else None


def _raise(error: OSError) -> None:
    raise error


def _pack(path: Path, file: IO[bytes]) -> None:
    """Write a folder's contents, or a file and where it belongs, as a tar."""
    try:
        with tarfile.open(fileobj=file, mode="w|") as archive:
            if path.is_dir():
                _add_folder(archive, path)
            else:
                _add_file(archive, "file", path)
                with tempfile.TemporaryFile() as name:
                    name.write(os.fsencode(path))
                    name.seek(0)
                    entry = tarfile.TarInfo("path")
                    entry.size, entry.mode = len(os.fsencode(path)), 0o644
                    archive.addfile(entry, name)
    except OSError as error:
        raise SandboxUnavailable(
            f"{clean(str(path))}, which the set-up is to see, cannot be read: {error.strerror}",
            hint="see whether it is readable for you, or take it out of the package managers' configuration",
        ) from error
    file.seek(0)


def _add_folder(archive: tarfile.TarFile, root: Path) -> None:
    copied = 0
    for parent, folders, names in os.walk(root):
        inside = Path(parent).relative_to(root)
        for folder in folders:
            entry = tarfile.TarInfo(str(inside / folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in names:
            path = Path(parent) / name
            if path.is_file():  # of a link, what it leads to: that may lie elsewhere
                copied += path.stat().st_size
                _add_file(archive, str(inside / name), path)
            if copied > _MOST_BYTES:
                raise SandboxUnavailable(
                    f"{clean(str(root))}, which the set-up is to see, holds more than {_MOST_BYTES >> 30} GiB",
                    hint="name an index by its address; or let everybody read the folder (chmod -R a+rX), without links that "
                    "lead out of it: an engine on this machine then mounts it",
                )


def _add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as data:
        state = os.fstat(data.fileno())
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime = state.st_size, int(state.st_mtime)
        entry.mode = 0o755 if state.st_mode & 0o111 else 0o644
        archive.addfile(entry, data)
