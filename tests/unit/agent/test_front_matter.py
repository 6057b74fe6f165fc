"""The YAML that people write at the head of a skill, as Codex takes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.agent.front_matter import BadFrontMatter, parse_table, split_front_matter


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("---\nname: a\n---\nbody", "name: a"),
        ("---  \nname: a\n---  \nbody", "name: a"),
        ("---\r\nname: a\r\n---\r\nbody", "name: a"),
        ("---\n---\n", ""),
        ("name: a", None),
        ("\n---\nname: a\n---\n", None),
        ("\ufeff---\nname: a\n---\n", None),
        ("---\nname: a\n", None),
    ],
)
def test_a_head_stands_between_two_lines_of_dashes(text: str, head: str | None) -> None:
    assert split_front_matter(text) == head


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("d: plain", "plain"),
        ("d:\ttab", "tab"),
        ("d: Use when: this breaks yaml", "Use when: this breaks yaml"),
        ("d: one # comment", "one"),
        ("d: one#two", "one#two"),
        ("d: one\n  two\n  three", "one two three"),
        ("d:\n  below", "below"),
        ('d: "colon: and \\"q\\" \\u00e9"', 'colon: and "q" é'),
        ('d: "one\n  two"', "one two"),
        ("d: 'it''s' # comment", "it's"),
        ("d: >\n  one\n  two\n\n  three", "one two\n\nthree"),
        ("d: >-\n  one\n  two", "one two"),
        ("d: |\n  one\n    two", "one\n  two"),
        ("d: 456", "456"),
        ("d: true", "true"),
        ("d: ~", None),
        ("d: null", None),
        ("d:", None),
        ("d: [a, b]", None),
        ("d:\n  - a\n  - b", None),
        ("d: *alias", None),
        ("d: {a: b, c: false}", {"a": "b", "c": "false"}),
        ("d:\n  a: b\n  c:\n    e: f", {"a": "b", "c": {"e": "f"}}),
        ('"d": {"a": false}', {"a": "false"}),
    ],
)
def test_a_value_is_read_as_people_mean_it(text: str, value: object) -> None:
    table = parse_table(f"# comment\nother: x\n\n{text}\nlast: y")
    assert table == {"other": "x", "d": value, "last": "y"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b", "`name` is given twice"),
        ("just text", "line 1 is no `key: value`"),
        ("a: b\n[x", "line 2 is no `key: value`"),
        ('a: "open', 'begins with " does not end'),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    table = parse_table(text)
    assert isinstance(table, BadFrontMatter)
    assert said in table.message


@given(st.text(alphabet="ab:#'\"|>-[]{}\\ux0 \t\n"))
def test_no_text_breaks_it(text: str) -> None:
    parse_table(text)
    split_front_matter(text)
