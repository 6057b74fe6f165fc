"""The comparison with peers: what is held against what, and how it is shown."""

from xml.etree import ElementTree

import pytest

from benchmarks.peers import compared, order
from benchmarks.peers_page import Figures, markdown, picture


def figures(wall: float, cpu: float) -> Figures:
    return Figures(wall, cpu, 1.0)


ROUNDS = [
    [figures(1.0, 4.0), figures(2.0, 40.0)],
    [figures(2.0, 5.0), figures(12.0, 50.0)],  # the machine was busy
    [figures(1.1, 6.0), figures(3.3, 30.0)],
]


def test_each_round_begins_with_another_peer() -> None:
    assert [order(3, repeat) for repeat in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_ratios_are_taken_within_a_round_and_medians_after_that() -> None:
    ours, theirs = compared(["codexteam", "other"], ROUNDS)

    assert (ours.wall_over_ours, ours.cpu_over_ours) == (1.0, 1.0)
    assert (ours.figures.wall_ratio, theirs.figures.wall_ratio) == (1.1, 3.3)
    assert theirs.wall_over_ours == pytest.approx(3.0)
    assert theirs.cpu_over_ours == pytest.approx(10.0)


def test_the_table_has_a_row_for_each_and_says_who_did_not_run() -> None:
    table = markdown(compared(["codexteam", "other"], ROUNDS), "2 agents", ["third: not installed"])

    assert "| other | 3.30 | 40.0 ms | 1.00 MB | 3.00 | 10.00 |" in table.splitlines()
    assert table.endswith("Not run: third: not installed.\n")


def test_the_picture_is_an_svg_with_a_bar_for_each_figure() -> None:
    drawn = ElementTree.fromstring(picture(compared(["codexteam", "a <b> & c"], ROUNDS), "2 agents"))

    bars = [each for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("x")]
    assert [float(bar.get("width", "")) for bar in bars] == pytest.approx([110.0, 330.0, 41.2, 330.0], abs=0.1)
    assert "a <b> & c" in [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
