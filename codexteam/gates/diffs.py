"""What a round judges, as texts: the diff, the changed tests, and the tree with protected tests put back."""

from pathlib import PurePosixPath

from codexteam.agent.office import Office
from codexteam.core.effects import RunGate
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.paths import matches_any
from codexteam.core.plan import Task
from codexteam.core.state import RunState
from codexteam.gates.weakened import TextPair, find_weakened, is_gate_file, is_test_file
from codexteam.ports.repo import TreeChange

#: What a judge gets to read of a diff; the rest it finds in its workspace.
DIFF_BYTES = 120_000

_FILE_BYTES = 1 << 20


def batch_tasks(effect: RunGate, state: RunState) -> list[Task]:
    """Give the tasks whose merges a round judges."""
    return [state.tasks[TaskId(name)].task for name, _ in effect.merges if name in state.tasks]


async def diff_of(office: Office, effect: RunGate) -> tuple[str, bool]:
    """Give the diff since a gate's last verdict, and whether it was cut."""
    return await office.repo.diff_text(effect.since, effect.commit, limit_bytes=DIFF_BYTES)


async def changed_paths(office: Office, old: CommitId, new: CommitId) -> list[str]:
    """Give the paths that differ, for judging by their names."""
    return [change.path.decode("utf-8", errors="replace") for change in await office.repo.changes(old, new)]


async def weakened_findings(office: Office, effect: RunGate, state: RunState) -> tuple[Finding, ...]:
    """Give what was done to tests and gate commands since the base commit: found without a model."""
    if state.base is None:
        return ()
    changes = [change for change in await office.repo.changes(state.base, effect.commit) if _is_judged(change)]
    texts = {change.path: await _texts(office, state.base, effect.commit, change) for change in changes}
    named = [path for known in state.tasks.values() for path in known.task.paths]
    return tuple(find_weakened(changes, lambda change: texts[change.path], asked_for=named))


def _is_judged(change: TreeChange) -> bool:
    path = change.path.decode("utf-8", errors="replace")
    return is_test_file(path) or is_gate_file(path)


async def _texts(office: Office, old: CommitId, new: CommitId, change: TreeChange) -> TextPair:
    before = await office.repo.read_blob(old, change.path, limit_bytes=_FILE_BYTES)
    after = await office.repo.read_blob(new, change.path, limit_bytes=_FILE_BYTES)
    return TextPair(_text(before), _text(after))


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", errors="replace")


async def protected_commit(office: Office, effect: RunGate, state: RunState) -> CommitId:
    """Give the judged commit with the protected tests as they are in the base commit."""
    globs = office.settings.team.gates.protected_tests
    if not globs or state.base is None:
        return effect.commit
    paths = [change.path for change in await office.repo.changes(state.base, effect.commit)]
    protected = [path for path in paths if matches_any(path, globs)]
    if not protected:
        return effect.commit
    tree = await office.repo.overlay(effect.commit, state.base, protected)
    author = await office.author("ci_runner", f"protected.{effect.commit}")
    message = office.message("Judge with the protected tests of the base commit", "", role="ci_runner")
    return await office.repo.commit(tree, (effect.commit,), message, author)


def is_test_path(path: bytes) -> bool:
    """Say whether QA may write a path."""
    text = path.decode("utf-8", errors="replace")
    return is_test_file(text) or PurePosixPath(text).parts[:1] in {("tests",), ("test",)}
