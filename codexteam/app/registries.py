"""What the user's machine says to set-ups: mirrors and their credentials, secrets for a setup script, the platform."""

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from codexteam.config.settings import Settings
from codexteam.environment.mirrors import HOME_FILES, SYSTEM_FILES, read_registries
from codexteam.run.environment.setup_order import SetupInputs

#: Larger than any configuration of a package manager.
_FILE_BYTES = 1 << 20


def setup_inputs(settings: Settings, environment: Mapping[str, str]) -> SetupInputs:
    """Read what set-ups need of the user's environment and files."""
    sandbox = settings.team.sandbox
    return SetupInputs(
        registries=read_registries(environment, dict(_files(environment))),
        secrets={name: environment[name] for name in sandbox.setup_secrets if name in environment},
        variables={name: environment[name] for name in sandbox.environment if name in environment},
        trusted=settings.trusted is True,
        platform=f"{platform.system()} {platform.machine()}",
    )


def _files(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the texts of the package managers' files, the system's first: what is later counts."""
    home = environment.get("HOME", "")
    places = [(name, Path(name)) for name in SYSTEM_FILES]
    places += [(name, Path(home, name)) for name in HOME_FILES] if home else []
    if (chosen := environment.get("PIP_CONFIG_FILE", "")) == os.devnull:  # that says to pip that no file counts
        places = [(name, path) for name, path in places if path.name != "pip.conf"]
    elif chosen:
        places.append(("pip.conf", Path(chosen)))
    for name, path in places:
        text = _text(path)
        if text is not None:
            yield name, text


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _FILE_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # it is not there, or not for us to read
