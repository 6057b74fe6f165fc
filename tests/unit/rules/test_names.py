"""One name for one thing: a class is found by its name alone."""

import ast
from collections import defaultdict

from tests.unit.rules.source import modules


def test_no_class_or_type_alias_has_the_name_of_another() -> None:
    places = defaultdict(list)
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
                places[ast.unparse(node.target)].append(f"{name}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_what_is_ours_is_imported_under_its_own_name() -> None:
    """A constant may get a word in front, where two modules have one of its name: `HOME as ENVIRONMENT_HOME`."""
    found = [
        f"{name}: {alias.name} as {alias.asname}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("codexteam")
        for alias in node.names
        if alias.asname is not None and not (alias.name.isupper() and alias.asname.endswith(f"_{alias.name}"))
    ]
    assert found == []
