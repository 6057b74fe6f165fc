"""Finds out what a suite is, and reads it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from codexteam.adapters.suites.exercises import exercise_folders, exercise_task
from codexteam.adapters.suites.harbor import harbor_folders, harbor_task
from codexteam.adapters.suites.swe_bench import read_rows, row_task
from codexteam.core.eval_task import EvalSuite, EvalTask
from codexteam.errors import UsageError

SUITE_FORMS = (
    "a file of SWE-bench rows (JSON, JSON Lines), a folder of Harbor tasks (task.toml), or a folder of exercises "
    "(.meta/config.json)"
)


def read_suite(place: Path, *, repositories: Path | None = None, test_command: str = "") -> EvalSuite:
    """Return the tasks of a suite, in its order.

    Raises:
        UsageError: it is not there, or nothing in it is a task.
    """
    if place.is_file():
        kind = "SWE-bench"
        found = [row_task(row, repositories, test_command) for row in read_rows(place)]
    elif not place.is_dir():
        raise UsageError(f"{place}: there is no such file or folder", hint=f"a suite is {SUITE_FORMS}")
    elif folders := harbor_folders(place):
        kind = "Harbor"
        found = [harbor_task(folder) for folder in folders]
    else:
        kind = "exercises"
        found = [exercise_task(place, folder, test_command) for folder in exercise_folders(place)]
    tasks = [one for one in found if isinstance(one, EvalTask)]
    left_out = [one for one in found if isinstance(one, tuple)]
    if not tasks:
        why = f"{left_out[0][0]}: {left_out[0][1]}" if left_out else "nothing in it is a task"
        raise UsageError(f"{place}: {why}", hint=f"a suite is {SUITE_FORMS}")
    twice = {task.name for task in tasks if sum(other.name == task.name for other in tasks) > 1}
    if twice:
        raise UsageError(f"{place}: two tasks have the name {min(twice)!r}", hint="rename one of them")
    return EvalSuite(place.resolve().name.partition(".")[0], kind, tuple(tasks), tuple(left_out))


def suite_mark(tasks: Iterable[EvalTask]) -> str:
    """Return what tells the tasks of a suite from others, for an evaluation that is continued."""
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(repr((task.name, task.goal, task.hidden.commands, task.hidden.keep_commands)).encode())
        digest.update(repr((task.hidden.patch, sorted(task.hidden.files.items()))).encode())
        digest.update(repr(getattr(task.start, "commit", "")).encode())
    return digest.hexdigest()[:16]
