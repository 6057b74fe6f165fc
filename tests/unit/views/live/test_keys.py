"""Keys as terminals send them, also in pieces."""

import pytest

from codexteam.views.live.keys import KeyParser


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B\x1bOC", ["up", "down", "right"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1bOF", ["page up", "page down", "home", "end"]),
        (b"\r\n\t\x7f\x15", ["enter", "enter", "tab", "backspace", "clear"]),
        ("sä€😀".encode(), ["s", "ä", "€", "😀"]),
        (b"\x1b[1;5A", []),
        (b"\x00\x01", []),
        (b"\x1bx", ["escape", "x"]),
    ],
)
def test_keys_are_read_from_bytes(data: bytes, keys: list[str]) -> None:
    assert KeyParser().feed(data) == keys


@pytest.mark.parametrize("data", [b"\x1b[A", "é".encode(), "😀".encode(), b"\x1b[5~"])
def test_a_key_that_comes_byte_by_byte_is_one_key(data: bytes) -> None:
    parser, keys = KeyParser(), []
    for number in range(len(data)):
        keys += parser.feed(data[number : number + 1])

    assert len(keys) == 1
    assert not parser.is_waiting


def test_a_lone_escape_is_a_key_once_nothing_follows() -> None:
    parser = KeyParser()

    assert parser.feed(b"\x1b") == []
    assert parser.is_waiting
    assert parser.feed(b"", complete=True) == ["escape"]
