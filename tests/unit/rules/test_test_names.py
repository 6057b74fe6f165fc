"""A test's name states the rule that it holds, short enough to be read in one line of a report."""

import ast

from tests.unit.rules.source import modules_of_tests


def test_names_of_tests_are_at_most_seventy_characters() -> None:
    found = (
        (name, node.name)
        for name, tree in modules_of_tests()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )

    assert [f"{place}: {name}" for place, name in found if len(name) > 70] == []
