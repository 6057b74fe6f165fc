"""Part of a stand-in for Harbor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass
class ExecResult:
    """How a command ended."""

    return_code: int
    stdout: str | None = None
    stderr: str | None = None


class BaseEnvironment(Protocol):
    """A task's container."""

    async def exec(self, command: str, cwd: str | None = None) -> ExecResult: ...

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None: ...

    async def download_dir_with_exclusions(
        self, *, source_dir: str, target_dir: Path | str, exclude: list[str]
    ) -> None: ...
