"""What a round judges, as texts: the diff, the changed tests, and what is shown apart from the rest."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from codexteam.core.effects import RunGate
from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.work_size import WorkSize, size_findings
from codexteam.ports.repo import TreeChange
from codexteam.run.context import RunContext
from codexteam.run.gates.cases import is_expected_output
from codexteam.run.gates.redirecting import asked_paths
from codexteam.run.gates.weakened import TextPair, find_weakened
from codexteam.run.remembered import ReviewedChange

#: What a judge gets to read of a diff; the rest it finds in its workspace.
DIFF_BYTES = 120_000

#: Space of the store for how large attempts' work is, by `T1.2`.
WORK_SIZES = "sizes"

_FILE_BYTES = 1 << 20
_SENSITIVE_BYTES = 24_000


def batch_tasks(effect: RunGate, state: RunState) -> list[Task]:
    """Return the tasks whose merges a round judges."""
    return [state.tasks[TaskId(name)].task for name, _ in effect.merges if name in state.tasks]


async def author_of(context: RunContext, state: RunState) -> str | None:
    """Return what the author of a reviewed change says of it; None in a run, whose work has no other author."""
    if not state.rules.review:
        return None
    change = await context.recall("review", "change", ReviewedChange)
    return change.author_says if change else ""


async def audited_paths(context: RunContext, state: RunState) -> tuple[str, ...] | None:
    """Return what an audit looks at, all of the repository without any path; None where a change is judged."""
    change = await context.recall("review", "change", ReviewedChange) if state.rules.review else None
    return change.audit if change else None


async def diff_of(context: RunContext, effect: RunGate) -> tuple[str, bool]:
    """Return the diff since a gate's last verdict, and whether it was cut."""
    return await context.repo.diff_text(effect.since, effect.commit, limit_bytes=DIFF_BYTES)


async def changed_paths(context: RunContext, old: CommitId, new: CommitId) -> list[str]:
    """Return the paths that differ, for judging by their names."""
    return [change.path.decode("utf-8", errors="replace") for change in await context.repo.changes(old, new)]


async def size_notes(context: RunContext, state: RunState) -> tuple[Finding, ...]:
    """Return what is to be said of the size of merged work, held against the plan's."""
    found: list[Finding] = []
    for known in state.tasks.values():
        if known.phase is TaskPhase.MERGED:
            size = await context.recall(WORK_SIZES, f"{known.task.id}.{known.attempt}", WorkSize)
            found += size_findings(known.task, size) if size is not None else ()
    return tuple(found)


async def weakened_findings(context: RunContext, commit: CommitId, state: RunState) -> tuple[Finding, ...]:
    """Return what was done to tests since the base commit: found without a model."""
    if state.base is None:
        return ()
    changes = [change for change in await context.repo.changes(state.base, commit) if _is_judged(change)]
    texts = {change.path: await _texts(context, state.base, commit, change) for change in changes}
    named = [path for known in state.tasks.values() for path in asked_paths(known)]
    return tuple(find_weakened(changes, lambda change: texts[change.path], asked_for=named))


def _is_judged(change: TreeChange) -> bool:
    path = change.path.decode("utf-8", errors="replace")
    return is_test_file(path) or is_expected_output(path)


async def _texts(context: RunContext, old: CommitId, new: CommitId, change: TreeChange) -> TextPair:
    return TextPair(await _text(context, old, change.path), await _text(context, new, change.path))


async def _text(context: RunContext, commit: CommitId, path: bytes) -> str | None:
    """Return a file's text; None if it is too long to be a test."""
    try:
        data = await context.repo.read_blob(commit, path, limit_bytes=_FILE_BYTES)
    except ValueError:
        return ""
    return None if data is None else data.decode("utf-8", errors="replace")


async def sensitive_changes(context: RunContext, effect: RunGate, paths: Sequence[bytes]) -> str:
    """Return the diff of some paths alone, so that a judge sees it however long the whole is."""
    if not paths:
        return ""
    tree = await context.repo.overlay(effect.since, effect.commit, sorted(paths))
    author = await context.author(effect.gate.value, f"sensitive.{effect.key}")
    message = context.message("Show what decides on gates, or is guarded", "", role=effect.gate.value)
    only = await context.repo.commit(tree, (effect.since,), message, author)
    text, cut = await context.repo.diff_text(effect.since, only, limit_bytes=_SENSITIVE_BYTES)
    return f"{text}\n[cut: read the rest in the workspace]" if cut else text


def is_test_path(path: bytes) -> bool:
    """Return whether QA may write a path."""
    text = path.decode("utf-8", errors="replace")
    return is_test_file(text) or PurePosixPath(text).parts[:1] in {("tests",), ("test",)}
