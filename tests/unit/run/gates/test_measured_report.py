"""What a sandbox prints of measured lines is foreign: what is no measurement is left out, and never ends a run."""

import pytest

from codexteam.core.untested import ExecutedLines
from codexteam.run.gates.coverage import measuring, read_measured

PATHS = ["a.py"]
MARK = measuring(["true"], PATHS).split(" measure ")[-1].split()[0]


def test_the_marked_lines_are_read_and_added_up() -> None:
    output = f'noise\n{MARK} ["a.py", [1], [2, 3]]\n{MARK} ["a.py", [2], [1]]\n{MARK} ["b.py", [1], []]\n'

    assert read_measured(output, PATHS) == {"a.py": ExecutedLines(frozenset({1, 2}), frozenset({3}))}


@pytest.mark.parametrize(
    "text",
    [
        '["a.py", [Infinity], []]',
        '["a.py", [NaN], []]',
        '["a.py", [1.5], []]',
        '["a.py", [true], []]',
        '["a.py", ["1"], []]',
        '["a.py", [], [[1]]]',
        '["a.py", [], [null]]',
        '["a.py", "12", []]',
        '["a.py", {"1": 2}, []]',
        '["a.py", []]',
        '["a.py", [], [], []]',
        '[["a.py"], [], []]',
        '{"a.py": [], "b": [], "c": []}',
        '"abc"',
        "7",
        "null",
        "",
        "[" * 100_000,
        f'["a.py", [{"9" * 5_000}], []]',
    ],
)
def test_a_malformed_line_is_no_measurement(text: str) -> None:
    assert read_measured(f"{MARK} {text}\n", PATHS) == {}
