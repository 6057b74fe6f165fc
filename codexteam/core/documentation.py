"""Whether documentation is asked for, and by what: the goal's words, a plan's tasks, or the names that a change touches."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.repositories import in_each

#: The role that writes documentation.
DOCUMENTATION_ROLE = "documentation"

#: What the documentation role may write freely; elsewhere it may change comments and docstrings alone.
DOCUMENTATION_PATHS = ("**/*.md", "**/*.mdx", "**/*.rst", "**/*.adoc", "docs/", "doc/", "**/README*", "**/CHANGES*")

_SUFFIXES = (".md", ".mdx", ".rst", ".adoc", ".asciidoc")
_FOLDERS = frozenset({"docs", "doc"})
_NAMES = re.compile(r"(readme|changelog|changes|history|news|contributing|authors|install|upgrading)(\.\w+)?")

#: A word with a slash, a dot or a hyphen beside it is part of a name, and not one of the goal's own.
_ASKS = re.compile(
    r"(?<![\w/.\-])("
    r"documentation|docs|docstrings?|readme(\.\w+)?|change ?log(\.\w+)?|api references?|man(ual)? pages?|tutorials?"
    r"|((user|developer|migration|upgrade|installation|admin) guides?)"
    r"|document(ing)? (the|it|its|them|this|that|these|those|all|each|every|both|any|how|what|why|when|where|new|our)"
    r")(?![\w/\-]|\.\w)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"^>.*$", re.MULTILINE)
#: What stands before such a word, in the same part of a sentence, where it is not to be touched.
_DECLINES = re.compile(
    r"\b(no|not|without|don't|dont|never|except|skip|ignore|leave)\b[^.,;:\n]{0,40}\Z", re.IGNORECASE
)


def asks_for_documentation(text: str) -> bool:
    """Return whether a text asks for documentation in so many words: "update the README", and not "leave the docs alone".

    What it quotes, as an issue's comments, are not its own words.
    """
    own = _QUOTED.sub("", text)
    return any(not _DECLINES.search(own[: found.start()]) for found in _ASKS.finditer(own))


def documentation_paths(repositories: Sequence[str]) -> tuple[str, ...]:
    """Return what the documentation role may write freely in each of several repositories; without any, in the one."""
    return (*DOCUMENTATION_PATHS, *in_each(DOCUMENTATION_PATHS, repositories))


def is_documentation(path: str, repositories: Collection[str] = ()) -> bool:
    """Return whether a path, or a glob, is one of documentation by its name; in several repositories each has a folder."""
    folder, _, rest = path.partition("/")
    inner = rest if folder in repositories else path
    parts = [part for part in inner.casefold().split("/") if part not in {"", ".", "**"}]
    if not parts:
        return False
    return parts[-1].endswith(_SUFFIXES) or bool(_NAMES.fullmatch(parts[-1])) or parts[0] in _FOLDERS


def documents(task: Task, repositories: Collection[str] = ()) -> bool:
    """Return whether a task is to write documentation, alone or beside its code."""
    texts = (task.title, task.description, *(each.criterion for each in task.acceptance))
    return (
        task.role == DOCUMENTATION_ROLE
        or any(is_documentation(path, repositories) for path in task.paths)
        or any(map(asks_for_documentation, texts))
    )


def with_documentation(plan: Plan, roles: Iterable[str]) -> Plan:
    """Return the plan with a task for the documentation that its goal asks for and no task writes, after all the others."""
    if (
        DOCUMENTATION_ROLE not in roles
        or not plan.tasks
        or not asks_for_documentation(plan.goal)
        or any(map(documents, plan.tasks))
    ):
        return plan
    numbers = [int(task.id[1:]) for task in plan.tasks if task.id[1:].isdigit()]
    waited_for = {dep for task in plan.tasks for dep in task.deps}
    task = Task(
        TaskId(f"T{max(numbers, default=0) + 1}"),
        "Write the documentation that the goal asks for",
        "The goal asks for documentation, and no other task writes it. Describe what the other tasks made, where this "
        "repository has such documentation; change nothing that the goal does not ask for.",
        DOCUMENTATION_ROLE,
        deps=tuple(task.id for task in plan.tasks if task.id not in waited_for),
        paths=DOCUMENTATION_PATHS,
    )
    return replace(plan, tasks=(*plan.tasks, task))


_DEFINED = re.compile(
    r"\b(?:def|class|func|fn|function|interface|struct|type|enum|const|trait|module|package)\s+([A-Za-z_]\w{2,})"
)
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]+)")
_FILE_HEAD = re.compile(r"^--- (?:a/)?(.*)$")


def touched_names(diff: str, repositories: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names that a unified diff takes away or defines anew: of code, of command-line options, of files."""
    found: dict[str, None] = {}
    before = ""
    for line in diff.splitlines():
        if head := _FILE_HEAD.match(line):
            before = head[1]
        elif line.startswith("+++ "):
            if (
                line.removeprefix("+++ ").strip() == "/dev/null"
                and before
                and not is_documentation(before, repositories)
            ):
                found[before] = None
        elif line.startswith("-") and not is_documentation(before, repositories):
            for name in (*_DEFINED.findall(line), *_OPTION.findall(line)):
                found[name] = None
    return tuple(found)


def mentioned(names: Sequence[str], texts: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first of the names that documentation mentions as code, and the file; None if none does.

    `texts` are the documentation's files by path. A name that is also a word counts in backticks or before a parenthesis.
    """
    for path, text in texts.items():
        for name in names:
            word = re.escape(name)
            is_word = name.isalpha() and (name.islower() or name.istitle())
            form = rf"`[^`\n]*\b{word}\b[^`\n]*`|\b{word}\(" if is_word else rf"(?<![\w-]){word}(?![\w-])"
            if re.search(form, text):
                return name, path
    return None
