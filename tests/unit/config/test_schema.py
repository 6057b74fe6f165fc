"""The schema language: what fits, what does not, and the words for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.config.codex_schema import CODEX, CONFIG, ROLE_FILE
from codexteam.config.schema import (
    ChoiceKind,
    Either,
    Entries,
    Flag,
    Items,
    Number,
    Schema,
    SizeKind,
    TableKind,
    Text,
    allowed,
    check,
    dotted,
    parse_size,
)
from codexteam.config.toml_file import find_positions, parse_toml
from codexteam.core.ids import JSONValue
from codexteam.errors import ConfigError


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (Text(), ["", "a"], [1, True, [], {}]),
        (Text(may_be_empty=False), ["a"], [""]),
        (Flag(), [True, False], [0, 1, "true"]),
        (Number(low=0, high=9), [0, 9], [-1, 10, 1.5, True, "1"]),
        (Number(low=0, fraction=True), [0, 0.5], [-0.1, float("nan"), float("inf"), False]),
        (ChoiceKind(("a", "b")), ["a"], ["c", 1]),
        (SizeKind(), ["1B", "512MiB", "4GiB"], ["", "4", "4G", "4 GB", "-1B", "0GiB", 4, "٤GiB"]),
        (Items(Flag()), [[], [True]], [[1], True]),
        (Entries(Flag()), [{}, {"x": True}], [{"x": 1}, []]),
        (TableKind({"a": Flag()}, required=("a",)), [{"a": True}], [{}, {"a": 1}]),
        (TableKind({"a": Flag()}, closed=True), [{}], [{"b": 1}]),
        (Either((Flag(), TableKind({"a": Flag()}))), [True, {}, {"a": True}], [1, {"a": 1}]),
    ],
)
def test_a_schema_takes_what_fits_and_nothing_else(schema: Schema, good: list[JSONValue], bad: list[JSONValue]) -> None:
    assert all(not check(value, schema).problems for value in good)
    assert all(check(value, schema).problems for value in bad)
    assert allowed(schema)


def test_a_problem_names_the_innermost_value() -> None:
    (problem,) = check({"a": [{"b": 1}]}, TableKind({"a": Items(TableKind({"b": Flag()}))})).problems
    assert (dotted(problem.path), problem.found, problem.allowed) == ("a[0].b", "the number 1", "true or false")


def test_an_unknown_key_is_told_with_a_guess_and_is_no_problem() -> None:
    found = check({"model_reasoning_efort": "x"}, CODEX)
    assert found.problems == []
    assert found.unknown[0].hint == "did you mean `model_reasoning_effort`?"


def test_all_109_keys_of_codex_are_known_and_codexteams_own_one() -> None:
    assert len(CODEX.keys) == 109
    assert set(CONFIG.keys) - set(CODEX.keys) == {"codexteam"}
    assert set(ROLE_FILE.keys) - set(CODEX.keys) == {"name", "description", "nickname_candidates"}


@pytest.mark.parametrize(("text", "size"), [("1KiB", 1024), ("2MiB", 2 << 20), ("3 GiB", 3 << 30), ("1TiB", 1 << 40)])
def test_a_size_is_its_number_of_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_values_or_one_error(content: bytes) -> None:
    try:
        file = parse_toml(content, "f")
    except ConfigError:
        return
    found = check(file.values, CONFIG)
    for problem in [*found.problems, *found.unknown]:
        assert file.place(problem.path).startswith("f:")


_TOML = st.lists(
    st.sampled_from(
        [
            "[a]",
            "[[b]]",
            "[b.c]",
            "x",
            "=",
            "1",
            '"q"',
            "'''",
            '"""',
            "\n",
            "#",
            "{",
            "}",
            "[",
            "]",
            ",",
            ".",
            " ",
            "\\",
        ]
    ),
    max_size=40,
).map("".join)


@given(_TOML)
def test_the_scan_for_places_ends_on_whatever_looks_like_toml(text: str) -> None:
    find_positions(text)
