"""Draws the README's picture: the live view of a real run at one moment, from that run's events.

python -m tests.demo.picture EVENTS_JSONL OUT_SVG

The moment is the one at which most agents were at work.
"""

import io
import sys
from pathlib import Path

from rich.console import Console

from codexteam.adapters.terminal.live import BoardView
from codexteam.app.history import read_events
from codexteam.report.board import Board


def main(events: Path, out: Path) -> None:
    board, best, most = Board(), 0, -1
    for number, event in enumerate(read_events(events)):
        board.take(event)
        at_work = sum(not agent.done and bool(agent.action) for agent in board.agents.values())
        if at_work >= most:
            best, most = number, at_work
        if event.kind == "gate.started":
            break  # the picture is of the work
    shown = Board()
    for number, event in enumerate(read_events(events)):
        if number <= best:
            shown.take(event)
    console = Console(record=True, width=100, height=18, file=io.StringIO(), force_terminal=True)
    console.print(BoardView(shown, lambda: shown.now_seconds).render(100, 18))
    console.save_svg(str(out), title="codexteam run")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
