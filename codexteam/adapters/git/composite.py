"""Several repositories as one tree: a folder for each, on one base commit that stands on the commits of all of them.

Workspaces, merges, verdicts and snapshots know commits of that tree alone. Where it is split again, each repository gets
commits of its own: those that changed its folder, in their order, on the commit that it began with.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.adapters.git.fetch import fetch_commit
from codexteam.adapters.git.hub import Hub, base_ref, checked_run, commit_links
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.objects import parse_tree
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner
from codexteam.core.ids import CommitId, RunId, TreeId
from codexteam.core.text import clean_line
from codexteam.errors import RepoError

_TREE_BYTES = 64 << 20
_SECONDS = 120.0
_WHO = "codexteam <run@codexteam.invalid>"


@dataclass(frozen=True, slots=True)
class Member:
    """A repository that takes part in a run with others."""

    name: str
    """Its folder in the tree of all."""
    places: Places
    head: CommitId
    """What it began with."""


@dataclass(frozen=True, slots=True)
class CompositeBase:
    """The objects of the commit that a run in several repositories begins from."""

    commit: CommitId
    tree_data: bytes
    commit_data: bytes


def in_order(members: Sequence[Member]) -> tuple[Member, ...]:
    """Return the members as git orders their folders."""
    return tuple(sorted(members, key=lambda each: f"{each.name}/".encode()))


def composite_base(runner: GitRunner, members: Sequence[Member]) -> CompositeBase:
    """Compute the base commit; the same commits under the same names give the same one, and nothing is written.

    Raises:
        RepoError: a commit is gone, or the repositories name objects in different ways.
    """
    ordered = in_order(members)
    formats = {each.places.object_format: each.name for each in ordered}
    if len(formats) > 1:
        both = " and ".join(f"{name} ({form})" for form, name in sorted(formats.items()))
        raise RepoError(f"{both} have different object formats, and one run takes repositories of one format")
    newest = 0
    tree = b""
    for each in ordered:
        call = GitCall(("cat-file", "commit", each.head), each.places.git_dir)
        data = runner.check(call, f"{clean_line(str(each.places.root))}: commit {each.head[:10]}")
        found = re.search(rb"^committer .*> (\d+) [+-]\d{4}$", data.split(b"\n\n", 1)[0], re.MULTILINE)
        newest = max(newest, int(found[1]) if found else 0)
        tree += b"40000 " + each.name.encode() + b"\0" + bytes.fromhex(commit_links(data)[0])
    (form,) = formats
    lines = [f"tree {_object_id(form, 'tree', tree)}", *(f"parent {each.head}" for each in ordered)]
    lines += [f"author {_WHO} {newest} +0000", f"committer {_WHO} {newest} +0000", ""]
    lines += ["Base of a run in several repositories", "", *(f"{each.name} {each.head}" for each in ordered), ""]
    commit = "\n".join(lines).encode()
    return CompositeBase(CommitId(_object_id(form, "commit", commit)), tree, commit)


def _object_id(object_format: str, kind: str, data: bytes) -> str:
    algorithm = hashlib.sha256 if object_format == "sha256" else hashlib.sha1
    return algorithm(f"{kind} {len(data)}".encode() + b"\0" + data).hexdigest()


def members_prefix(run_id: RunId) -> str:
    """Return what the hub's refs begin with for the commits that the repositories of a run began with."""
    return f"refs/codexteam/members/{checked_run(run_id)}/"


def fetch_composite(hub: Hub, members: Sequence[Member], run_id: RunId, commit: CommitId, depth: int) -> None:
    """Bring what every repository began with into the hub, and make the base commit of all. May be repeated.

    Raises:
        RepoError: a commit is gone, or they do not make this base commit.
    """
    if hub.ref(base_ref(run_id)) == commit:
        return
    base = composite_base(hub.runner, members)
    if base.commit != commit:
        raise RepoError(
            f"the repositories make the base commit {base.commit[:10]}, and the run began from {commit[:10]}"
        )
    for number, each in enumerate(in_order(members)):
        fetch_commit(hub, each.places, f"{members_prefix(run_id)}{number}", each.head, depth)
    for kind, data in (("tree", base.tree_data), ("commit", base.commit_data)):
        hub.output("hash-object", "-t", kind, "-w", "--stdin", stdin=data)
    hub.set_ref(base_ref(run_id), commit)


def split(hub: Hub, member: Member, base: CommitId, commit: CommitId) -> CommitId:
    """Return what a result is in one repository: its own commits, the same whenever they are made.

    Raises:
        RepoError: a commit is missing.
    """
    listed = hub.output("rev-list", "--first-parent", "--reverse", commit, f"^{base}").decode().split()
    own, tree = member.head, _folder(hub, base, member.name)
    for each in listed:
        changed = _folder(hub, CommitId(each), member.name)
        if changed == tree:
            continue
        data = _moved(hub.commit_bytes(CommitId(each)), changed, own)
        own = CommitId(hub.output("hash-object", "-t", "commit", "-w", "--stdin", stdin=data).decode().strip())
        tree = changed
    return own


def _folder(hub: Hub, commit: CommitId, name: str) -> TreeId:
    """Return the tree of a folder; the empty one where the folder is gone."""
    root = hub.tree_of(commit)
    found = hub.reader.read(root, limit_bytes=_TREE_BYTES, deadline=GitDeadline.after(_SECONDS))
    if found is None or found.data is None:
        raise RepoError(f"{root}: no such tree in the hub")
    for entry in parse_tree(found.data, len(root) // 2):
        if entry.name == name.encode() and entry.is_tree:
            return TreeId(entry.id)
    return TreeId(hub.output("hash-object", "-t", "tree", "-w", "--stdin").decode().strip())


def _moved(data: bytes, tree: TreeId, parent: CommitId) -> bytes:
    """Return a commit of the tree of all as one of a single repository: author, time and message stay."""
    head, separator, message = data.partition(b"\n\n")
    kept = [line for line in head.split(b"\n") if line.partition(b" ")[0] not in {b"tree", b"parent"}]
    return b"\n".join([f"tree {tree}".encode(), f"parent {parent}".encode(), *kept]) + separator + message
