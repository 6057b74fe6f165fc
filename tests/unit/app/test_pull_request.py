"""What of a pull request's body is ours, and what is somebody else's."""

import pytest

from codexteam.app.pull_request import with_ours

OURS = "<!-- codexteam run=1 -->\nnew\n<!-- /codexteam -->"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OURS),
        ("mine", f"mine\n\n{OURS}"),
        ("<!-- codexteam run=1 -->\nold\n<!-- /codexteam -->", OURS),
        ("a\n<!-- codexteam run=0 -->\nold\n<!-- /codexteam -->\nb", f"a\n{OURS}\nb"),
    ],
)
def test_our_part_of_a_body_is_replaced_and_nothing_else(before: str, after: str) -> None:
    assert with_ours(before, OURS) == after
    assert with_ours(after, OURS) == after


def test_backslashes_in_our_part_stay_what_they_are() -> None:
    ours = OURS.replace("new", r"\1 \g<0>")
    assert with_ours(OURS, ours) == ours
