"""Which commits of a history may become tasks of an evaluation, and what such a task asks for.

A commit may, if it changes code and the tests of it: its tests are hidden, and what it did to the code is the reference
solution. Whether its tests fail before it and pass with it is seen by running them.
"""

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from posixpath import basename

from codexteam.core.file_kinds import Relevance, is_test_file, relevance

#: A change of more files is hardly one task.
MOST_FILES = 40
#: Words of a message that say what is wanted; less is not enough to work by.
_LEAST_WORDS = 3
#: More failing tests are not named one by one.
_MOST_NAMED = 100
_TRAILER = re.compile(
    r"(?:signed-off-by|co-authored-by|reviewed-by|acked-by|tested-by|change-id|cc|see-also)\s*:.*", re.IGNORECASE
)
#: What services write above the words of whoever merged.
_MERGE = re.compile(r"Merge (?:pull request|branch|remote-tracking branch|tag|commit)\b.*")
_PYTEST = "python3 -m pytest -q -p no:cacheprovider"


@dataclass(frozen=True, slots=True)
class HistoryCommit:
    """A commit of the first-parent history, against its first parent."""

    commit: str
    parent: str
    at_seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class SplitChange:
    """A change's paths: those of tests, which are hidden, and all others, which are the solution."""

    tests: tuple[str, ...]
    others: tuple[str, ...]


def split_change(paths: Collection[str]) -> SplitChange | str:
    """Return a commit's paths as a task has them, or why it is none."""
    if len(paths) > MOST_FILES:
        return f"changes more than {MOST_FILES} files"
    tests = tuple(sorted(path for path in paths if _is_test(path)))
    others = tuple(sorted(path for path in paths if not _is_test(path)))
    if not tests:
        return "changes no test"
    if not any(_is_code(path) for path in others):
        return "changes no code beside its tests"
    if not any(_runs(path) for path in tests):
        return "changes no file of tests that a runner takes"
    return SplitChange(tests, others)


def _is_test(path: str) -> bool:
    return is_test_file(path) or basename(path) in {"test.py", "tests.py"}


def _is_code(path: str) -> bool:
    suffix = basename(path).rpartition(".")[2] if "." in basename(path) else ""
    return relevance(path, 0) is Relevance.CODE and suffix not in {
        "toml",
        "cfg",
        "ini",
        "yml",
        "yaml",
        "json",
        "txt",
        "in",
    }


def _runs(path: str) -> bool:
    return (
        not path.endswith(".py")
        or basename(path).startswith("test")
        or path.endswith(("_test.py", "_tests.py", "tests.py"))
    )


def task_goal(message: str) -> str:
    """Return what a commit's message asks for, without who signed it; empty where it says too little."""
    said = message.replace("\r\n", "\n").split("\n")
    if _MERGE.fullmatch(said[0].strip()):
        said = said[1:]
    lines = [line.rstrip() for line in said if not _TRAILER.fullmatch(line.strip())]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return text if len(text.split()) >= _LEAST_WORDS else ""


def lines_of_tests(tests: Sequence[str], gates: Sequence[str]) -> list[str]:
    """Return lines that run the tests of a commit, the first that can be run counts.

    Tests in Python are run by themselves; of other languages the repository's own commands run all.
    """
    files = [path for path in tests if path.endswith(".py") and _runs(path)]
    if not files:
        return list(gates)
    modules = " ".join(path.removesuffix(".py").replace("/", ".") for path in files)
    return [f"{_PYTEST} {shlex.join(files)}", f"python3 -m unittest {modules}"]


def keep_line(line: str, failed: Collection[str]) -> str:
    """Return a line that runs all tests but those that failed before the fix; empty where they are not known by name."""
    if not line.startswith(_PYTEST) or not failed or len(failed) > _MOST_NAMED:
        return ""
    words = [f"--deselect={name}" if "::" in name else f"--ignore={name}" for name in sorted(failed)]
    return f"{_PYTEST} {shlex.join(words)}"
