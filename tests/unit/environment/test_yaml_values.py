"""YAML of strangers as plain values."""

import pytest

from codexteam.core.ids import JSONValue
from codexteam.environment.yaml_values import UnreadableYamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: [push]\noff: no\nyes: true\n", {"on": ["push"], "off": "no", "yes": True}),
        ("v: 3.10\nw: '3.10'\nn: 12\nh: 0x1f\n", {"v": 3.1, "w": "3.10", "n": 12, "h": 31}),
        ("a: ~\nb:\nc: null\n", {"a": None, "b": None, "c": None}),
        ("1: x\ntrue: y\n", {"1": "x", "true": "y"}),
        ("run: |\n  a\n  b\n", {"run": "a\nb\n"}),
        ("base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\n", {"base": {"x": 1, "y": 2}, "other": {"y": 3, "x": 1}}),
        ("a: &l [1]\nb: *l\n", {"a": [1], "b": [1]}),
        ("day: 2024-01-01\n", {"day": "2024-01-01"}),
        ("", None),
        ("one\n---\ntwo\n", "one"),
    ],
)
def test_values_are_those_that_people_mean(text: str, value: JSONValue) -> None:
    assert read_yaml(text) == value


def _bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_bomb(), "aliases"),
        ("[" * 5000, "deeper than|nesting"),
        ("{a: " * 3000, "deeper than|nesting"),
        ("a: &x [*x]\n", "refers to itself or to nothing"),
        ("a: *missing\n", "refers to itself or to nothing"),
        ("a: [1\nb: 2\n", "line"),
        ("\t- x: [\n", "line"),
        ("? [a]\n: b\n", "key"),
        ("a: 1\n" * 300_000, "larger than"),
        ("\x00", "not YAML|special"),
    ],
)
def test_a_text_that_is_not_used_says_why_in_one_line(text: str, why: str) -> None:
    with pytest.raises(UnreadableYamlError, match=why) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
