"""An edited or a given plan, held against the run that it is for: all that is wrong with it, each with its line."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from codexteam.core.budget_amounts import Unit
from codexteam.core.ids import FindingId, TaskId
from codexteam.core.paths import glob_problem
from codexteam.core.plan_graph import Task, graph_of
from codexteam.core.plan_md import PlanDocument
from codexteam.core.plan_md_task import lines_of, meant_key
from codexteam.core.repositories import scope_problem
from codexteam.errors import PlanError

#: More problems than this in one message help nobody.
_SHOWN = 20
_NUMBER = re.compile(r"T(0|[1-9][0-9]{0,8})")
_ITEM = re.compile(r"  - (?P<key>[A-Za-z _-]+):(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class PlanNames:
    """What a plan may name."""

    writers: Collection[str]
    """Roles that a task may have: those that write code."""
    readers: Collection[str] = ()
    """Roles that there are, but that change nothing."""
    findings: Collection[FindingId] = ()
    unpriced: Mapping[Unit, tuple[str, str]] = field(default_factory=dict)
    """Unit to why no budget can count in it, and what to do."""
    priceless: Callable[[Iterable[str]], Mapping[str, tuple[str, str]]] = lambda _: {}
    """Says of some models which a limit of the run cannot count, why, and what to do."""
    known: Collection[TaskId] = ()
    """Tasks that need not stand in the file to be waited for."""
    repositories: Sequence[str] = ()
    """Of a run in several: each task's paths lie in one of them."""


@dataclass(frozen=True, slots=True)
class _Problem:
    task_id: TaskId
    key: str
    """Of the line where it stands; empty for the task's first line."""
    value: str
    """What to look for in that line."""
    words: str
    hint: str = ""


def check_plan(document: PlanDocument, text: str, name: str, tasks: Sequence[Task], names: PlanNames) -> None:
    """Check the tasks of a file that are to be worked on against the run's settings.

    Args:
        document: The file, read.
        text: What stands in it.
        name: What the file is called in messages.
        tasks: Of its tasks, those to look at.
        names: What they may name.

    Raises:
        PlanError: everything that does not hold, a line each, with the line of the file.
    """
    problems = [problem for task in tasks for problem in _problems(task, names)]
    ids = {task.id for task in document.plan().tasks} | set(names.known)
    problems += [problem for task in tasks for problem in _dependencies(task, ids)]
    if not problems:
        return
    lines = lines_of(text)
    shown = [f"{_place(name, document, lines, problem)}: {problem.words}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        shown.append(f"... and {len(problems) - _SHOWN} more")
    hints = dict.fromkeys(problem.hint for problem in problems[:_SHOWN] if problem.hint)
    raise PlanError("\n".join(shown), hint="; ".join(hints), task_id=problems[0].task_id)


def check_graph(document: PlanDocument, name: str, tasks: Sequence[Task]) -> None:
    """See whether a plan's tasks can be put into an order.

    Raises:
        PlanError: they cannot; with the line of a task.
    """
    try:
        graph_of(tasks)
    except PlanError as error:
        raise placed(error, document, name) from error


def placed(error: PlanError, document: PlanDocument, name: str) -> PlanError:
    """Return an error on one of a file's tasks with the line in which that task begins."""
    number = document.lines.get(TaskId(error.task_id))
    if number is None:
        return error
    return PlanError(f"{name}:{number}: {str(error).removeprefix('plan: ')}", hint=error.hint, task_id=error.task_id)


def role_problem(role: str, names: PlanNames) -> tuple[str, str] | None:
    """Say why no task may have a role, and what may be meant; None where it may."""
    if role in names.writers:
        return None
    allowed = ", ".join(sorted(names.writers))
    if role in names.readers:
        return f"found `{role}`, which changes no files; allowed: {allowed}", ""
    close = get_close_matches(role, list(names.writers), n=1, cutoff=0.6)
    guess = (
        f"did you mean `{close[0]}`?"
        if close
        else f"a role of your own is a file in agents/ of your Codex home: {role}.toml"
    )
    return f"found `{role}`, which is not a role here; allowed: {allowed}", guess


def _problems(task: Task, names: PlanNames) -> Iterator[_Problem]:
    if not _NUMBER.fullmatch(task.id):
        plain = task.id[1:].lstrip("0")[:9] or "0"
        yield _Problem(task.id, "", "", f"found the id {task.id[:24]}", f"did you mean T{plain}?")
    if found := role_problem(task.role, names):
        yield _Problem(task.id, "", "", f"role of {task.id}: {found[0]}", found[1])
    for path in task.paths:
        if problem := glob_problem(path):
            hint = "paths are globs from the repository's root: `src/a.py`, `tests/`, `**` for everything"
            yield _Problem(task.id, "paths", path, f"paths of {task.id}: `{path}` {problem}", hint)
    if found := scope_problem(task.paths, names.repositories):
        words = f"{'paths of ' if task.paths else ''}{task.id}: {found[0]}"
        yield _Problem(task.id, "paths" if found[1] else "", found[1], words, "")
    for unit, (why, hint) in names.unpriced.items():
        if task.budget is not None and task.budget.says(unit):
            yield _Problem(task.id, "budget", "", f"budget of {task.id}: it cannot be kept in {unit}: {why}", hint)
    for model, (why, hint) in names.priceless([task.model] if task.model else []).items():
        yield _Problem(task.id, "model", model, f"model of {task.id}: {why}", hint)
    for finding in task.fixes:
        if finding not in names.findings:
            known = f"known are {', '.join(sorted(names.findings))}" if names.findings else "there are none yet"
            hint = "leave the line out; findings come from the gates"
            yield _Problem(
                task.id, "fixes", finding, f"fixes of {task.id}: there is no finding {finding}: {known}", hint
            )


def _dependencies(task: Task, ids: Collection[str]) -> Iterator[_Problem]:
    for dep in task.deps:
        if dep == task.id:
            yield _Problem(task.id, "after", dep, f"after of {task.id}: it waits for itself", "leave the line out")
        elif dep not in ids:
            guess = _nearest(dep, task.id, ids)
            hint = f"{guess}name a task that is there, or take it out of `after`"
            yield _Problem(task.id, "after", dep, f"task {task.id} waits for {dep}, which is not in the plan", hint)


def _nearest(dep: str, task_id: str, ids: Iterable[str]) -> str:
    close = get_close_matches(dep, [name for name in ids if name != task_id], n=1, cutoff=0.7)
    return f"did you mean {close[0]}? " if close else ""


def _place(name: str, document: PlanDocument, lines: Sequence[str], problem: _Problem) -> str:
    start = document.lines.get(problem.task_id)
    if start is None:
        return name
    if problem.key:
        end = min((line for line in document.lines.values() if line > start), default=len(lines) + 1) - 1
        for number in range(start, end):
            found = _ITEM.match(lines[number])
            if found and meant_key(found["key"]) == problem.key and problem.value.lower() in found["value"].lower():
                return f"{name}:{number + 1}"
    return f"{name}:{start}"
