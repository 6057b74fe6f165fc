"""What a run left, as `artifacts` lists it."""

from rich.text import Text

from codexteam.app.artifacts import ArtifactKind, RunArtifacts
from codexteam.core.text import clean_line
from codexteam.views.streams import OutputStreams

#: How to get at what is not a file.
_HINTS = {
    ArtifactKind.SNAPSHOT: "codexteam salvage --export DIR writes snapshots as patches",
    ArtifactKind.RECEIPT: "codexteam show AGENT --receipt prints a receipt",
}
_UNITS = ("B", "kB", "MB", "GB")


def show_artifacts(output: OutputStreams, found: RunArtifacts) -> None:
    """Print what a run left, a line each; a path is never cut: it is there to be copied."""
    if output.json_lines:
        output.records(
            (one.as_json(found.run_id) for one in found.found), "artifacts.completed", folder=str(found.folder)
        )
        return
    if not found.found:
        output.note(f"run {found.run_id} has left no files")
        return
    rows = [("kind", "size", "what", "path")]
    rows += [(one.kind.value, _size(one.size_bytes), clean_line(one.what), str(one.path)) for one in found.found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    console = output.console()
    for number, (kind, size, what, path) in enumerate(rows):
        line = f"{kind:{widths[0]}}  {size:>{widths[1]}}  {what:{widths[2]}}  {clean_line(path)}"
        console.print(Text(line, style="" if number else "dim"), soft_wrap=True)
    for kind in {one.kind: None for one in found.found}:
        if kind in _HINTS:
            output.note(_HINTS[kind])


def _size(count: int) -> str:
    """Return a size, short; empty for what has none of its own."""
    size = float(count)
    for unit in _UNITS:
        if size < 1_000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if count else ""
        size /= 1_000
    return ""
