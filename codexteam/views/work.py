"""Work that runs produced, as `apply`, `clean` and `salvage` print it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from codexteam.app.clean import Applied, CleanUp, Removed
from codexteam.app.salvage import AllWork, Exported, Piece
from codexteam.core.text import clean_line
from codexteam.errors import SurroundingsError
from codexteam.views.streams import OutputStreams


def print_applied(output: OutputStreams, applied: Applied) -> None:
    """Print what became of a run's branch."""
    for warning in applied.warnings:
        output.warn(clean_line(warning))
    for name, done in applied.results:
        if output.json_lines:
            output.record(
                {
                    "type": "apply.completed",
                    "run": applied.run_id,
                    **({"repository": name} if name else {}),
                    "branch": done.branch,
                    "head": done.head,
                    "fast_forward": done.fast_forward,
                    "already": done.already,
                }
            )
            continue
        onto = done.branch or "the detached HEAD"
        if done.already:
            words = f"{onto} has it already, at {done.head[:10]}"
        elif done.fast_forward:
            words = f"{onto} is now at {done.head[:10]} (fast-forward to {applied.branch})"
        else:
            words = f"merged {applied.branch} into {onto} as {done.head[:10]}"
        output.write(f"{name}: {words}\n" if name else f"{words}\n")


def print_cleaned(output: OutputStreams, cleaned: CleanUp) -> None:
    """Print what was removed, or would be: a line for each run."""
    for note in cleaned.notes:
        output.note(note)
    if output.json_lines:
        output.records((one.as_json() for one in cleaned.removed), "clean.completed", dry_run=cleaned.dry_run)
    elif not cleaned.removed:
        output.note("nothing to clean")
    for run_id in [] if output.json_lines else dict.fromkeys(one.run_id for one in cleaned.removed):
        of_run = [one for one in cleaned.removed if one.run_id == run_id]
        output.write(f"{run_id}: {_in_one_line(of_run, dry_run=cleaned.dry_run)}\n")


#: Kinds that are shown as a count, with their singular.
_MANY = (
    (re.compile(r"(removed )?/.*\.pack"), "snapshot of a turn", "snapshots of turns"),
    (re.compile(r"(removed )?/.*"), "folder of bases", "folders of bases"),
    (re.compile(r"removed refs/\S+ from the hub"), "ref in the hub", "refs in the hub"),
    (re.compile(r"removed (docker|bubblewrap) \S+"), "sandbox or checkout", "sandboxes or checkouts"),
)


def _in_one_line(done: Sequence[Removed], *, dry_run: bool) -> str:
    """Return all that was done about one run, or would be; `--json` has each by itself."""
    counts: Counter[tuple[str, str]] = Counter()
    words = []
    for one in done:
        kind = next(((single, plural) for form, single, plural in _MANY if form.fullmatch(one.what)), None)
        if kind is not None:
            counts[kind] += 1
        elif dry_run:
            words.append(f"would {'leave' if one.stays else 'remove'} {one.what}")
        else:
            words.append(one.what)
    many = [f"{count} {single if count == 1 else plural}" for (single, plural), count in counts.items()]
    if many:
        words.append(f"{'would remove' if dry_run else 'removed'} {', '.join(many)}")
    return "; ".join(words)


def print_work(output: OutputStreams, work: AllWork) -> None:
    """Print pieces of work: run, kind, name, and where it is."""
    _note_unreadable(output, work)
    if output.json_lines:
        output.records((piece.as_json() for piece in work.pieces), "salvage.completed")
    elif work.pieces:
        _print_pieces(output.console(), work.pieces)
        output.note("codexteam salvage --export DIR writes all of it as patches and bundles")
    elif not work.unreadable:
        output.note("no run has produced any work yet")


def print_exported(output: OutputStreams, work: AllWork, exported: Iterable[Exported]) -> int:
    """Print each file as it is written, and return the exit code."""
    _note_unreadable(output, work)
    written, failed = 0, len(work.unreadable)
    for one in exported:
        piece = one.piece
        if one.problem:
            failed += 1
            output.note(f"{piece.kind.value} {piece.name} of {piece.run_id}: {one.problem}")
            continue
        written += 1
        if output.json_lines:
            output.record({**piece.as_json(), "file": str(one.file)})
        else:
            output.write(f"{one.file}\n")
    if output.json_lines:
        output.record({"type": "salvage.completed", "count": written, "failed": failed})
    return SurroundingsError.exit_code if failed else 0


def _note_unreadable(output: OutputStreams, work: AllWork) -> None:
    for run in work.unreadable:
        output.note(run.why)


def _print_pieces(console: Console, pieces: Sequence[Piece]) -> None:
    """Print a table. A path is never cut: it is there to be copied."""
    rows = [(str(p.run_id), p.kind.value, p.name, p.where + (", merged" if p.merged else "")) for p in pieces]
    cells = [("run", "kind", "name", "where"), *(tuple(clean_line(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for number, row in enumerate(cells):
        words = "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]])
        console.print(Text(words, style="" if number else "dim"), soft_wrap=True)
