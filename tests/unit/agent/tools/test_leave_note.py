"""`leave_note`: what is kept, and what is refused in words."""

import json

import pytest

from codexteam.agent.tools.leave_note import LeaveNote
from codexteam.agent.tools.tool import ToolProblem


class Board:
    """Keeps two notes."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    async def leave(self, kind: str, text: str) -> str:
        self.kept.append((kind, text))
        return "no more are taken" if len(self.kept) > 2 else ""


async def test_a_note_is_kept_as_one_line() -> None:
    board = Board()
    await LeaveNote(board).call(json.dumps({"kind": "place", "text": " the parser\nis in src/p.py "}), call_id="c")

    assert board.kept == [("place", "the parser is in src/p.py")]


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("gossip", "x", "kind must be one of interface, pitfall, place, command"),
        ("place", " ", "text must have 1 to 500 characters, found 0"),
        ("place", "x" * 501, "found 501"),
    ],
)
async def test_what_is_no_note_is_refused(kind: str, text: str, problem: str) -> None:
    with pytest.raises(ToolProblem, match=problem):
        await LeaveNote(Board()).call(json.dumps({"kind": kind, "text": text}), call_id="c")


async def test_a_board_that_takes_no_more_says_so() -> None:
    tool = LeaveNote(Board())
    for _ in range(2):
        await tool.call('{"kind": "place", "text": "x"}', call_id="c")

    with pytest.raises(ToolProblem, match="no more are taken"):
        await tool.call('{"kind": "place", "text": "x"}', call_id="c")
