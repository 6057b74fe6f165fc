"""A module holds one concept: its name says which, and it is not too long."""

from tests.unit.rules.source import modules

_MOST_LINES = 600
_NO_CONCEPTS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_no_module_is_longer_than_six_hundred_lines() -> None:
    lines = {source.name: len(source.text.splitlines()) for source in modules()}
    assert [name for name, count in lines.items() if count > _MOST_LINES] == []


def test_every_module_is_named_for_what_it_holds() -> None:
    names = [source.name for source in modules()]
    words = {name: set(name.removesuffix(".py").rpartition("/")[2].split("_")) for name in names}
    assert [name for name, found in words.items() if found & _NO_CONCEPTS] == []
