"""Commits, merges and comparisons as objects in the hub: no work tree, no driver, no hook."""

import re
from collections.abc import Callable, Sequence

from codexteam.adapters.git.hub import Hub, commit_links
from codexteam.adapters.git.object_files import write_object
from codexteam.adapters.git.objects import write_tree
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitResult, GitTimeout, ResourceLimits
from codexteam.adapters.git.trees import tree_changes
from codexteam.core.ids import CommitId, TreeId
from codexteam.core.paths import show
from codexteam.core.text import clean
from codexteam.errors import RepoError
from codexteam.ports.repo import Conflict, Identity, Merged, TreeChange

#: Who made the commit object, as against who wrote what is in it.
_COMMITTER = ("codexteam", "codexteam@localhost")
_MERGE_SECONDS = 120.0
_READ_SECONDS = 60.0
_OUTPUT_BYTES = 16 << 20
_FORBIDDEN_IN_IDENTITY = re.compile(r"[<>\x00-\x1f\x7f]")


def raw_changes(output: Callable[..., bytes], old: str, new: str) -> list[TreeChange]:
    """Compare two trees or commits.

    Args:
        output: runs git with arguments and gives its output.
        old: the earlier one.
        new: the later one.
    """
    listing = output("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-ext-diff", old, new, "--")
    parts = listing.split(b"\0")
    changes: list[TreeChange] = []
    for facts, path in zip(parts[:-1:2], parts[1::2], strict=True):
        old_mode, new_mode, old_blob, new_blob, status = facts.removeprefix(b":").decode().split(" ")
        changes.append(TreeChange(path, status[0], old_mode, new_mode, old_blob, new_blob))
    return changes


def make_commit(hub: Hub, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
    """Make a commit object; the same arguments give the same id.

    Raises:
        RepoError: tree or parents are not in the hub.
    """
    needed = (tree, *parents)
    found = hub.reader.describe(needed, deadline=GitDeadline.after(_READ_SECONDS))
    for name, kind, known in zip(needed, ("tree", *("commit" for _ in parents)), found, strict=True):
        if known is None or known.type != kind:
            raise RepoError(f"{hub.path}: a commit cannot be made: there is no {kind} {name}")
    when = f"{author.at_seconds} +0000"
    lines = [f"tree {tree}"]
    lines += [f"parent {parent}" for parent in dict.fromkeys(parents)]
    lines.append(f"author {_identity(author.name)} <{_identity(author.email)}> {when}")
    lines.append(f"committer {_COMMITTER[0]} <{_COMMITTER[1]}> {when}")
    text = message.encode("utf-8", "replace").replace(b"\0", b"").rstrip(b"\n") + b"\n"
    data = "\n".join(lines).encode() + b"\n\n" + text
    try:
        return CommitId(write_object(hub.path, hub.object_format, "commit", data))
    except OSError as error:
        raise RepoError(f"{hub.path}: a commit cannot be written: {error.strerror}") from error


def _identity(text: str) -> str:
    cleaned = _FORBIDDEN_IN_IDENTITY.sub("", text).strip(" .,:;\"'\\")
    return cleaned.encode("utf-8", "replace").decode() or "codexteam"


def merge(hub: Hub, ours: CommitId, theirs: CommitId, message: str, author: Identity) -> Merged | Conflict:
    """Merge `theirs` into `ours`: one commit on `ours`, so that the branch stays a line that can be bisected.

    The merge base is what the commits' own history says: `theirs` stands on the commit that its attempt started from.
    """
    result = _merge_tree(hub, ours, theirs)
    if result is None:
        return Conflict((), f"git could not merge them within {_MERGE_SECONDS:g} seconds")
    if result.code == 0:
        tree = TreeId(result.out.split(b"\0", 1)[0].decode())
        return Merged(make_commit(hub, tree, [ours], message, author), tree)
    paths, messages = _conflict(result.out)
    return Conflict(paths, messages)


def forecast(hub: Hub, ours: CommitId, theirs: CommitId) -> tuple[str, ...]:
    """Return the paths that would conflict, escaped; empty when none would."""
    if _apart(hub, ours, theirs):
        return ()
    result = _merge_tree(hub, ours, theirs)
    if result is None:
        return ("(too large to merge in time)",)
    return () if result.code == 0 else _conflict(result.out)[0] or ("(git names no path)",)


def _apart(hub: Hub, ours: CommitId, theirs: CommitId) -> bool:
    """Whether two commits on the same parent change files of which none is, or lies in, another's.

    Every work that is accepted is compared with all that wait: git is started for those pairs alone that meet.
    """
    deadline = GitDeadline.after(_READ_SECONDS)
    paths: list[set[bytes]] = []
    parents: list[CommitId] = []
    for commit in (ours, theirs):
        tree, links = commit_links(hub.commit_bytes(commit))
        if len(links) != 1:
            return False
        parents.append(links[0])
        changes = tree_changes(hub.reader, hub.tree_of(links[0]), tree, deadline)
        if any(change.status == "D" for change in changes):
            return False  # what was renamed takes changes elsewhere with it
        paths.append({change.path for change in changes})
    mine, others = paths
    return parents[0] == parents[1] and mine.isdisjoint(others | _folders(others)) and others.isdisjoint(_folders(mine))


def _folders(paths: set[bytes]) -> set[bytes]:
    found = set()
    for path in paths:
        while b"/" in path:
            path = path[: path.rfind(b"/")]  # noqa: PLW2901
            found.add(path)
    return found


def _merge_tree(hub: Hub, ours: CommitId, theirs: CommitId) -> GitResult | None:
    args = (
        "merge-tree",
        "--write-tree",
        "-z",
        "--name-only",
        "--messages",
        "--allow-unrelated-histories",
        ours,
        theirs,
    )
    call = GitCall(
        args,
        hub.path,
        deadline=GitDeadline.after(_MERGE_SECONDS),
        output_bytes=_OUTPUT_BYTES,
        limits=ResourceLimits(cpu_seconds=int(_MERGE_SECONDS)),
    )
    try:
        result = hub.runner.run(call)
    except GitTimeout:
        return None
    if result.code < 0 or result.cut:  # stopped by a limit
        return None
    if result.code not in {0, 1}:
        raise RepoError(f"{ours[:10]} and {theirs[:10]} cannot be merged: {result.err or result.code}")
    return result


def _conflict(out: bytes) -> tuple[tuple[str, ...], str]:
    """Read `<tree> NUL (<path> NUL)* NUL (<count> NUL <path>* <kind> NUL <text> NUL)*`."""
    parts = out.split(b"\0")
    end = parts.index(b"", 1) if b"" in parts[1:] else len(parts)
    paths = tuple(dict.fromkeys(show(path) for path in parts[1:end]))
    texts: list[str] = []
    at = end + 1
    while at < len(parts) and parts[at].isdigit():
        at += int(parts[at]) + 1  # the paths that the message is about
        texts.append(clean(b"".join(parts[at + 1 : at + 2]).decode("utf-8", "surrogateescape")).strip())
        at += 2
    return paths, "\n".join(texts)


def overlay(hub: Hub, commit: CommitId, source: CommitId, paths: Sequence[bytes]) -> TreeId:
    """Return `commit`'s tree with `paths` (files, or folders with all in them) as they are in `source`."""
    wanted = [path.strip(b"/") for path in paths]
    edits: dict[bytes, tuple[str, str] | None] = {}
    for path, _, _ in hub.files(commit):
        if _within(path, wanted):
            edits[path] = None
    for path, mode, blob in hub.files(source):
        if _within(path, wanted):
            edits[path] = (mode, blob)
            # a file in the way of a folder that comes back
            parts = path.split(b"/")
            edits.update({b"/".join(parts[:index]): None for index in range(1, len(parts))})
    return write_tree(hub.output, hub.path, commit, edits) if edits else hub.tree_of(commit)


def _within(path: bytes, wanted: Sequence[bytes]) -> bool:
    return any(path == each or path.startswith(each + b"/") for each in wanted)
