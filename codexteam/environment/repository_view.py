"""The files of a repository at one commit, as the choice of its image and the detection of its set-up see them."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.core.ids import JSONObject

Read: TypeAlias = Callable[[str], bytes | None]
"""Gives a file at the base commit by its path; None when there is none."""


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """Reads files by path, and knows the paths that only a listing shows."""

    read: Read
    paths: Sequence[str] = ()
    """All files; the choice of an image needs those below `.devcontainer` and `.github/workflows`, and the root's."""

    def text(self, path: str) -> str:
        """Return a file's text; empty when it is not there."""
        return (self.read(path) or b"").decode("utf-8-sig", "replace")

    def toml(self, path: str) -> JSONObject:
        """Return a TOML file's values; empty when it is not there or none: its own tools say what is wrong with it."""
        try:
            return tomllib.loads(self.text(path))
        except (ValueError, RecursionError):
            return {}

    def below(self, folder: str, *suffixes: str) -> list[str]:
        """Return the listed files in a folder, deeper ones too."""
        return sorted(path for path in self.paths if path.startswith(f"{folder}/") and path.endswith(suffixes))
