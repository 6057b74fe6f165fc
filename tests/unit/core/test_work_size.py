"""How large a change is: lines that say something new, told apart from lines that are only laid out anew."""

import pytest

from codexteam.core.findings import Category, Severity
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.work_size import ChangedLines, WorkSize, changed_lines, size_findings, size_of

TASK = Task(TaskId("T3"), "Read the CSV", effort=1, paths=("src/load.py",))


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("a\nb\n", "a\nb\n", ChangedLines()),
        ("a\nb\n", "a\nnew\nb\n", ChangedLines((2,))),
        ("a\nb\nc\n", "a\nc\n", ChangedLines(removed=1)),
        ("a\nb\n", "a\nother\n", ChangedLines((2,), 1)),
        ("", "one\ntwo\n", ChangedLines((1, 2))),
        ("call(a, b)\n", "call(\n    a,\n    b,\n)\n", ChangedLines(noise=4)),
        ("x = 'a'\ny = 1\n", 'x = "a"\ny = 1\n', ChangedLines(noise=1)),
        ("if a:\n  b()\n  c()\n", "if a:\n    b()\n    c()\n    d()\n", ChangedLines((4,), noise=2)),
        ("a;\r\nb;\r\n", "a;\nb;\n", ChangedLines(noise=2)),
    ],
)
def test_lines_laid_out_anew_are_not_new(before: str, after: str, found: ChangedLines) -> None:
    assert changed_lines(before, after) == found


def test_lines_of_a_very_long_file_are_compared_as_well() -> None:
    before = "\n".join(f"line {number}" for number in range(6_000))
    after = "\n".join(f"    line {number}" for number in range(3_000)) + "\nnew\n" + before

    assert changed_lines(f"x\n{before}\ny", f"z\n{after}\nw").added == (1, 3_002, 9_003)


def test_generated_files_and_prose_are_not_counted() -> None:
    size = size_of(
        [
            ("src/load.py", "", "a\nb\n"),
            ("package-lock.json", "", "x\n" * 5_000),
            ("README.md", "", "words\n" * 500),
            ("tests/test_load.py", "", "test\n"),
        ]
    )

    assert size == WorkSize(3, 2)


@pytest.mark.parametrize(
    ("size", "far"), [(WorkSize(300, 15), False), (WorkSize(301, 1), True), (WorkSize(20, 16), True)]
)
def test_a_change_far_beyond_its_effort_is_a_finding(size: WorkSize, *, far: bool) -> None:
    found = size_findings(TASK, size)

    assert [one.title for one in found] == ["T3 changes far more than its effort of 1 says"] * far
    assert all((one.severity, one.category) == (Severity.SHOULD_FIX, Category.SCOPE) for one in found)


def test_much_noise_is_a_finding_of_its_own() -> None:
    [found] = size_findings(TASK, WorkSize(40, 2, 60, ("src/load.py",)))

    assert found.title == "T3 lays out lines anew that it does not change"
    assert found.category is Category.STYLE
    assert "60 lines" in found.detail
    assert "src/load.py" in found.detail
    assert not size_findings(TASK, WorkSize(200, 2, 60))
    assert not size_findings(TASK, WorkSize(1, 1, 20))
