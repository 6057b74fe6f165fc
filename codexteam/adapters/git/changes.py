"""What differs between two trees: raw, over bytes, renames not guessed; and as text for readers."""

from collections.abc import Callable

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.runner import Call, Deadline, GitTimeout, ResourceLimits
from codexteam.core.text import clean
from codexteam.errors import RepoError
from codexteam.ports.repo import TreeChange

_DIFF_SECONDS = 120.0


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


def diff_text(hub: Hub, old: str, new: str, limit_bytes: int) -> tuple[str, bool]:
    """Give a unified diff for readers, escaped, and whether it was cut at a line's end.

    No attribute, external diff or text conversion has a say in it: a file that says of itself that it is binary is
    shown all the same.
    """
    args = (
        *("diff-tree", "-r", "-p", "--text", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color"),
        *("--full-index", "--src-prefix=a/", "--dst-prefix=b/", old, new, "--"),
    )
    call = Call(
        args,
        hub.path,
        deadline=Deadline.after(_DIFF_SECONDS),
        output_bytes=limit_bytes,
        limits=ResourceLimits(cpu_seconds=int(_DIFF_SECONDS)),
    )
    try:
        result = hub.runner.run(call)
    except GitTimeout:
        return "", True
    if not result.ok and not result.cut:
        raise RepoError(f"the difference of {old[:10]} and {new[:10]} cannot be given: {result.err or result.code}")
    data = result.out
    if result.cut:
        data = data[: data.rfind(b"\n") + 1]
    return clean(data.decode("utf-8", "surrogateescape")), result.cut
