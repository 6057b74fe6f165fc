"""Writes objects and refs of the hub as git would, without a process for each: nobody else writes there.

What is written is synced before it gets its name: the store speaks of it afterwards.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkstemp

from codexteam.adapters.git.objects import GitObject
from codexteam.errors import RepoError
from codexteam.system.fault_points import reach

_PACK_KINDS = {"commit": 1, "tree": 2, "blob": 3}
_READ_ONLY = 0o444


def object_id(object_format: str, kind: str, data: bytes) -> str:
    """Return the id of an object."""
    return hashlib.new(object_format, b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def write_object(git_dir: Path, object_format: str, kind: str, data: bytes) -> str:
    """Write one object, and give its id; nothing is written where it is there already.

    Raises:
        OSError: it cannot be written.
    """
    name = object_id(object_format, kind, data)
    target = git_dir / "objects" / name[:2] / name[2:]
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        reach("hub.object.before")
        _put(target, zlib.compress(b"%s %d\0" % (kind.encode(), len(data)) + data, 1), prefix="tmp_obj_")
        reach("hub.object.after")
    return name


def write_pack(git_dir: Path, object_format: str, objects: Sequence[GitObject]) -> None:
    """Write whole objects as one pack with its index: a process that is killed leaves none, or a whole one.

    Raises:
        RepoError: an object is not what its id says.
        OSError: it cannot be written.
    """
    pack = bytearray(struct.pack(">4sII", b"PACK", 2, len(objects)))
    entries: list[tuple[bytes, int, int]] = []
    for each in objects:
        if each.data is None or object_id(object_format, each.type, each.data) != each.id:
            raise RepoError(f"{git_dir}: the object {each.id} is not what its name says")
        entry = _head(_PACK_KINDS[each.type], len(each.data)) + zlib.compress(each.data, 1)
        entries.append((bytes.fromhex(each.id), zlib.crc32(entry), len(pack)))
        pack += entry
    checksum = hashlib.new(object_format, pack).digest()
    pack += checksum
    index = _index(object_format, sorted(entries), checksum)
    names = b"".join(name for name, _, _ in sorted(entries))
    stem = git_dir / "objects" / "pack" / f"pack-{hashlib.new(object_format, names).hexdigest()}"
    if stem.with_suffix(".idx").exists():
        return
    reach("hub.pack.before")
    _put(stem.with_suffix(".pack"), bytes(pack), prefix="tmp_pack_")
    reach("hub.pack.between")
    _put(stem.with_suffix(".idx"), index, prefix="tmp_idx_")  # git takes a pack for one once its index is there
    reach("hub.pack.after")


def read_ref(git_dir: Path, name: str) -> str | None:
    """Return what the file of a ref holds; None when there is no such file."""
    try:
        return (git_dir / name).read_text("ascii").strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def write_ref(git_dir: Path, name: str, new: str, old: str | None) -> bool:
    """Point a ref of the hub from `old` (None: it is not there) to `new`; False when it is elsewhere.

    Raises:
        OSError: it cannot be written; also where a part of its name is a ref itself.
    """
    target = git_dir / name
    if read_ref(git_dir, name) != old:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    reach("hub.ref.before")
    fresh = target.with_name(target.name + ".lock")
    with fresh.open("wb") as file:
        file.write(new.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)
    reach("hub.ref.after")
    return True


def _put(target: Path, data: bytes, *, prefix: str) -> None:
    descriptor, fresh = mkstemp(prefix=prefix, dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(descriptor, _READ_ONLY)
        file.flush()
        os.fsync(descriptor)
    Path(fresh).replace(target)


def _head(kind: int, size: int) -> bytes:
    head = bytearray([(kind << 4) | (size & 15)])
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)


def _index(object_format: str, entries: Sequence[tuple[bytes, int, int]], checksum: bytes) -> bytes:
    """Return a pack's index, version 2, for entries in the order of their ids; no offset needs more than 31 bits."""
    firsts = [0] * 256
    for name, _, _ in entries:
        firsts[name[0]] += 1
    counts, total = [], 0
    for count in firsts:
        total += count
        counts.append(total)
    index = b"".join((
        b"\xfftOc" + struct.pack(">I", 2),
        struct.pack(">256I", *counts),
        *(name for name, _, _ in entries),
        *(struct.pack(">I", crc) for _, crc, _ in entries),
        *(struct.pack(">I", offset) for _, _, offset in entries),
        checksum,
    ))  # fmt: skip
    return index + hashlib.new(object_format, index).digest()
