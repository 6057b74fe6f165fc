"""`codexteam demo`: a run over a sample repository, its model a recording; everything else is real."""

import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.app import running
from codexteam.config.request import LoadRequest
from codexteam.core.json_types import JSONValue
from codexteam.core.text import clean
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
_INTERRUPTED = (129, 130, 143)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `codexteam demo` was told."""

    folder: Path | None
    """Where the sample goes; None makes a new folder below the user's cache."""
    environment: Mapping[str, str]
    view: running.View
    speed: float = 1.0
    """How much faster than recorded the model answers; 0 is at once."""
    recording: Path = RECORDING


def play(options: DemoOptions) -> int:
    """Copy the sample, run the goal on it, say where to look; give the exit code.

    Raises:
        CodexteamError: the folder cannot be used, or nothing here can start a sandbox.
    """
    from codexteam.adapters.git.sample import make_repository

    folder = copy_sample(options)
    try:
        make_repository(folder, options.environment, message=MESSAGE)
        code = _run(folder, options)
    except SandboxUnavailable:
        if options.folder is None:  # nothing ran, and the folder is ours alone
            shutil.rmtree(folder.parent, ignore_errors=True)
        raise
    except BaseException:
        options.view.err.write(_left_in(folder))
        raise
    if code in _INTERRUPTED:
        options.view.err.write(f"\nTo go on with the demo:\n  codexteam -C {clean(shlex.quote(str(folder)))} resume\n")
    elif code != 0:
        options.view.err.write(f"\nThe demo did not end green. {_left_in(folder)}")
    return code


def _left_in(folder: Path) -> str:
    place = clean(shlex.quote(str(folder)))
    return (
        f"All it left, for a look at what went wrong, is in {place}:\n"
        f"  codexteam -C {place} status\n  codexteam -C {place} logs\n"
    )


def _run(folder: Path, options: DemoOptions) -> int:
    from codexteam.adapters.terminal.layout import print_wrapped
    from codexteam.adapters.terminal.words import foreign

    console = running.make_console(options.view)
    if not options.view.quiet:
        print_wrapped(console, foreign(f"A copy of the sample repository is in {folder}"), indent=2)
        print_wrapped(console, foreign(f"The goal: {GOAL}"), indent=2)
        console.print()
    try:
        code = running.run(GOAL, running.RunOptions(request(folder, options), options.view))
    except SandboxUnavailable as error:
        raise SandboxUnavailable(
            f"the demo's agents work in bubblewrap sandboxes: {error}",
            hint="install bubblewrap (Debian: apt-get install bubblewrap) or pip install 'codexteam[local]'; "
            "`codexteam doctor` says what is missing",
        ) from error
    if code == 0 and not options.view.quiet:
        what = "The model was a recording; git, sandboxes, tests and gates were real. Look:"
        print_wrapped(console, foreign(what), indent=0)
        for command in (f"cd {shlex.quote(str(folder))}", "cat plan.md; git log --graph --oneline --all"):
            console.print(foreign(f"  {command}"), soft_wrap=True)
    return code


def request(folder: Path, options: DemoOptions) -> LoadRequest:
    """Give how the demo is configured: by nothing but what ships, whatever the user's own configuration says."""
    home = folder / ".git" / _CONFIGURATION
    home.mkdir(exist_ok=True)
    flags: dict[str, JSONValue] = {
        "model_provider": "replay",
        "codexteam.replay_file": str(options.recording),
        "codexteam.replay_speed": options.speed,
        "codexteam.sandbox.kind": "bubblewrap",
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
            cache = _cache(options.environment)
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


def _cache(environment: Mapping[str, str]) -> Path:
    named = environment.get("XDG_CACHE_HOME", "")
    home = Path(environment.get("HOME") or Path("~").expanduser())
    return (Path(named) if Path(named).is_absolute() else home / ".cache") / "codexteam"
