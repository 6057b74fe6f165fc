from dataclasses import replace

import pytest

from codexteam.core.dispatch import OpenFinding, why_stuck
from codexteam.core.findings import Category, Finding, Severity, fingerprint, weigh
from codexteam.core.ids import GateName

FINDING = Finding(
    "Off by one in `load()` at line 12.",
    "d",
    Severity.MUST_FIX,
    Category.CORRECTNESS,
    "src/a.py",
    12,
    gate=GateName.REVIEW,
)


def test_a_finding_is_the_same_when_its_line_and_wording_marks_move() -> None:
    moved = replace(FINDING, title="off by one in load() at line 40", line=40, detail="other words")

    assert fingerprint(moved) == fingerprint(FINDING)


@pytest.mark.parametrize(
    "other",
    [
        replace(FINDING, file="src/b.py"),
        replace(FINDING, gate=GateName.SECURITY),
        replace(FINDING, category=Category.TESTS),
        replace(FINDING, title="Leaks a handle in load()"),
    ],
)
def test_another_place_gate_category_or_title_is_another_finding(other: Finding) -> None:
    assert fingerprint(other) != fingerprint(FINDING)


def test_only_must_fix_weighs_much() -> None:
    assert (
        weigh([FINDING, replace(FINDING, severity=Severity.SHOULD_FIX), replace(FINDING, severity=Severity.NIT)]) == 12
    )


@pytest.mark.parametrize(
    ("seen", "weights", "round_number", "why"),
    [
        pytest.param([OpenFinding("F1", 2)], [30, 20], 2, None, id="falls"),
        pytest.param([OpenFinding("F1", 3)], [10], 1, "F1 was found in 3 rounds", id="repeats"),
        pytest.param([], [10, 20, 10], 3, "two rounds brought no progress", id="no fall"),
        pytest.param([], [20, 20, 10], 3, None, id="fell late"),
        pytest.param([], [10], 5, "round 5 of at most 5", id="limit"),
    ],
)
def test_the_loop_stops_when_it_does_not_converge(
    seen: list[OpenFinding], weights: list[int], round_number: int, why: str | None
) -> None:
    found = why_stuck(seen, weights, round_number=round_number, round_limit=5)

    assert (why in found) if why and found else found is why
