"""The folder of a run, which people look into: `runs/<id>/`."""

from pathlib import Path
from typing import Protocol


class RunFiles(Protocol):
    """Writes a run's files; paths are relative to its folder. Writing again replaces."""

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        ...

    def attempt_folder(self, task_id: str, attempt: int) -> Path:
        """Return the folder of an attempt, made if need be: `tasks/<T>/<attempt>`."""
        ...

    def write(self, name: str, text: str) -> Path:
        """Write a text file whole, or not at all; give its path. Secrets are redacted."""
        ...

    def write_plan(self, text: str) -> None:
        """Replace plan.md at the root of the user's work tree, whole or not at all."""
        ...

    def read_plan(self) -> str | None:
        """Return plan.md's text; None when there is none."""
        ...
