"""The programs that scan: those of our own installation, never one that a repository could bring."""

import sysconfig
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScanPrograms:
    """Where the scanners are, and which."""

    ruff: Path
    ast_grep: Path
    names: tuple[str, ...]
    """With their versions."""


def find_programs() -> ScanPrograms | None:
    """Return the scanners that `codexteam[scan]` installs; None if one of them is missing."""
    folder = Path(sysconfig.get_path("scripts"))
    ruff, ast_grep = folder / "ruff", folder / "ast-grep"
    if not (ruff.is_file() and ast_grep.is_file()):
        return None
    try:
        names = (f"ruff {version('ruff')}", f"ast-grep {version('ast-grep-cli')}")
    except PackageNotFoundError:
        return None
    return ScanPrograms(ruff, ast_grep, names)
