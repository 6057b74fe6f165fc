"""The package's modules and the tests' as the rules read them.

To parse all of them takes many seconds, so that a rule looks for a word first, and at the tree of what has it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "codexteam"
#: The demo's repository, not ours.
_SAMPLE = PACKAGE / "app" / "demo" / "sample"
_FROM = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([\w., ]+)", re.MULTILINE)
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(frozen=True)
class ImportedName:
    """One name of a `from` import."""

    module: str
    name: str
    alias: str
    """Empty where it keeps its name."""


@dataclass(frozen=True)
class Source:
    """One module: its path below the package or below `tests`, and its text."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def imported_names(self) -> tuple[ImportedName, ...]:
        """The names of its `from` imports, by its text: what stands in a string counts too."""
        return tuple(
            ImportedName(module, words[0], words[2] if len(words) > 2 else "")
            for module, listed in _FROM.findall(self.text)
            for part in _COMMENT.sub("", listed).strip("()").split(",")
            if (words := part.split())
        )

    @cached_property
    def imports(self) -> frozenset[str]:
        """The dotted names of what it imports, such as `codexteam.core.step`, by its text."""
        found = {words[0] for line in _IMPORT.findall(self.text) for part in line.split(",") if (words := part.split())}
        for each in self.imported_names:
            found |= {each.module, f"{each.module}.{each.name}"}
        return frozenset(found)


def modules(*folders: str) -> Iterator[Source]:
    """Yield the modules of the whole package, or of some of its folders."""
    for path in _python_files(PACKAGE):
        name = path.relative_to(PACKAGE).as_posix()
        if not path.is_relative_to(_SAMPLE) and (not folders or name.startswith(folders)):
            yield _source(name, path)


def modules_of_tests(folder: str = "") -> Iterator[Source]:
    """Yield the tests' modules, of all tests or of one folder."""
    for path in _python_files(ROOT / "tests" / folder):
        name = path.relative_to(ROOT / "tests").as_posix()
        if not name.startswith("data/"):
            yield _source(name, path)


@cache
def _python_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.rglob("*.py")))


@cache
def _source(name: str, path: Path) -> Source:
    return Source(name, path.read_text(encoding="utf-8"))
