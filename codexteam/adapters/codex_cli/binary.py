"""Finds the user's Codex: the command on the path, its version, and the static program that runs in any sandbox."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Older ones were not tried: whether all of their tools work in the environment is not known.
LEAST_VERSION = (0, 169)
#: The newest one that was tried.
TRIED_VERSION = (0, 171)
#: Where npm's package for a platform has its programs, below the folder of the package.
_VENDORED = "vendor/*/bin/codex"
_PLATFORM_PACKAGES = "codex-*/" + _VENDORED
_ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class CodexBinary:
    """A Codex that is installed."""

    command: Path
    """What the user calls."""
    program: Path
    """The native program behind it."""
    version: str
    """As its package says; empty where only the program itself can tell."""

    @property
    def folder(self) -> Path:
        """What a sandbox has to see: the program's folder, with what lies beside it."""
        return self.program.parent


def find_codex(environment: Mapping[str, str]) -> CodexBinary | None:
    """Return the Codex on the user's PATH; None when there is none that can be run in a sandbox."""
    found = shutil.which("codex", path=environment.get("PATH", os.defpath))
    return None if found is None else codex_at(Path(found))


def codex_at(command: Path) -> CodexBinary | None:
    """Return the Codex that a command starts; npm's is a script that starts the program of a platform's package."""
    real = command.resolve()
    if _is_program(real):
        return CodexBinary(command, real, "")
    package = real.parents[1] if len(real.parents) > 1 else real.parent
    places = (package.glob(_VENDORED), package.parent.glob(_PLATFORM_PACKAGES))
    inside = (package / "node_modules" / "@openai").glob(_PLATFORM_PACKAGES)
    for program in (*(path for place in places for path in place), *inside):
        if _is_program(program):
            return CodexBinary(command, program, _package_version(package))
    return None


def version_of(said: str) -> str:
    """Return the version in what `codex --version` or an app-server says of itself; empty when there is none."""
    found = re.search(r"\b(\d+\.\d+\.\d+(?:-[\w.]+)?)", said)
    return found[1] if found else ""


def is_new_enough(version: str) -> bool:
    """Return whether a version keeps all of an agent's work in its environment."""
    return _parts(version) >= LEAST_VERSION


def is_untried(version: str) -> bool:
    """Return whether a version is newer than those that were tried."""
    return _parts(version) > TRIED_VERSION


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _ELF
    except OSError:
        return False


def _package_version(package: Path) -> str:
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8")).get("version")
    except (OSError, ValueError):
        return ""
    return version if isinstance(version, str) else ""
