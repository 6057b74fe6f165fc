"""A test's name states the rule that it holds, short enough to be read in one line of a report."""

import re

from tests.unit.rules.source import modules_of_tests

_TEST = re.compile(r"^[ \t]*(?:async )?def (test_\w+)", re.MULTILINE)


def test_names_of_tests_are_at_most_seventy_characters() -> None:
    found = ((source.name, name) for source in modules_of_tests() for name in _TEST.findall(source.text))

    assert [f"{place}: {name}" for place, name in found if len(name) > 70] == []
