"""What the documentation role may change: documentation, and beside it comments and docstrings alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from codexteam.core.documentation import DOCUMENTATION_ROLE, documentation_paths, is_documentation
from codexteam.core.ids import CommitId
from codexteam.core.paths import matches_any, show
from codexteam.ports.repo import Accepted, IntakePolicy, IntakeRefused, TreeChange, Violation
from codexteam.ports.sandbox import Snapshot
from codexteam.run.comment_changes import MAX_BYTES, problem_of
from codexteam.run.context import RunContext

#: Folders whose code only shows how something is used.
_EXAMPLES = frozenset({"example", "examples", "samples", "tutorials"})
_PLAIN_FILES = frozenset({"100644", "100755"})


async def take_documentation(
    context: RunContext, snapshot: Snapshot, policy: IntakePolicy, *, what: str, enforce: bool = True
) -> Accepted | IntakeRefused:
    """Take in what the documentation role wrote: all below the policy's paths that is documentation or an example.

    Elsewhere, and in code below these paths, comments and docstrings may have changed, which is checked. `what` names the
    work; without `enforce` what does not hold is a warning, as for any task.
    """
    paths = policy.allowed or documentation_paths(context.repositories)
    # the scope is judged here; all else of the policy holds
    taken = await context.repo.intake(snapshot, replace(policy, allowed=()), enforce_scope=enforce)
    if isinstance(taken, IntakeRefused):
        return taken
    author = await context.author(DOCUMENTATION_ROLE, what)
    commit = await context.repo.commit(taken.tree, (snapshot.base,), "Check what documentation changed", author)
    found = [
        Violation("scope", problem, show(change.path))
        for change in taken.changes
        if (problem := await _problem(context, snapshot.base, commit, change, paths))
    ]
    if found and enforce:
        return IntakeRefused(tuple(found))
    return replace(taken, warnings=(*taken.warnings, *found))


async def _problem(
    context: RunContext, base: CommitId, commit: CommitId, change: TreeChange, paths: Sequence[str]
) -> str:
    path = change.path.decode("utf-8", errors="replace")
    inside = matches_any(change.path, paths)
    if inside and (
        is_documentation(path, context.repositories) or not _EXAMPLES.isdisjoint(path.casefold().split("/")[:-1])
    ):
        return ""
    words = "documentation may change comments and docstrings alone in it, and " if inside else _outside(paths)
    modes = {change.old_mode, change.new_mode} - {"000000"}
    if not modes <= _PLAIN_FILES or len(modes) > 1:
        return f"{words}its mode changed, or it is not a regular file"
    try:
        before, after = [
            await context.repo.read_blob(each, change.path, limit_bytes=MAX_BYTES) for each in (base, commit)
        ]
    except ValueError:
        return f"{words}it is larger than {MAX_BYTES // 1024} KiB, which is not checked"
    problem = await asyncio.to_thread(problem_of, path, before, after)
    return f"{words}{problem}" if problem else ""


def _outside(paths: Sequence[str]) -> str:
    return f"it lies outside {', '.join(paths)}, where only comments and docstrings may change, and "
