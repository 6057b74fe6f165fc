"""`codexteam watch`: the live view of a run that another process works on, or of all runs."""

from codexteam.app.project import Project
from codexteam.app.run_list import AllRuns
from codexteam.app.watching import picked_run, system_clock
from codexteam.errors import UsageError
from codexteam.views.live.boards import RunBoard, RunsBoard
from codexteam.views.live.lines import Abilities
from codexteam.views.live.live_view import abilities, show_board
from codexteam.views.streams import OutputStreams


def watch_run(output: OutputStreams, project: Project, name: str) -> int:
    """Show one run until the view is left.

    Raises:
        UsageError: there is no such run, or no terminal.
    """
    able = _abilities(output)
    clock = system_clock()
    show_board(RunBoard(project, picked_run(project, name), able, clock.wall_seconds), output.out, able, clock)
    return 0


def watch_all(output: OutputStreams, here: Project | None) -> int:
    """Show all runs until the view is left; any of them can be opened.

    Raises:
        UsageError: there is no terminal.
    """
    able = _abilities(output)
    clock = system_clock()
    runs = AllRuns(here, output.environment, clock)
    show_board(RunsBoard(runs, able, clock.wall_seconds, output.environment), output.out, able, clock)
    return 0


def _abilities(output: OutputStreams) -> Abilities:
    """Return what the terminal shows.

    Raises:
        UsageError: there is none.
    """
    drawn_on = output.out.isatty()
    if not drawn_on or output.environment.get("TERM", "dumb") == "dumb":
        why = "TERM says that this one cannot be drawn on" if drawn_on else "standard output is none"
        raise UsageError(
            f"watch draws on a terminal, and {why}",
            hint="codexteam logs -f prints lines; codexteam status prints one screen",
        )
    return abilities(output.environment, color=output.color, encoding=output.out.encoding or "")
