import io

import pytest
from rich.console import Console
from rich.text import Text

from codexteam.views.layout import GLUE, columns, print_wrapped, width_of, wrapped


def test_a_line_is_broken_between_words_and_goes_on_below_its_text() -> None:
    text = Text("reason  the branch could not be written, as it was moved")

    assert wrapped(text, 30, 8).plain == "reason  the branch could not\n        be written, as it was\n        moved"


def test_what_belongs_together_stays_together_and_has_ordinary_spaces() -> None:
    assert wrapped(Text(f"gates   ci_runner{GLUE}ship, reviewer{GLUE}block"), 34, 8).plain == (
        "gates   ci_runner ship,\n        reviewer block"
    )


def test_a_path_that_is_wider_than_a_line_is_not_broken() -> None:
    path = "/somewhere/" + "deep/" * 10

    assert wrapped(Text(f"files   {path}"), 30, 8).plain == f"files   {path}"


def test_wide_characters_count_twice() -> None:
    assert wrapped(Text("漢字漢字 漢字漢字"), 10, 0).plain == "漢字漢字\n漢字漢字"


def test_a_style_stays_with_its_words() -> None:
    text = Text("a b ").append("cc dd", style="red")
    lines = wrapped(text, 7, 2)

    assert lines.plain == "a b cc\n  dd"
    assert [lines.plain[span.start : span.end] for span in lines.spans if span.style == "red"] == ["cc", "dd"]


@pytest.mark.parametrize(("terminal", "lines"), [(True, 2), (False, 1)])
def test_in_a_pipe_a_line_stays_in_one_piece(*, terminal: bool, lines: int) -> None:
    out = io.StringIO()
    print_wrapped(Console(file=out, width=20, force_terminal=terminal, color_system=None), Text("words " * 5))

    assert len(out.getvalue().rstrip("\n").splitlines()) == lines


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    rows = [[Text("role"), Text("cost")], [Text("reviewer"), Text("$1.00")], [Text("qa"), Text("$12.00")]]
    lines = columns(rows, right={1})

    assert [line.plain for line in lines] == ["role        cost", "reviewer   $1.00", "qa        $12.00"]
    assert width_of(lines) == 16
