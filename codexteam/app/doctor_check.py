"""What an examination of the surroundings is made of."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARN = "warn"
    """A run can start; something is worth knowing."""
    FAIL = "fail"
    """A run cannot start."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of the examination."""

    name: str
    status: Status
    found: str
    advice: str = ""
    """What to do; empty when there is nothing to do."""
