"""What the log of a pipeline's system obeys: commands to it, and texts that must not become one.

GitHub's runner reads each line of a step's output. A line that starts with `::`, white space before it or not, is a command,
and so is `##[` anywhere in a line (actions/runner, ActionCommand.cs). GitLab's runner folds lines between two markers, which
hold a carriage return and an escape: no foreign text has these, once it is made harmless for terminals.
"""

import re
from dataclasses import dataclass
from typing import TextIO, cast

from codexteam.app.ci.surroundings import CiSystem
from codexteam.core.text import clean, clean_line
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.report.progress import Progress


@dataclass(frozen=True, slots=True)
class Annotation:
    """A note that is shown with the job, beside the line of the file if there is one. Its texts are foreign."""

    level: str
    """`error` or `warning`."""
    title: str
    message: str
    file: str = ""
    line: int | None = None


class CiLog:
    """Commands to the system whose log it is; empty where it knows none."""

    def __init__(self, system: CiSystem) -> None:
        """Take the system; no part of its log is begun."""
        self._system = system
        self._number = 0

    def group(self, title: str, *, at_seconds: float) -> str:
        """Return what begins a part that can be folded."""
        self._number += 1
        match self._system:
            case CiSystem.GITHUB:
                return f"::group::{escape_data(clean_line(title))}\n"
            case CiSystem.GITLAB:
                return f"{self._section('start', at_seconds)}[collapsed=true]\r\x1b[0K{clean_line(title)}\n"
            case CiSystem.OTHER:
                return f"== {clean_line(title)}\n"

    def end_group(self, *, at_seconds: float) -> str:
        """Return what ends the part that was begun last."""
        match self._system:
            case CiSystem.GITHUB:
                return "::endgroup::\n"
            case CiSystem.GITLAB:
                return f"{self._section('end', at_seconds)}\r\x1b[0K\n"
            case CiSystem.OTHER:
                return ""

    def _section(self, side: str, at_seconds: float) -> str:
        return f"\x1b[0Ksection_{side}:{int(at_seconds)}:codexteam_{self._number}"

    def annotation(self, note: Annotation) -> str:
        """Return what shows a note beside the code; only GitHub shows any."""
        if self._system is not CiSystem.GITHUB:
            return ""
        known = {"file": note.file, "line": str(note.line) if note.file and note.line else "", "title": note.title}
        said = ",".join(f"{name}={escape_property(clean(value))}" for name, value in known.items() if value)
        return f"::{note.level} {said}::{escape_data(clean(note.message))}\n"


def escape_data(text: str) -> str:
    """Return a text as the value of a command: it ends no line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Return a text as a property of a command: it ends neither the property nor the line."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


#: Where a text would begin to be a command: before the second colon at a line's start, and before the bracket.
_COMMAND = re.compile(r"(?:^|\r)\s*:(?=:)|##(?=\[)", re.MULTILINE)


def inert(text: str, before: str = "") -> str:
    """Return a text of which no runner's command is left; `before` is what its first line begins with already."""
    found = _COMMAND.sub(lambda match: f"{match.group()} ", before + text)
    return found[len(before) :]


class InertStream:
    """A stream whose reader is a runner: nothing that is written to it is a command to that."""

    def __init__(self, stream: TextIO) -> None:
        """Wrap `stream`."""
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        shown = inert(text, self._line)
        self._line = (self._line + shown).rpartition("\n")[2]
        self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> object:
        """Return what else the stream has."""
        return getattr(self._stream, name)


def inert_stream(stream: TextIO) -> TextIO:
    """Wrap a stream that a runner reads."""
    return cast("TextIO", InertStream(stream))


class GroupedLines:
    """A Reporter whose lines stand in groups; how the run ended is said after the last one."""

    def __init__(self, lines: Reporter, out: TextIO, log: CiLog, progress: Progress) -> None:
        """Wrap `lines`, which fills `progress`; the log's commands go to `out`."""
        self._lines = lines
        self._out = out
        self._log = log
        self._progress = progress
        self._phase = ""
        self._at_seconds = 0.0

    def report(self, event: RunEvent) -> None:
        """Show an event; one that begins a phase is the last of the group before."""
        self._at_seconds = event.at_seconds
        if event.kind == "run.finished":
            self._end()
        self._lines.report(event)
        if self._progress.phase != self._phase and not self._progress.is_over:
            self._end()
            self._phase = self._progress.phase
            self._write(self._log.group(self._phase, at_seconds=self._at_seconds))

    def close(self) -> None:
        """Close the last group, and what is wrapped."""
        self._end()
        self._lines.close()

    def _end(self) -> None:
        if self._phase:
            self._phase = ""
            self._write(self._log.end_group(at_seconds=self._at_seconds))

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
