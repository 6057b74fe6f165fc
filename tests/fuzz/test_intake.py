"""Whatever comes out of a sandbox as a pack: taken in by the rules, or refused; the hub has all of it or nothing."""

import asyncio
import hashlib
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import strategies as st

from codexteam.ports.repo import Accepted, Intake
from codexteam.ports.sandbox import Snapshot
from tests.fuzz.mutations import ByteEdit, byte_edits, edited_bytes
from tests.fuzz.running import TIMEOUT, fuzz, require
from tests.support_git import FREE, Desk, make_user, open_desk
from tests.support_packs import Entry, Workshop, write_pack

pytestmark = [TIMEOUT, pytest.mark.slow]

_NAMES = [
    b"a", b"a.txt", b"A.txt", b"b", b"folder", b"FOLDER", b".git", b".GIT", b"git~1", b".git ", b".g\xe2\x80\x8cit",
    b".gitmodules", b".gitattributes",
    b"..", b".", b"", b"-rf", b"new\nline", b"tab\t", b"esc\x1b[2J", b"not-\xff", b"nul", b"con.txt", b"x" * 256,
    b"a/b", b"/abs", b"bs\\x", b"dot.",
    b"\xc3\xa9", b"e\xcc\x81", b"\xe2\x80\xae", b".codex", b"AGENTS.md", b"plan.md", b".github", b"workflows",
    b"HEAD", b"objects", b"refs", b"ok.py",
]  # fmt: skip
_NAME = st.sampled_from(_NAMES) | st.binary(min_size=1, max_size=8)
_MODE = st.sampled_from(
    ["100644", "100644", "100644", "100755", "120000", "160000", "100664", "40000", "100600", "0", "777", "0100644"]
)
_BLOB = st.sampled_from(
    [b"x\n", b"", b"../../etc/passwd", b"/etc/passwd", b"a.txt", b"..", b".git/config", b"key = AKIAIOSFODNN7EXAMPLE\n"]
) | st.binary(max_size=40)
_LEAF = st.tuples(_MODE, _NAME, _BLOB)
_TREE = st.recursive(
    st.lists(_LEAF, max_size=4).map(lambda leaves: {"leaves": leaves, "below": []}),
    lambda inner: st.builds(
        lambda leaves, below: {"leaves": leaves, "below": below},
        st.lists(_LEAF, max_size=3),
        st.lists(st.tuples(_NAME, inner), max_size=3),
    ),
    max_leaves=8,
)
_PLAIN_NAME = st.sampled_from([b"a.txt", b"b.py", b"c", b"folder", b"deep", b"\xc3\xbc.md", b"with space", b"-dash"])
_PLAIN_LEAF = st.tuples(st.sampled_from(["100644", "100644", "100755"]), _PLAIN_NAME, st.binary(max_size=30))
_PLAIN_TREE = st.recursive(
    st.lists(_PLAIN_LEAF, max_size=3, unique_by=lambda leaf: leaf[1]).map(
        lambda leaves: {"leaves": leaves, "below": []}
    ),
    lambda inner: st.builds(
        lambda leaves, below: {"leaves": [leaf for leaf in leaves if leaf[1] not in dict(below)], "below": below},
        st.lists(_PLAIN_LEAF, max_size=3, unique_by=lambda leaf: leaf[1]),
        st.lists(st.tuples(_PLAIN_NAME, inner), max_size=2, unique_by=lambda pair: pair[0]),
    ),
    max_leaves=5,
)
_SHAPE = st.tuples(
    st.one_of(_TREE, _PLAIN_TREE, _PLAIN_TREE),
    st.booleans(),
    st.sampled_from(["base", "base", "base", "base", "none", "twice", "itself", "unknown"]),
)


def _write(shop: Workshop, tree: dict[str, object], *, in_order: bool) -> str:
    leaves, below = tree["leaves"], tree["below"]
    assert isinstance(leaves, list)
    assert isinstance(below, list)
    entries: list[Entry] = [(mode, name, shop.blob(data)) for mode, name, data in leaves]
    entries += [("40000", name, _write(shop, inner, in_order=in_order)) for name, inner in below]
    return shop.tree(entries, in_order=in_order)


class _Hub:
    """A desk that is used for many inputs, and its hub's objects between them."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        user = folder / "user"
        make_user(user, {"a.txt": b"one\n", "folder/b.txt": b"two\n"})
        self.desk: Desk = self.runner.run(open_desk(user, folder))
        self.known = self.objects()

    def objects(self) -> frozenset[bytes]:
        packs = sorted((self.desk.hub / "objects").rglob("*"))
        return frozenset(str(path).encode() for path in packs if path.is_file() and path.suffix != ".rev")

    def take(self, snapshot: Snapshot) -> Intake:
        before = self.objects()
        intake = self.runner.run(self.desk.repo.intake(snapshot, FREE))
        require(not list((self.desk.state / "quarantine").glob("*")), "no quarantine is left")
        if not isinstance(intake, Accepted):
            require(self.objects() == before, "nothing of what is refused is in the hub")
            require(bool(intake.violations), "a refusal has its reasons")
        snapshot.pack.unlink()
        return intake

    def close(self) -> None:
        self.runner.run(self.desk.repo.close())
        self.runner.close()

    def git(self, *argv: str) -> bytes:
        return subprocess.run(["git", "--git-dir", str(self.desk.hub), *argv], check=True, capture_output=True).stdout


def _check_accepted(hub: _Hub, accepted: Accepted) -> None:
    """Hold what was taken in against the promise, by other means than the policy's own."""
    for line in hub.git("ls-tree", "-r", "-z", accepted.tree).split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, _, blob = facts.decode().split(" ")
        require(mode in {"100644", "100755", "120000"}, f"mode {mode}")
        names = path.decode().split("/")
        for name in names:
            shown = unicodedata.normalize("NFKC", name).casefold()
            visible = "".join(c for c in shown if unicodedata.category(c) not in {"Cf", "Cc"})
            require(visible.rstrip(". ").split(":")[0] != ".git", f"{path!r} is git's own")
            require(name not in {"", ".", ".."}, f"{path!r} leads elsewhere")
            require(not any(unicodedata.category(c) == "Cc" for c in name), f"{path!r} has controls")
        if mode == "120000":
            target = hub.git("cat-file", "blob", blob)
            depth = len(names) - 1
            require(not target.startswith(b"/"), f"{path!r} links to {target!r}")
            for part in target.split(b"/"):
                depth += -1 if part == b".." else (part not in {b"", b"."})
                require(depth >= 0, f"{path!r} links to {target!r}")


def test_any_tree_is_taken_in_whole_by_the_rules_or_not_at_all(tmp_path: Path) -> None:
    hub = _Hub(tmp_path)
    desk = hub.desk

    def holds(case: tuple[dict[str, object], bool, str]) -> str:
        tree, in_order, parents = case
        shop = Workshop(desk.folder / "packs")
        made = _write(shop, tree, in_order=in_order)
        names: dict[str, list[str]] = {
            "none": [],
            "twice": [desk.base, desk.base],
            "unknown": ["1" * 40],
            "base": [desk.base],
        }
        if parents == "itself":
            names["itself"] = [shop.commit(made, [desk.base])]
        intake = hub.take(shop.snapshot(made, desk.base, parents=names[parents]))
        if isinstance(intake, Accepted):
            _check_accepted(hub, intake)
            return "accepted"
        return intake.violations[0].rule

    try:
        met = fuzz("intake, trees", _SHAPE, holds, short=60)
        hub.git("fsck", "--strict", "--no-dangling")
    finally:
        hub.close()
    assert met["accepted"] > 3, met
    assert met.total() - met["accepted"] > 10, met


_PACK = st.tuples(byte_edits(), st.booleans(), st.integers(0, 3))


def test_any_bytes_in_place_of_a_pack_are_taken_in_whole_or_not_at_all(tmp_path: Path) -> None:
    hub = _Hub(tmp_path)
    desk = hub.desk
    shop = Workshop(desk.folder / "packs")
    tree = shop.edited(desk.hub, desk.base, {b"a.txt": b"changed\n", b"c/d.py": b"print(1)\n" * 20})
    tip = shop.commit(tree, [desk.base])
    objects = list(shop.objects.values())

    def holds(case: tuple[list[ByteEdit], bool, int]) -> str:
        edits, signed, twice = case
        pack = write_pack([*objects, *objects[:twice]])
        body = edited_bytes(pack[:-20] if signed else pack, edits)
        data = body + hashlib.sha1(body, usedforsecurity=False).digest() if signed else body
        path = desk.folder / "mutated.pack"
        path.write_bytes(data)
        intake = hub.take(Snapshot(tip, desk.base, path, len(data)))
        if isinstance(intake, Accepted):
            _check_accepted(hub, intake)
            return "accepted"
        return intake.violations[0].rule

    try:
        met = fuzz("intake, bytes", _PACK, holds, short=60)
        hub.git("fsck", "--strict", "--no-dangling")
    finally:
        hub.close()
    assert met["pack"] > 20, met
