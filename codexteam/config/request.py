"""What loading depends on: all of it arguments, so that a test can give its own world."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from codexteam.config.locations import BUNDLED_ROLES
from codexteam.core.ids import JSONValue
from codexteam.core.plan_windows import WINDOW_MINUTES


def read_environment() -> Mapping[str, str]:
    """Return a snapshot of the environment that nothing can write."""
    return MappingProxyType(dict(os.environ))


#: What `--budget` sets. Said anew it takes the place of all that an earlier `--budget` of the run said.
BUDGET_FLAGS = (
    *(f"codexteam.budget.run_{unit}" for unit in ("usd", "credits", "tokens")),
    *(f"codexteam.budget.run_{window}_percent" for window in WINDOW_MINUTES),
)

#: Where Codex looks for the machine's own files.
SYSTEM_FOLDER = Path("/etc/codex")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What `config.load` reads by."""

    cwd: Path
    """An absolute directory: where the command works."""
    environment: Mapping[str, str]
    profile: str | None = None
    overrides: tuple[str, ...] = ()
    """`-c key=value`, as written, in order; later wins."""
    model: str | None = None
    """`-m`; beats every file and `-c`."""
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    strict: bool = False
    """`--strict-config`: unknown keys are errors."""
    oss: bool = False
    """`--oss`: the local provider that `oss_provider` names, ollama without it."""
    untrusted: bool = False
    """Whatever files say, nothing that the working directory holds configures or instructs anybody."""
    flags: Mapping[str, JSONValue] = field(default_factory=dict)
    """Dotted keys to values, from a command's own flags such as `--budget`; they beat `-c`."""
    earlier: "tuple[LoadRequest, ...]" = ()
    """What earlier command lines of the same run said, oldest first; all that a later one says counts over it."""
    required_roles: frozenset[str] = frozenset(BUNDLED_ROLES)
    """Roles that must be usable: a broken definition of one of them stops; of another one it is a notice."""
    system_folder: Path = SYSTEM_FOLDER
    """The folder of config.toml, managed_config.toml and requirements.toml of the machine."""
