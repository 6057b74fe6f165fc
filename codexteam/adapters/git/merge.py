"""Commits and merges as objects in the hub: no work tree, no driver, no hook."""

import re
from collections.abc import Sequence

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.runner import Call, Deadline, GitResult, GitTimeout, ResourceLimits
from codexteam.adapters.git.trees import write_tree
from codexteam.core.ids import CommitId, TreeId
from codexteam.core.paths import show
from codexteam.core.text import clean
from codexteam.errors import RepoError
from codexteam.ports.repo import Conflict, Identity, Merged

#: Who made the commit object, as against who wrote what is in it.
_COMMITTER = ("codexteam", "codexteam@localhost")
_MERGE_SECONDS = 120.0
_OUTPUT_BYTES = 16 << 20
_FORBIDDEN_IN_IDENTITY = re.compile(r"[<>\x00-\x1f\x7f]")


def make_commit(hub: Hub, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
    """Make a commit object; the same arguments give the same id.

    Raises:
        RepoError: tree or parents are not in the hub.
    """
    when = f"@{author.at_seconds} +0000"
    environment = {
        "GIT_AUTHOR_NAME": _identity(author.name),
        "GIT_AUTHOR_EMAIL": _identity(author.email),
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_NAME": _COMMITTER[0],
        "GIT_COMMITTER_EMAIL": _COMMITTER[1],
        "GIT_COMMITTER_DATE": when,
    }
    links = [word for parent in parents for word in ("-p", parent)]
    text = message.encode("utf-8", "replace").replace(b"\0", b"").rstrip(b"\n") + b"\n"
    return CommitId(hub.output("commit-tree", tree, *links, stdin=text, environment=environment).decode().strip())


def _identity(text: str) -> str:
    cleaned = _FORBIDDEN_IN_IDENTITY.sub("", text).strip(" .,:;\"'")
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
    """Give the paths that would conflict, escaped; empty when none would."""
    result = _merge_tree(hub, ours, theirs)
    if result is None:
        return ("(too large to merge in time)",)
    return () if result.code == 0 else _conflict(result.out)[0] or ("(git names no path)",)


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
    call = Call(
        args,
        hub.path,
        deadline=Deadline.after(_MERGE_SECONDS),
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
    """Give `commit`'s tree with `paths` (files, or folders with all in them) as they are in `source`."""
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
