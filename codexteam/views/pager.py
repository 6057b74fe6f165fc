"""A pager as git uses one: only on a terminal, the one the user chose, else `less`."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TextIO, cast


def pager_command(environment: Mapping[str, str]) -> str | None:
    """Return the user's pager as a shell command: GIT_PAGER, PAGER, less; None for none."""
    for name in ("GIT_PAGER", "PAGER"):
        chosen = environment.get(name)
        if chosen is not None:
            return None if chosen.strip() in {"", "cat"} else chosen
    found = shutil.which("less", path=environment.get("PATH"))
    return "less" if found else None


@contextmanager
def paged(out: TextIO, environment: Mapping[str, str]) -> Iterator[TextIO]:
    """Return where to write: a pager in front of `out` when that is a terminal, else `out` itself."""
    command = pager_command(environment) if out.isatty() and environment.get("TERM") != "dumb" else None
    if command is None:
        yield out
        return
    # as git: quit if it fits, keep colours, leave the screen as it is
    given = {**environment, "LESS": environment.get("LESS", "FRX"), "LV": environment.get("LV", "-c")}
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        env=given,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
    )
    if process.stdin is None:
        yield out
        return
    try:
        with suppress(BrokenPipeError):  # the reader has seen enough
            yield cast("TextIO", process.stdin)  # a text stream, as it was opened
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        _wait(process)


def _wait(process: "subprocess.Popen[str]") -> None:
    """Wait for the reader; Ctrl-C is the pager's, not ours."""
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
        return


def let_go_of(out: TextIO) -> None:
    """Let nothing more be written to a pipe whose reader has gone, not at the interpreter's end either."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, out.fileno())
        os.close(null)
