"""Judges what an attempt hands in by running it: tests that its task owes, and how large its change is.

Whether its tests pass is seen on the merged tree, by the acceptance commands. Here is seen whether they fail without its
code, on the commit that it began with, and, where the environment has a tool for that, whether anything runs what is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.core.command_ending import is_test_runner
from codexteam.core.effects import Work
from codexteam.core.ids import CommitId, JSONObject
from codexteam.core.plan_graph import OwedTests, Task
from codexteam.core.untested import FileChange, judging_commands, never_run_words, owed_tests, why_refused
from codexteam.core.work_size import changed_lines, size_of
from codexteam.run.command_outcome import evidence_of
from codexteam.run.context import RunContext
from codexteam.run.gates.ci import gate_commands
from codexteam.run.gates.coverage import measure
from codexteam.run.gates.diffs import WORK_SIZES
from codexteam.run.gates.results import outcomes_on

#: The longest file that is compared line by line.
_FILE_BYTES = 1 << 20
#: The most files whose lines are compared; what is beyond them only counts as a file.
_MOST_FILES = 400


async def judge_work(context: RunContext, effect: Work, task: Task, commit: CommitId) -> tuple[str, str]:
    """Say in a line why an attempt's work is not taken, and show what was seen; both empty where it is taken."""
    texts = await _texts(context, effect.base, commit)
    await context.remember(WORK_SIZES, f"{task.id}.{effect.attempt}", size_of(texts))
    owed = owed_tests(task)
    changes = [_change(path, before, after) for path, before, after in texts]
    code = [change.path for change in changes if change.is_code]
    if owed is OwedTests.NONE or not code or context.settings.team.gates.untested == "allow":
        return "", ""
    if owed is OwedTests.EXISTING and task.tests is None:
        return "", ""  # nobody said that there are any
    what = f"{task.id}.{effect.attempt}"
    commands = judging_commands(task)
    tests = commands if any(map(is_test_runner, commands)) else await gate_commands(context)
    red = _RedFirst()
    apart = not any(change.is_code and change.is_test for change in changes)  # else they cannot be run without its code
    if owed is OwedTests.REQUIRED and commands and apart:
        red = await _without_its_code(context, effect, commit, commands, _tests_in(changes))
    measured = await measure(context, commit, tests, code, name=f"measure.{what}")
    why = why_refused(owed, changes, measured, passes_without=red.passing, shown=red.shown)
    if why and task.tests is not None and context.settings.team.gates.untested == "refuse":
        return why, f"{_WHAT_NEXT}\n\n{red.evidence}".strip()
    if warning := why or never_run_words(changes, measured):
        fields: JSONObject = {"task": task.id, "attempt": effect.attempt, "rule": "untested", "message": warning}
        context.report("policy.warned", fields)
    return "", ""


@dataclass(frozen=True, slots=True)
class _RedFirst:
    """What the judging commands said of an attempt's tests without its code; nothing if they were not run."""

    passing: tuple[str, ...] = ()
    """All of them, if all pass."""
    shown: bool = False
    """Whether one fails, so that tests show what the work does."""
    evidence: str = ""


_WHAT_NEXT = (
    "Write a test that fails without the change and passes with it, where the acceptance commands run it. If that cannot be, "
    "say why in a question: a person may set `tests: existing` or `tests: none` for the task."
)


async def _without_its_code(
    context: RunContext, effect: Work, commit: CommitId, commands: Sequence[str], tests: Sequence[bytes]
) -> _RedFirst:
    """Run commands on the base with nothing of the work but its tests."""
    what = f"{effect.task_id}.{effect.attempt}"
    tree = await context.repo.overlay(effect.base, commit, sorted(tests))
    author = await context.author("ci_runner", f"without.{what}")
    message = context.message(f"Show the tests of {what} without its code", "", role="ci_runner")
    without = await context.repo.commit(tree, (effect.base,), message, author)
    team = context.settings.team
    seconds = min(team.limits.command_seconds, team.gates.timeout_seconds)
    outcomes = await outcomes_on(context, without, commands, name=f"without.{what}", timeout_seconds=seconds)
    failing = [outcome for outcome in outcomes if not outcome.ok or outcome.did_not_run]
    fields: JSONObject = {"task": effect.task_id, "attempt": effect.attempt, "failed": bool(failing)}
    context.report("tests.without_code", {**fields, "commands": list(commands)})
    # without a test of its own, a test that failed before shows the work; that a file was missing does not
    shown = any(tests or is_test_runner(outcome.command) for outcome in failing)
    return _RedFirst(() if failing else tuple(commands), shown, evidence_of(outcomes))


def _tests_in(changes: Sequence[FileChange]) -> list[bytes]:
    return [
        change.path.encode("utf-8", "surrogateescape") for change in changes if change.is_test and not change.is_code
    ]


async def _texts(context: RunContext, base: CommitId, commit: CommitId) -> list[tuple[str, str, str]]:
    """Return the changed text files: path, text before, text after."""
    changes = (await context.repo.changes(base, commit))[:_MOST_FILES]
    before = await context.repo.read_blobs([change.old_blob for change in changes], limit_bytes=_FILE_BYTES)
    after = await context.repo.read_blobs([change.new_blob for change in changes], limit_bytes=_FILE_BYTES)
    texts = []
    for change, old, new in zip(changes, before, after, strict=True):
        # what is too long to be read is left out, and not taken for a file that is not there
        if (old is not None or change.status == "A") and (new is not None or change.status == "D"):
            path = change.path.decode("utf-8", "surrogateescape")
            texts.append((path, (old or b"").decode("utf-8", "replace"), (new or b"").decode("utf-8", "replace")))
    return texts


def _change(path: str, before: str, after: str) -> FileChange:
    lines = after.split("\n")
    return FileChange(path, {number: lines[number - 1] for number in changed_lines(before, after).added})
