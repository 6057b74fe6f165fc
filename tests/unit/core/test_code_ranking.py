"""What of a repository a text is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.code_words import page_rank, path_scores, shared_out, twin_names

PATHS = [b"src/csv/reader.py", b"src/csv/writer.py", b"tests/csv/test_reader.py", b"docs/setup.md"]


def test_a_rare_word_in_a_path_counts_for_more_than_a_frequent_one() -> None:
    scores = path_scores(PATHS, ["csv", "writers"], "csv writers")

    assert max(scores, key=lambda path: scores[path]) == b"src/csv/writer.py"
    assert b"docs/setup.md" not in scores


def test_a_file_that_is_named_comes_first() -> None:
    scores = path_scores(PATHS, ["csv", "reader"], "csv reader as in setup.md")

    assert max(scores, key=lambda path: scores[path]) == b"docs/setup.md"


def test_what_is_referred_to_ranks_before_what_is_not() -> None:
    ranks = page_rank({"goal": {"used": 1.0}, "used": {"deep": 1.0}}, {"goal": 1.0})

    assert ranks["goal"] > ranks["used"] > ranks["deep"] > 0
    assert page_rank({}, {}) == {}


@given(
    st.dictionaries(st.integers(0, 8), st.dictionaries(st.integers(0, 8), st.floats(0.01, 5), max_size=4), max_size=8),
    st.dictionaries(st.integers(0, 8), st.floats(0.01, 5), min_size=1, max_size=4),
)
def test_ranks_of_any_graph_add_up_to_one(edges: dict[int, dict[int, float]], start: dict[int, float]) -> None:
    assert sum(page_rank(edges, start).values()) == pytest.approx(1.0)


def test_a_file_and_its_tests_are_twins() -> None:
    names = [
        b"src/csv_load.py",
        b"tests/test_csv_load.py",
        b"web/csv-load.spec.ts",
        b"CsvLoad.java",
        b"CsvLoadTest.java",
    ]

    assert {twin_names(name) for name in names[:3]} == {"csv load"}


def test_amounts_are_shares_of_the_largest() -> None:
    assert shared_out({"a": 4.0, "b": 1.0}) == {"a": 1.0, "b": 0.25}
    assert shared_out({"a": 0.0}) == {}
