"""Makes git packs by hand, sound or hostile: what could come out of a sandbox, without git having a say in it."""

import hashlib
import struct
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.core.ids import CommitId
from codexteam.ports.sandbox import Snapshot

_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
Entry = tuple[str, bytes, str]
"""Mode, name, id."""
Edit = bytes | str | None | tuple[str, bytes]
"""A file's bytes, a link's target, removal, or a mode with bytes."""


def write_pack(objects: Iterable[tuple[str, bytes]]) -> bytes:
    """Give a pack of whole objects."""
    objects = list(objects)
    out = bytearray(b"PACK" + struct.pack(">II", 2, len(objects)))
    for kind, data in objects:
        size = len(data)
        byte = (_KINDS[kind] << 4) | (size & 15)
        size >>= 4
        while size:
            out.append(byte | 0x80)
            byte = size & 0x7F
            size >>= 7
        out.append(byte)
        out += zlib.compress(data, 9)
    return bytes(out + hashlib.sha1(out, usedforsecurity=False).digest())


@dataclass
class Workshop:
    """Objects in the making."""

    folder: Path
    objects: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    made: int = 0

    def add(self, kind: str, data: bytes) -> str:
        object_id = hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
        self.objects[object_id] = (kind, data)
        return object_id

    def blob(self, data: bytes) -> str:
        return self.add("blob", data)

    def tree(self, entries: Sequence[Entry], *, in_order: bool = True) -> str:
        def key(entry: Entry) -> bytes:
            return entry[1] + (b"/" if entry[0] == "40000" else b"")

        ordered = sorted(entries, key=key) if in_order else entries
        return self.add("tree", b"".join(b"%s %s\0" % (m.encode(), n) + bytes.fromhex(i) for m, n, i in ordered))

    def nested(self, files: Mapping[bytes, tuple[str, str]]) -> str:
        """Make the trees for paths with mode and blob."""
        direct: list[Entry] = []
        below: dict[bytes, dict[bytes, tuple[str, str]]] = {}
        for path, (mode, blob) in files.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = (mode, blob)
            else:
                direct.append((mode, name, blob))
        return self.tree([*direct, *(("40000", name, self.nested(inner)) for name, inner in below.items())])

    def commit(self, tree: str, parents: Sequence[str]) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"{who} An Agent <agent@example.org> 1700000000 +0000" for who in ("author", "committer")]
        return self.add("commit", ("\n".join(lines) + "\n\nwork\n").encode())

    def snapshot(self, tree: str, base: CommitId, *, parents: Sequence[str] | None = None) -> Snapshot:
        """Put a commit of the tree on the base, and everything made so far into a pack."""
        tip = self.commit(tree, [base] if parents is None else parents)
        return self.pack(tip, base)

    def pack(self, tip: str, base: CommitId) -> Snapshot:
        self.made += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.made}-{tip[:12]}.pack"
        path.write_bytes(write_pack(self.objects.values()))
        return Snapshot(tip, base, path, path.stat().st_size)

    def edited(self, repository: Path, base: CommitId, edits: Mapping[bytes, Edit]) -> str:
        """Make the base's tree with edits; the base's files are read from a repository with plain git."""
        listing = subprocess.run(
            ["git", "--git-dir", str(repository), "ls-tree", "-r", "-z", base], check=True, stdout=subprocess.PIPE
        ).stdout
        files: dict[bytes, tuple[str, str]] = {}
        for line in listing.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, _, blob = facts.decode().split(" ")
            files[path] = (mode, blob)
        for path, edit in edits.items():
            if edit is None:
                del files[path]
            elif isinstance(edit, tuple):
                files[path] = (edit[0], self.blob(edit[1]))
            elif isinstance(edit, str):
                files[path] = ("120000", self.blob(edit.encode()))
            else:
                files[path] = ("100644", self.blob(edit))
        return self.nested(files)


def snapshot_of(folder: Path, repository: Path, base: CommitId, edits: Mapping[bytes, Edit]) -> Snapshot:
    """Give a snapshot of an honest agent that made these edits."""
    workshop = Workshop(folder)
    return workshop.snapshot(workshop.edited(repository, base, edits), base)
