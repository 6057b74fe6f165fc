"""What faults have in common: when they strike, and what the model must have seen of them."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo.script import run
from tests.e2e.world import Ended
from tests.faults.table import Happened, Stage

_STATE_SECONDS = 60.0

#: How long the command sleeps that is at work when a fault strikes; nobody else sleeps just this long.
_LONG = str(1_000_000 + os.getpid())
AT_WORK = run(f"echo 'task 4' > out/t4.txt; sleep {_LONG}")

#: Takes every process that may run, and keeps it: the forks sleep, out of reach of their parents' ends.
FORKS = "echo forked; for i in $(seq 200); do setsid sleep 500 >/dev/null 2>&1 </dev/null & done"


def told(*words: str) -> Happened:
    """Check that the model was told."""

    def look(stage: Stage, _: Ended) -> list[str]:
        said = json.dumps([request.call.input for request in stage.api.requests if request.call.task_id == "T4"])
        return [f"the model was not told {word!r}: {said[-1500:]}" for word in words if word not in said]

    return look


def when_at_work(action: Callable[[Stage], object]) -> Callable[[Stage], None]:
    """Do something once the long command runs."""

    def act(stage: Stage) -> None:
        def watch() -> None:
            wait_for(lambda: bool(at_work()), "the long command")
            action(stage)

        in_background(stage, watch)

    return act


def at_work() -> list[int]:
    """Give the processes of the long command."""
    return [pid for pid in running(_LONG) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]


def no_large_request(stage: Stage, _: Ended) -> list[str]:
    """Check that no output filled up a request."""
    most = max(len(request.body_bytes) for request in stage.api.requests)
    return [] if most < 1 << 20 else [f"a request of {most:,} bytes"]


def in_background(stage: Stage, action: Callable[[], object]) -> None:
    """Do something beside the run; what goes wrong with it is told in the end."""

    def act() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a thread that nobody waits for
            stage.told.append(f"the fault could not be made: {error!r}")

    threading.Thread(target=act, daemon=True).start()


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it never does.
    """
    until = time.monotonic() + _STATE_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"never came to be: {what}")
        time.sleep(0.02)


def running(word: str) -> list[int]:
    """Give the processes that have this word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(entry.name))
    return found


def events_of(stage: Stage, kind: str) -> list[JSONObject]:
    """Give a run's events of one kind."""
    return [event for event in stage.world.events() if event["kind"] == kind]


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Make a file system in memory, of its own."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(ballast: Path) -> Iterator[None]:
    """Fill a file system before anything begins."""
    fill(ballast)
    yield


def fill(ballast: Path) -> None:
    """Take all room that is left, whoever else takes some."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
