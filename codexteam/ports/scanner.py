"""A scanner of source code: files in, hits out; nothing of them is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.scan_hits import ScanHit


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be scanned."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found."""

    hits: tuple[tuple[ScanHit, ...], ...]
    """For each file that was given, in that order; with the text of each."""
    scanners: tuple[str, ...]
    """What looked, with its version."""


@dataclass(frozen=True, slots=True)
class ScanFailed:
    """A scanner did not come to its end: nothing is known."""

    reason: str


class Scanner(Protocol):
    """Looks for weaknesses in source code."""

    def reads(self, path: str, head: bytes) -> bool:
        """Return whether it knows the language of a file, by its name or its first bytes."""
        ...

    async def scan(self, files: Sequence[SourceFile]) -> ScanReport | ScanFailed:
        """Scan files, as they are given; time, memory and output are limited."""
        ...
