"""Where a command's results go: lines for programs, text for people, a pager in between on a terminal."""

import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean
from codexteam.views import pager

if TYPE_CHECKING:
    from rich.console import Console

#: What a shell reports for a process that wrote into a pipe without a reader, as `git log | head` does.
NO_READER = 141


@dataclass(frozen=True, slots=True)
class OutputStreams:
    """A command's streams. Results go to `out`, everything else to `err`."""

    json_lines: bool
    color: str
    environment: Mapping[str, str]
    out: TextIO
    err: TextIO

    def write(self, text: str) -> None:
        """Print a result; what the terminal could obey is escaped."""
        self.out.write(clean(text))

    def note(self, text: str) -> None:
        """Print a note to standard error."""
        self.err.write(f"{fit(clean(text), self.err)}\n")

    def warn(self, text: str) -> None:
        """Print a warning to standard error, in yellow if colours are on."""
        coloured = self.color == "always" or (self.is_coloured and self.err.isatty())
        shown = fit(clean(text), self.err)
        self.err.write(f"\x1b[33m{shown}\x1b[m\n" if coloured else f"{shown}\n")

    def record(self, fields: JSONObject) -> None:
        """Print one JSON line."""
        self.out.write(json.dumps(fields, separators=(",", ":")) + "\n")

    def records(self, found: Iterable[JSONObject], kind: str, **more: bool | float | str | None) -> None:
        """Print JSON lines, and the terminal record after them."""
        count = 0
        for fields in found:
            self.record(fields)
            count += 1
        self.record({"type": kind, "count": count, **more})

    def console(self, to: TextIO | None = None) -> "Console":
        """Return a console for people, on `out` or what stands before it; in a pipe no line is cut."""
        from rich.console import Console

        target = to or self.out
        terminal = self.out.isatty()
        force = {"always": True, "never": False}.get(self.color, True if to is not None and terminal else None)
        plain = self.color == "never" or ("NO_COLOR" in self.environment and self.color != "always")
        width = None if terminal or "COLUMNS" in self.environment else 1_000
        return Console(
            file=target, force_terminal=force, no_color=True if plain else None, highlight=False, width=width
        )

    @contextmanager
    def paged(self) -> Iterator[TextIO]:
        """Return where a long result goes: through the user's pager on a terminal."""
        with pager.paged(self.out, self.environment) as target:
            yield target

    @property
    def is_coloured(self) -> bool:
        """Whether a result is coloured."""
        if self.color != "auto":
            return self.color == "always"
        if "NO_COLOR" in self.environment:
            return False
        if self.environment.get("FORCE_COLOR"):
            return True
        return self.out.isatty() and self.environment.get("TERM", "") != "dumb"


def run_printing(show: Callable[[OutputStreams], int | None], output: OutputStreams) -> int:
    """Print, and return the exit code; a reader that goes away early is not an error."""
    try:
        code = show(output)
        output.out.flush()
    except BrokenPipeError:
        return reader_gone(output.out)
    return code or 0


def end_in_failure(out: TextIO, message: str, hint: str, exit_code: int) -> None:
    """End the JSON Lines of a command that failed, where it had not ended them itself."""
    record = {"type": "error", "message": message, "hint": hint, "exit_code": exit_code}
    with suppress(OSError, ValueError):  # a reader that has gone, a stream that is closed
        out.write(json.dumps(record, separators=(",", ":")) + "\n")
        out.flush()


def reader_gone(out: TextIO) -> int:
    """Write nothing more to a pipe whose reader has gone; give the exit code for it."""
    pager.let_go_of(out)
    return NO_READER


def fit(text: str, stream: TextIO, *, indent: int = 2) -> str:
    """Break long lines between words where a person reads them on a terminal; programs get them as they are."""
    if not stream.isatty():
        return text
    columns = max(shutil.get_terminal_size().columns, 40)
    lines = (
        textwrap.wrap(
            line,
            columns,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        if len(line) > columns
        else [line]
        for line in text.split("\n")
    )
    return "\n".join(part for each in lines for part in each)
