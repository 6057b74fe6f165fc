"""Where things are: Codex's home, the project and its root, the repository, and whether the user trusts it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import codexteam
from codexteam.core.ids import AGENT_GATES, JSONObject
from codexteam.errors import ConfigError, InternalError

#: The roles that ship, in the order in which a run meets them.
BUNDLED_ROLES: Final[tuple[str, ...]] = (
    "orchestrator",
    "requirement_analyst",
    "explorer",
    "implementer",
    *(gate.value for gate in AGENT_GATES),
    "documentation",
    "release_manager",
)

#: What all roles use where nothing else is asked for; the model of the role files that ship.
DEFAULT_MODEL = "gpt-5.4"
#: The roles that only read or run: what they do needs a fast model more than a deep one.
FAST_ROLES = ("explorer", "ci_runner")


def bundled_role_file(name: str) -> Path:
    """Return the path of a role file that ships.

    Raises:
        InternalError: the installation lacks it.
    """
    return bundled_file(f"agents/{name}.toml")


def bundled_file(file: str) -> Path:
    """Return the path of a file that ships and stands at the top of the source tree.

    Raises:
        InternalError: the installation lacks it.
    """
    package = Path(codexteam.__file__).parent
    # a wheel carries the files inside the package; a checkout has them beside it
    for root in (package / "_bundled", package.parent):
        if (root / file).is_file():
            return root / file
    raise InternalError(f"{file} is missing from the installation at {package}", hint="install codexteam again")


def codex_home(environment: Mapping[str, str]) -> Path:
    """Return `$CODEX_HOME`, else `~/.codex`, which need not exist.

    Raises:
        ConfigError: `CODEX_HOME` names no directory.
    """
    named = environment.get("CODEX_HOME")
    if named:
        home = Path(named).expanduser()
        if not home.is_dir():
            what = "is not a directory" if home.exists() else "does not exist"
            raise ConfigError(
                f"CODEX_HOME points to {home}, but that path {what}", hint="create it, or unset CODEX_HOME"
            )
        return home.resolve()
    return home_folder(environment) / ".codex"


def home_folder(environment: Mapping[str, str]) -> Path:
    """Return the user's home folder."""
    home = environment.get("HOME")
    return Path(home) if home else Path("~").expanduser()


def project_root(cwd: Path, markers: Sequence[str]) -> Path:
    """Return the nearest directory with a marker, from `cwd` upwards; `cwd` where there is none."""
    for directory in (cwd, *cwd.parents):
        if any((directory / marker).exists() for marker in markers):
            return directory
    return cwd


def repository_root(cwd: Path) -> Path:
    """Return the work tree's root, a bare repository itself, or `cwd` where there is neither."""
    for directory in (cwd, *cwd.parents):
        if (directory / ".git").exists():
            return directory
        if (directory / "HEAD").is_file() and (directory / "objects").is_dir() and (directory / "refs").is_dir():
            return directory.parent if directory.name == ".git" else directory
    return cwd


def project_folders(root: Path, cwd: Path) -> Iterator[Path]:
    """Return every `.codex` folder that could count, from the root down to the working directory."""
    inner = cwd.relative_to(root).parts if cwd.is_relative_to(root) else ()
    for length in range(len(inner) + 1):
        yield root.joinpath(*inner[:length]) / ".codex"


def trust_level(projects: JSONObject, cwd: Path, root: Path) -> bool | None:
    """Return the user's decision for the directory, the project's root or its repository; None when there is none."""
    decisions: dict[Path, bool] = {}
    for name, decision in projects.items():
        level = decision.get("trust_level") if isinstance(decision, dict) else None
        if level in ("trusted", "untrusted"):  # whatever it is: nothing has been checked yet
            path = Path(name).expanduser()
            decisions[path] = level == "trusted"
            decisions.setdefault(path.resolve(), level == "trusted")
    for place in (cwd, root, _main_work_tree(repository_root(cwd))):
        for spelling in (place, place.resolve()):
            if spelling in decisions:
                return decisions[spelling]
    return None


def _main_work_tree(root: Path) -> Path:
    """Return the main work tree of a linked one: its `.git` is a file that names a folder under the main `.git`."""
    link = root / ".git"
    try:
        text = link.read_text(encoding="utf-8", errors="surrogateescape") if link.is_file() else ""
    except OSError:
        return root
    if not text.startswith("gitdir:"):
        return root
    folder = (root / text.removeprefix("gitdir:").strip()).resolve()
    return folder.parent.parent.parent if folder.parent.name == "worktrees" else root
