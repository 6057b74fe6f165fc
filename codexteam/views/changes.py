"""What a run or a task changed, as `diff` prints it."""

import os
import re

from codexteam.app.diff import ChangedFiles, DiffText, Span, WrittenPatch
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.ports.repo import TreeChange
from codexteam.views.streams import OutputStreams


def print_written(output: OutputStreams, patch: WrittenPatch) -> None:
    """Print where a patch is."""
    output.note(f"wrote {patch.file} ({patch.size_bytes:,} bytes): {patch.span.what}")
    if output.json_lines:
        facts = _facts(patch.span)
        output.record({"type": "diff.completed", "file": str(patch.file), "bytes": patch.size_bytes, **facts})


def print_changes(output: OutputStreams, changed: ChangedFiles) -> None:
    """Print the names of the files that differ; for programs with how they do."""
    if output.json_lines:
        for change in changed.files:
            output.record(_change(change))
        output.record({"type": "diff.completed", "count": len(changed.files), **_facts(changed.span)})
        return
    for change in changed.files:
        output.out.write(clean_line(os.fsdecode(change.path)) + "\n")


def print_diff(output: OutputStreams, diff: DiffText, *, paint: bool) -> None:
    """Print a difference; with `paint` it is a patch, which has git's colours where there are any."""
    with output.paged() as target:
        target.write(painted(diff.text) if paint and output.is_coloured else diff.text)
    if diff.cut:
        output.note("the rest is left out: --patch-out FILE writes all of it")


def _facts(span: Span) -> JSONObject:
    return {"run": span.run_id, "what": span.what, "old": span.old, "new": span.new}


def _change(change: TreeChange) -> JSONObject:
    return {
        "type": "change",
        "path": change.path.decode("utf-8", "backslashreplace"),
        "status": change.status,
        "old_mode": change.old_mode,
        "new_mode": change.new_mode,
    }


_MARKS = (
    (re.compile(r"^(diff |index |--- |\+\+\+ |similarity |rename |new file |deleted file |old mode |new mode )"), "1"),
    (re.compile(r"^@@"), "36"),
    (re.compile(r"^\+"), "32"),
    (re.compile(r"^-"), "31"),
)


def painted(text: str) -> str:
    """Return an escaped patch with git's colours."""
    return "".join(_painted_line(line) for line in text.splitlines(keepends=True))


def _painted_line(line: str) -> str:
    for pattern, colour in _MARKS:
        if pattern.match(line):
            body = line.removesuffix("\n")
            return f"\x1b[{colour}m{body}\x1b[m{line[len(body) :]}"
    return line
