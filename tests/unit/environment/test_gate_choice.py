"""Which of the offered test commands may be gates."""

import pytest

from codexteam.environment.gate_choice import ecosystem_of, gate_groups
from codexteam.environment.plan import Ecosystem, TestCommand


def _tests(*commands: str, folder: str = "") -> list[TestCommand]:
    return [TestCommand(command, "ci.yml", folder) for command in commands]


def test_commands_of_one_language_are_alternatives_in_their_order() -> None:
    assert gate_groups(_tests("tox -e py312", "pytest -q")) == (("tox -e py312", "pytest -q"),)


def test_each_language_has_a_gate_of_its_own() -> None:
    found = gate_groups(_tests("pytest -q", "npm test", "python -m unittest"))

    assert found == (("pytest -q", "python -m unittest"), ("npm test",))


@pytest.mark.parametrize(
    ("commands", "first"),
    [
        (("make test", "pytest"), ("make test", "pytest")),
        (("pytest", "make test"), ("pytest", "make test")),
        (("make test", "pytest", "npm test"), ("make test", "pytest")),
    ],
)
def test_a_command_that_may_run_anything_keeps_its_place(commands: tuple[str, ...], first: tuple[str, ...]) -> None:
    assert gate_groups(_tests(*commands))[0] == first


def test_only_unknown_commands_are_alternatives_of_each_other() -> None:
    assert gate_groups(_tests("./run-tests.sh", "make check")) == (("./run-tests.sh", "make check"),)


def test_a_folders_tests_count_where_the_root_has_none_of_that_language() -> None:
    found = gate_groups([*_tests("pytest"), *_tests("npm test", folder="web ui"), *_tests("pytest", folder="lib")])

    assert found == (("pytest",), ("cd 'web ui' && npm test",))


def test_a_repository_without_tests_has_no_gates() -> None:
    assert gate_groups(()) == ()


@pytest.mark.parametrize(
    ("command", "ecosystem"),
    [
        ("env A=1 B='x y' pytest", Ecosystem.PYTHON),
        ("echo 'unfinished", Ecosystem.OTHER),
        ("A=1 pytest -q", Ecosystem.PYTHON),
        ("./gradlew --no-daemon test", Ecosystem.JAVA),
        ("python3.12 -m pytest", Ecosystem.PYTHON),
        ("vendor/bin/phpunit", Ecosystem.PHP),
        ("make test", Ecosystem.OTHER),
        ("", Ecosystem.OTHER),
    ],
)
def test_a_command_is_of_the_language_of_its_program(command: str, ecosystem: Ecosystem) -> None:
    assert ecosystem_of(command) is ecosystem
