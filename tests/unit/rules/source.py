"""The package's modules as the rules read them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "codexteam"
#: The demo's repository, not ours.
_SAMPLE = PACKAGE / "app" / "demo" / "sample"


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path below the package and the tree of each module, of the whole package or some of its folders."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not path.is_relative_to(_SAMPLE) and (not folders or name.startswith(folders)):
            yield name, _parsed(path)


def modules_of_tests(folder: str = "") -> Iterator[tuple[str, ast.Module]]:
    """Yield the path below `tests` and the tree of each of the tests' modules, of all or of one folder."""
    for path in sorted((ROOT / "tests" / folder).rglob("*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        if not name.startswith("data/"):
            yield name, _parsed(path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> set[str]:
    """Return the dotted names of what a module of the package imports, such as `codexteam.core.step`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
