"""A tree of several repositories: which of them a path or a task is in, and what a task may write of it."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from codexteam.core.ids import TaskId
from codexteam.core.paths import glob_problem, scopes_overlap
from codexteam.core.plan_graph import Task


def repository_of(glob: str, repositories: Collection[str]) -> str:
    """Return the repository that a path or glob lies in; empty where it lies in none, or perhaps in several."""
    parts = [part for part in glob.split("/") if part not in {"", "."}]
    return parts[0] if parts and parts[0] in repositories else ""


def repositories_in(globs: Iterable[str], repositories: Sequence[str]) -> tuple[str, ...]:
    """Return the repositories that a task with these paths may write in; without paths all of them."""
    found = {repository_of(glob, repositories) for glob in globs}
    return tuple(name for name in repositories if not found or name in found)


_WORD = re.compile(r"[^\s;&|()<>'\"=`]+")
_BEGINS = re.compile(r"\(?\s*cd\s+([^\s;&|]+)\s*(?:&&|;|\n)")
#: How a line goes on in another folder: by the shell, or by the options with which make, npm, uv, cargo and others do so.
_LEAVES = re.compile(r"(?:\bcd\s+|\s-C[\s=]*|\s--(?:directory|prefix|cwd|project|manifest-path|rootdir)[\s=]+)(\S+)")
#: Where a workspace's folders are, and what leads from one repository to another.
_ROOTS = re.compile(r"(?:/work/|/repos/|(?:\.{1,2}/)+)")


def repository_of_command(line: str, repositories: Collection[str]) -> str:
    """Return the repository that a command line works in; empty where it works in none, or in several.

    It begins with `cd` into one and goes into no other, or all paths that it names are of one.
    """

    def named(word: str) -> str:
        return repository_of(_ROOTS.sub("", word.strip("'\""), count=1), repositories)

    begins = _BEGINS.match(line.strip())
    if begins and (own := named(begins[1])):
        others = {named(word) for word in _LEAVES.findall(line)} - {own, ""}
        return "" if others else own
    found = {named(word) for word in _WORD.findall(line)} - {""}
    return found.pop() if len(found) == 1 else ""


def scope_problem(globs: Sequence[str], repositories: Sequence[str]) -> tuple[str, str] | None:
    """Say why a task of a run in several repositories may not have these paths, and which one it is; None where it may."""
    if not repositories:
        return None
    example = f"each task works in one repository, and its paths begin with its name, as `{repositories[0]}/src/`"
    if not globs:
        return f"it names no repository ({', '.join(repositories)}): {example}", ""
    first = ""
    for glob in globs:
        if glob_problem(glob):
            continue  # said already
        name = repository_of(glob, repositories)
        if not name:
            return f"`{glob}` lies in no repository ({', '.join(repositories)}): {example}", glob
        if first and name != first:
            return f"`{glob}` lies in {name}, and the paths before in {first}: {example}", glob
        first = name
    return None


def order_problems(tasks: Sequence[Task], repositories: Sequence[str]) -> Iterator[str]:
    """Say of tasks which of them use what another repository's task writes, though neither waits for the other.

    What a task uses is what its description and its acceptance name by path, such as `api/openapi.yaml`. Interfaces come
    first: without an order its tests would run against what the other repository was, or they would not, as it happens.
    """
    if not repositories:
        return
    before = _all_before(tasks)
    for task in tasks:
        own = repositories_in(task.paths, repositories)
        used = [path for path in _named_paths(task, repositories) if repository_of(path, repositories) not in own]
        for other in tasks if used else ():
            path = next((each for each in used if other.paths and scopes_overlap((each,), other.paths)), "")
            if path and other.id != task.id and other.id not in before[task.id] and task.id not in before[other.id]:
                yield (
                    f"{task.id} names `{path}`, which {other.id} writes in another repository, and neither waits for the "
                    "other: the one that changes the interface comes first, and who uses it has it in `deps`"
                )


def _all_before(tasks: Sequence[Task]) -> dict[TaskId, set[TaskId]]:
    """Return all that each task waits for, directly or through others; tasks that wait for each other may be in it too."""
    deps = {task.id: task.deps for task in tasks}
    found: dict[TaskId, set[TaskId]] = {}
    for task_id, direct in deps.items():
        seen: set[TaskId] = set()
        waiting = [*direct]
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                waiting += deps.get(each, ())
        found[task_id] = seen
    return found


def _named_paths(task: Task, repositories: Collection[str]) -> Iterator[str]:
    texts = [task.description, *(text for each in task.acceptance for text in (each.criterion, each.command or ""))]
    for word in _WORD.findall(" ".join(texts)):
        path = _ROOTS.sub("", word, count=1).rstrip(".,:/")
        if "/" in path and repository_of(path, repositories) and not glob_problem(path):
            yield path


def in_each(globs: Iterable[str], repositories: Iterable[str]) -> tuple[str, ...]:
    """Return globs that are said from a repository's root as they are for each folder of the tree."""
    listed = [glob.lstrip("/") for glob in globs]
    return tuple(f"{name}/{glob}" for name in repositories for glob in listed if not glob.startswith("**/"))


def merge_order(tasks: Mapping[TaskId, Task], repositories: Sequence[str]) -> tuple[str, ...]:
    """Return repositories in the order to merge their parts in: one whose work another's builds on comes before it.

    Where two build on each other, the one whose work began first is the first.
    """
    waits_for: dict[str, set[str]] = {name: set() for name in repositories}
    first: dict[str, int] = {}
    for place, task in enumerate(tasks.values()):
        for name in _written(task, repositories):
            first.setdefault(name, place)
            for dep in task.deps:
                if dep in tasks:
                    waits_for[name] |= {*_written(tasks[dep], repositories)} - {name}
    left = sorted(repositories, key=lambda name: first.get(name, len(tasks)))
    order: list[str] = []
    while left:
        name = next((each for each in left if waits_for[each].isdisjoint(left)), left[0])
        left.remove(name)
        order.append(name)
    return tuple(order)


def _written(task: Task, repositories: Sequence[str]) -> tuple[str, ...]:
    return repositories_in(task.paths, repositories) if task.paths else ()
