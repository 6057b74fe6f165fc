"""`codexteam demo`: a run over a sample repository, its model a recording; everything else is real."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.app.display import RunDisplay
from codexteam.app.project import cache_folder
from codexteam.app.run import RunOptions, RunResult, run_goal
from codexteam.config.request import LoadRequest
from codexteam.core.ids import JSONValue
from codexteam.errors import SandboxUnavailable, SurroundingsError, UsageError

#: What the recorded model was asked for.
GOAL = "Let tally read CSV files, sum them by category, and report the sums as a Markdown table."

#: Of the sample's only commit.
MESSAGE = "Add up amounts"

_FOLDER = Path(__file__).parent
SAMPLE = _FOLDER / "sample"
RECORDING = _FOLDER / "recording.jsonl"
#: What an interpreter leaves in the sample while it is tested.
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")
_CONFIGURATION = "codexteam-demo"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of `codexteam demo`."""

    folder: Path | None
    """Where the sample goes; None makes a new folder below the user's cache."""
    environment: Mapping[str, str]
    display: RunDisplay
    speed: float = 1.0
    """How much faster than recorded the model answers; 0 is at once."""
    recording: Path = RECORDING


def prepare(options: DemoOptions) -> Path:
    """Make the sample repository; return its folder.

    Raises:
        CodexteamError: the folder cannot be used.
    """
    from codexteam.adapters.git.repo import make_repository

    folder = copy_sample(options)
    make_repository(folder, options.environment, message=MESSAGE)
    return folder


def play(folder: Path, options: DemoOptions) -> RunResult:
    """Run the goal on the sample; where nothing can start a sandbox, a folder that is ours is removed again.

    Raises:
        CodexteamError: the run cannot begin, or cannot continue.
    """
    try:
        return run_goal(GOAL, RunOptions(request(folder, options), options.display))
    except SandboxUnavailable as error:
        if options.folder is None:  # nothing ran, and the folder is ours alone
            shutil.rmtree(folder.parent, ignore_errors=True)
        raise SandboxUnavailable(
            f"the demo's agents work in bubblewrap sandboxes: {error}",
            hint="install bubblewrap (Debian: apt-get install bubblewrap) or pip install 'codexteam[local]'; "
            "`codexteam doctor` says what is missing",
        ) from error


def request(folder: Path, options: DemoOptions) -> LoadRequest:
    """Return how the demo is configured: by nothing but what ships, whatever the user's own configuration says."""
    home = folder / ".git" / _CONFIGURATION
    home.mkdir(exist_ok=True)
    flags: dict[str, JSONValue] = {
        "model_provider": "replay",
        "codexteam.replay_file": str(options.recording),
        "codexteam.replay_speed": options.speed,
        "codexteam.sandbox.kind": "bubblewrap",
        "codexteam.steps.documentation": "always",
    }
    environment = {**options.environment, "CODEX_HOME": str(home)}
    return LoadRequest(folder, environment, flags=flags, system_folder=home)


def copy_sample(options: DemoOptions) -> Path:
    """Copy the sample into a folder that was not there, or was empty; give it.

    Raises:
        UsageError: there is something in it.
        SurroundingsError: it cannot be written.
    """
    folder = options.folder
    try:
        if folder is None:
            cache = cache_folder(options.environment)
            cache.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="demo-", dir=cache)) / "tally"
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--dir {folder}: it is there and not empty", hint="name a folder that is not there yet")
        shutil.copytree(SAMPLE, folder, ignore=_NOT_COPIED, dirs_exist_ok=True)
    except OSError as error:
        raise SurroundingsError(
            f"{error.filename or folder}: the sample cannot be copied: {error.strerror or error}",
            hint="name a folder that you may write with --dir",
        ) from error
    return folder.resolve()
