"""Files that go from one machine to another."""

import os
from pathlib import Path

from codexteam.errors import SandboxUnavailable


def safe_name(name: str) -> str:
    """Return a file's name, if it is one and leads nowhere else.

    Raises:
        SandboxUnavailable: it does.
    """
    if name != Path(name).name or name in {"", ".", ".."} or "\0" in name:
        raise SandboxUnavailable(f"a worker sent a file of the name {name!r}")
    return name


def write_whole(path: Path, data: bytes) -> None:
    """Write a file such that it is there whole or not at all, and stays after a power failure.

    Raises:
        OSError: the disk does not take it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".new-{path.name}")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
