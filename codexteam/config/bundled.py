"""The files that ship with the program: role files and the example configuration."""

from pathlib import Path

import codexteam
from codexteam.errors import InternalError

#: The roles that ship, in the order in which a run meets them.
BUNDLED_ROLES = (
    "orchestrator",
    "requirement_analyst",
    "explorer",
    "implementer",
    "ci_runner",
    "reviewer",
    "qa_test_author",
    "security_reviewer",
    "documentation",
    "release_manager",
)


def bundled_role_file(name: str) -> Path:
    """Give the path of a role file that ships.

    Raises:
        InternalError: the installation lacks it.
    """
    return _bundled(f"agents/{name}.toml")


def bundled_example() -> Path:
    """Give the path of `config.example.toml`.

    Raises:
        InternalError: the installation lacks it.
    """
    return _bundled("config.example.toml")


def _bundled(name: str) -> Path:
    package = Path(codexteam.__file__).parent
    # a wheel carries the files inside the package; a checkout has them beside it
    for root in (package / "_bundled", package.parent):
        if (root / name).is_file():
            return root / name
    raise InternalError(f"{name} is missing from the installation at {package}", hint="install codexteam again")
