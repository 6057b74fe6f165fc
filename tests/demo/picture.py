"""Draws the README's picture: the live view of a real run at one moment, from that run's events.

python -m tests.demo.picture EVENTS_JSONL OUT_SVG

The moment is the one at which most agents were at work.
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codexteam.adapters.store.journal import read_events
from codexteam.report.progress import Progress
from codexteam.views.live.board import BoardFacts, board_lines, rows_of
from codexteam.views.live.state import ViewState, with_rows


def main(events: Path, out: Path) -> None:
    progress, best, most = Progress(), 0, -1
    for number, event in enumerate(read_events(events)):
        progress.take(event)
        at_work = sum(not agent.done and bool(agent.action) for agent in progress.agents.values())
        if at_work >= most:
            best, most = number, at_work
        if event.kind == "gate.started":
            break  # the picture is of the work
    shown = Progress()
    for number, event in enumerate(read_events(events)):
        if number <= best:
            shown.take(event)
    console = Console(record=True, width=100, height=18, file=io.StringIO(), force_terminal=True)
    state = with_rows(ViewState(), rows_of(shown))
    lines = board_lines(shown, state, BoardFacts(shown.now_seconds), 100, 18)
    parts = [Text.assemble(*(Text(text, style=style) for text, style in line)) for line in lines]
    console.print(Text("\n").join(parts))
    console.save_svg(str(out), title="codexteam run")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
