"""Foreign text cannot steer a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.text import clean, clean_line


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\x7fb\x00", "a\\x7fb\\x00"),
        ("over\rwrite", "over\\rwrite"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028separator", "line\\u2028separator"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("byte\udcff", "byte\\xff"),
        ("lone\ud800", "lone\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_becomes_a_visible_escape(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


def test_ordinary_text_is_left_alone() -> None:
    text = "Ünïcode, 漢字, emoji 🎉, a\ttab\nand a new line [bold]not markup[/bold]"
    assert clean(text) == text


def test_a_line_has_no_newline_and_no_tab() -> None:
    assert clean_line("a\nb\tc\r\n") == "a\\nb\\tc\\r\\n"


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_no_control_or_format_character_survives(text: str) -> None:
    left = {
        c
        for c in clean_line(text)
        if unicodedata.category(c) in {"Cc", "Cs"}
        or unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    }
    assert not left
    clean(text).encode()  # can be written
