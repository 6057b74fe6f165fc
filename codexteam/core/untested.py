"""Whether anything but a reader judges a task's work: an acceptance command that can fail, and tests that run its code."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from codexteam.core.command_ending import cannot_fail, is_test_runner
from codexteam.core.documentation import DOCUMENTATION_ROLE
from codexteam.core.file_kinds import Relevance, is_test_file, relevance
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.plan_graph import OwedTests, Task
from codexteam.core.text import clean_line

#: Files that hold a program's behaviour, by their endings.
_PROGRAMS: Final = frozenset(
    f".{name}"
    for name in (
        *(
            "c",
            "cc",
            "cjs",
            "cpp",
            "cs",
            "cxx",
            "dart",
            "ex",
            "exs",
            "go",
            "h",
            "hpp",
            "java",
            "js",
            "jsx",
            "kt",
            "lua",
            "mjs",
        ),
        *("mts", "php", "pl", "py", "rb", "rs", "scala", "swift", "ts", "tsx", "vue"),
    )
)
#: Tests in the file that they test.
_TEST_INSIDE: Final = ("#[test]", "#[cfg(test)]", ">>> ")
_SHOWN: Final = 8


def owed_tests(task: Task) -> OwedTests:
    """Return what a task owes in tests: what it says, else what its paths allow it to write."""
    if task.tests is not None:
        return task.tests
    if task.role == DOCUMENTATION_ROLE:
        return OwedTests.NONE
    if task.paths:
        may_test = any(is_test_file(path.replace("*", "x")) for path in task.paths)
    else:
        may_test = any(accept.command and is_test_runner(accept.command) for accept in task.acceptance)
    return OwedTests.REQUIRED if may_test else OwedTests.EXISTING


def judging_commands(task: Task) -> tuple[str, ...]:
    """Return the acceptance commands that run tests; without one, all that can fail."""
    commands = tuple(dict.fromkeys(each.command for each in task.acceptance if each.command))
    return tuple(filter(is_test_runner, commands)) or tuple(each for each in commands if not cannot_fail(each))


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that a task's work changes."""

    path: str
    added: Mapping[int, str] = field(default_factory=dict)
    """The lines that say something new, by their numbers."""

    @property
    def is_code(self) -> bool:
        """Whether it changes what a program does, as far as its name and its lines say."""
        program = f".{self.path.rpartition('.')[2].casefold()}" in _PROGRAMS
        if not program or relevance(self.path, 0) is not Relevance.CODE:
            return False
        return any(_says_something(line) for line in self.added.values())

    @property
    def is_test(self) -> bool:
        """Whether it brings a test."""
        if is_test_file(self.path):
            return bool(self.added)
        return any(mark in line for line in self.added.values() for mark in _TEST_INSIDE)


def _says_something(line: str) -> bool:
    bare = line.strip()
    return any(char.isalnum() for char in bare) and not bare.startswith(
        ("#", "//", "*", "/*", "--", '"""', "import ", "from ")
    )


@dataclass(frozen=True, slots=True)
class ExecutedLines:
    """What tests ran of a file, as far as it was measured."""

    ran: frozenset[int]
    missed: frozenset[int]
    """Lines that could have run, and did not."""


def never_run(changes: Iterable[FileChange], measured: Mapping[str, ExecutedLines]) -> dict[str, list[int]]:
    """Return the changed files of which tests ran not one new line, and those lines; only what was measured is judged."""
    found = {}
    for change in changes:
        lines = measured.get(change.path)
        if lines is None or not change.is_code:
            continue
        missed = sorted(lines.missed & change.added.keys())
        if missed and not lines.ran & change.added.keys():
            found[change.path] = missed
    return found


def why_refused(
    owed: OwedTests,
    changes: Sequence[FileChange],
    measured: Mapping[str, ExecutedLines],
    *,
    passes_without: Sequence[str] = (),
    shown: bool = False,
) -> str:
    """Say why work does not have the tests that it owes; empty where it has.

    Args:
        owed: What the task owes.
        changes: What its work changes.
        measured: What of it tests ran, by path; a file that nothing could measure is not in it.
        passes_without: The judging commands, if all of them pass on the base with the work's tests alone.
        shown: Whether one of them fails there, so that they show what the work does.
    """
    code = [change for change in changes if change.is_code]
    if owed is OwedTests.NONE or not code or shown:
        return ""
    # of which not one line ran may run where nothing can see it: in a process that was killed, or that knows of no tool
    seen = {path: lines for path, lines in measured.items() if lines.ran}
    if why := never_run_words(code, seen):
        return why
    if owed is OwedTests.EXISTING:
        return ""
    names = ", ".join(clean_line(change.path) for change in code[:_SHOWN])
    if not any(change.is_test for change in changes) and not all(change.path in seen for change in code):
        return f"it changes code ({names}) and no test"
    if passes_without:
        passed = ", ".join(f"`{clean_line(command)}`" for command in passes_without)
        return f"its tests pass without its code, so they do not show what it does: {passed}"
    return ""


def never_run_words(changes: Iterable[FileChange], measured: Mapping[str, ExecutedLines]) -> str:
    """Say which new lines no test ran, as far as it was measured; empty where there are none."""
    left = [*never_run(changes, measured).items()][:_SHOWN]
    listed = "; ".join(f"{clean_line(path)} lines {_ranges(lines)}" for path, lines in left)
    return f"no test runs what it adds to {listed}" if listed else ""


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as `3-5, 9`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts[:_SHOWN])


def why_untested(task: Task) -> str:
    """Say why no command judges a task that changes code; empty where one does, or where it writes prose alone."""
    if task.paths and all(relevance(path, 0) is Relevance.PROSE for path in task.paths):
        return ""
    commands = [accept.command for accept in task.acceptance if accept.command]
    if not commands:
        return "it has no acceptance command"
    idle = {command: why for command in commands if (why := cannot_fail(command))}
    if len(idle) < len(set(commands)):
        return ""
    return "; ".join(f"`{command}`: {why}" for command, why in idle.items())


def idle_findings(tasks: Iterable[Task]) -> Iterator[Finding]:
    """Return a finding for each acceptance command that cannot fail."""
    for task in tasks:
        for command in dict.fromkeys(accept.command for accept in task.acceptance if accept.command):
            if why := cannot_fail(command):
                yield Finding(
                    f"the acceptance command `{command}` of {task.id} cannot fail",
                    f"{why[0].upper()}{why[1:]}: that {task.id} ({task.title}) was accepted says nothing.",
                    Severity.SHOULD_FIX,
                    Category.TESTS,
                )
