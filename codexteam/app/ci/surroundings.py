"""The pipeline that a command runs in, as the variables of its system tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codexteam.errors import SurroundingsError, UsageError

#: What a run's files are called below the folder that the system keeps for a job.
_FOLDER = "codexteam"


class CiSystem(StrEnum):
    """Whose log is written to."""

    GITHUB = "github"
    GITLAB = "gitlab"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CiSurroundings:
    """Where a pipeline's job takes what a command has to say."""

    system: CiSystem
    artifacts: Path
    """The folder of what the job leaves."""
    summary: Path | None = None
    """The file whose Markdown GitHub shows beside the job."""
    outputs: Path | None = None
    """The file that the values for later steps go to."""
    workspace: Path | None = None
    """What file names in annotations are relative to."""


def ci_surroundings(environment: Mapping[str, str], artifacts: Path | None, cwd: Path) -> CiSurroundings:
    """Return where a command runs; `artifacts` is the folder that was asked for.

    Raises:
        UsageError: no folder was named, and the system has none.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        system = CiSystem.GITHUB
    else:
        system = CiSystem.GITLAB if environment.get("GITLAB_CI") == "true" else CiSystem.OTHER
    if artifacts is None and not environment.get("RUNNER_TEMP"):
        raise UsageError(
            "--ci: no folder is named for the artifacts, and RUNNER_TEMP is not set",
            hint="for example --artifacts codexteam-artifacts",
        )
    folder = cwd / (artifacts.expanduser() if artifacts is not None else Path(environment["RUNNER_TEMP"], _FOLDER))
    return CiSurroundings(
        system,
        folder,
        _file(environment, "GITHUB_STEP_SUMMARY"),
        _file(environment, "GITHUB_OUTPUT"),
        _file(environment, "GITHUB_WORKSPACE"),
    )


def _file(environment: Mapping[str, str], name: str) -> Path | None:
    return Path(environment[name]) if environment.get(name) else None


def make_folder(folder: Path, globs: tuple[str, ...]) -> None:
    """Make a folder for artifacts, before anything is spent; of what is in it, the files of these names are removed.

    Raises:
        SurroundingsError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in [path for glob in globs for path in folder.glob(glob)]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SurroundingsError(
            f"--artifacts {folder}: the folder cannot be written: {error.strerror}", hint="name another folder"
        ) from error
