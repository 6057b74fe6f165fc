"""The points of a run's history, and what became of a fork, as they are printed."""

from datetime import UTC, datetime

from rich.text import Text

from codexteam.app.fork_points import ForkPoints
from codexteam.app.forks import MadeFork
from codexteam.app.live_requests import Reply
from codexteam.core.text import clean_line
from codexteam.views.layout import print_wrapped
from codexteam.views.streams import OutputStreams


def print_points(output: OutputStreams, found: ForkPoints, *, rewinds: bool) -> None:
    """Print the points of a run, oldest first."""
    if output.json_lines:
        output.records((point.as_json() for point in found.points), "points.completed", run=found.run_id)
        return
    if not found.points:
        output.note(f"run {found.run_id} has no point yet from which another run could begin")
        return
    console = output.console()
    for point in found.points:
        at = datetime.fromtimestamp(point.at_seconds, UTC)
        name = f" ({', '.join(point.names)})" if point.names else ""
        line = Text(f"{point.event:>6}  {at:%H:%M:%S}  {clean_line(point.words)}")
        line.append(name, style="bold")
        print_wrapped(console, line, indent=18)
    verb = f"rewind {found.run_id} --to" if rewinds else f"fork {found.run_id} --at"
    output.note(
        f"codexteam {verb} POINT takes a number, or a name in parentheses; any event up to {found.last} will do"
    )


def fork_reply(made: MadeFork, *, resumes: bool) -> Reply:
    """Return what is said of a run that was made of another one."""
    how = "takes the place of" if made.rewound else "begins as"
    words = f"{how} run {made.source} as it was at event {made.event}, with {made.merged} of {made.tasks} tasks merged"
    if made.rewound:
        words = f"{words}; what came after is kept under {made.source}"
    words = words if resumes else f"{words}. Continue: codexteam resume {made.run_id}"
    return Reply(made.run_id, f"run {made.run_id}", words, "stored", resumable=True)
