"""One name for one thing: a class is found by its name alone."""

import re
from collections import defaultdict

from tests.unit.rules.source import modules

_DEFINED = re.compile(r"^[ \t]*(?:class (\w+)[(:]|(\w+): TypeAlias = )", re.MULTILINE)


def test_no_class_or_type_alias_has_the_name_of_another() -> None:
    places = defaultdict(list)
    for source in modules():
        for found in _DEFINED.finditer(source.text):
            places[found[1] or found[2]].append(source.name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_what_is_ours_is_imported_under_its_own_name() -> None:
    """A constant may get a word in front, where two modules have one of its name: `HOME as ENVIRONMENT_HOME`."""
    found = [
        f"{source.name}: {each.name} as {each.alias}"
        for source in modules()
        for each in source.imported_names
        if each.module.startswith("codexteam")
        if each.alias and not (each.name.isupper() and each.alias.endswith(f"_{each.name}"))
    ]
    assert found == []
