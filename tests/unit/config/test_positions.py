"""The place of a value is found for every way TOML has of writing it."""

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from codexteam.config.toml_file import KeyPath, Position, find_positions

TEXT = '''# comment = 1
model = "a"  # model = "b"
"quoted key".x = 'y'
a.b . c = 1
long = """
not = "a key"
\\""" still
"""
literal = \'\'\'
[not-a-table]
\'\'\'
items = [ 1, # one
  "two, ]", [3, 4],
  { five = 5, six.seven = "}" },
]
inline = { k = "v", "a.b" = { c = true } }

[table]
key = 2024-01-01T00:00:00Z

[table.'sub.table']
x=1
[[servers]]
name = "first"
[[servers]]
name = "second"
[servers.env]
A = "1"
[[servers.ports]]
n = 80
'''


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("model",), 2, 9),
        (("quoted key", "x"), 3, 18),
        (("a", "b", "c"), 4, 11),
        (("a", "b"), 4, 1),
        (("long",), 5, 8),
        (("literal",), 9, 11),
        (("items", 0), 12, 11),
        (("items", 1), 13, 3),
        (("items", 2, 1), 13, 17),
        (("items", 3, "five"), 14, 12),
        (("items", 3, "six", "seven"), 14, 27),
        (("inline", "k"), 16, 16),
        (("inline", "a.b", "c"), 16, 35),
        (("table",), 18, 1),
        (("table", "key"), 19, 7),
        (("table", "sub.table", "x"), 22, 3),
        (("servers", 0, "name"), 24, 8),
        (("servers", 1, "name"), 26, 8),
        (("servers", 1, "env", "A"), 28, 5),
        (("servers", 1, "ports", 0, "n"), 30, 5),
    ],
)
def test_a_value_is_found_where_it_stands(path: KeyPath, line: int, column: int) -> None:
    assert find_positions(TEXT)[path] == Position(line, column)


def test_what_stands_in_strings_and_comments_is_no_key() -> None:
    found = find_positions(TEXT)
    assert ("comment",) not in found
    assert ("not",) not in found
    assert ("not-a-table",) not in found


def _paths(value: object, path: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = {path} if path else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= _paths(inner, (*path, key))
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found |= _paths(inner, (*path, number))
    return found


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_TEXT, _VALUES, max_size=5), st.booleans())
def test_every_value_of_any_document_is_found_on_its_own_line(data: dict[str, object], multiline: bool) -> None:
    text = tomli_w.dumps(data, multiline_strings=multiline)
    found = find_positions(text)
    lines = text.count("\n") + 1
    leaves = {path for path in _paths(tomllib.loads(text)) if not _is_table(data, path)}
    assert leaves <= set(found)
    assert all(1 <= position.line <= lines for position in found.values())


def _is_table(data: object, path: KeyPath) -> bool:
    for key in path:
        data = data[key]  # type: ignore[index]  # the path came from this very data
    return isinstance(data, dict)


def test_ten_thousand_keys_are_found_in_one_pass() -> None:
    text = "".join(f"[t{n}]\nk = '{n}'\n" for n in range(10_000))
    assert find_positions(text)["t9999", "k"] == Position(20_000, 5)
