"""Which commits become tasks, and what such a task asks for."""

import pytest

from codexteam.core.mining import SplitChange, keep_line, lines_of_tests, split_change, task_goal


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["src/a.py", "README.md"], "changes no test"),
        (["tests/test_a.py", "README.md", "pyproject.toml"], "changes no code beside its tests"),
        (["src/a.py", "tests/data/x.py"], "changes no file of tests that a runner takes"),
        ([f"src/{n}.py" for n in range(41)], "changes more than 40 files"),
    ],
)
def test_a_commit_without_code_and_its_tests_is_no_task(paths: list[str], why: str) -> None:
    assert split_change(paths) == why


def test_all_that_belongs_to_tests_is_hidden() -> None:
    found = split_change(["tests/test_a.py", "tests/data/x.json", "src/a.py", "CHANGES.md", "tests/conftest.py"])

    assert found == SplitChange(
        ("tests/conftest.py", "tests/data/x.json", "tests/test_a.py"), ("CHANGES.md", "src/a.py")
    )


def test_a_module_of_tests_may_be_called_so() -> None:
    assert split_change(["slugify/slugify.py", "test.py"]) == SplitChange(("test.py",), ("slugify/slugify.py",))


def test_the_goal_is_the_message_without_merges_and_signatures() -> None:
    message = (
        "Merge pull request #184 from someone/branch\n\nAllow a hyphen in names.\n\n\n\nCloses #86\n"
        "Signed-off-by: A <a@b>\n"
    )

    assert task_goal(message) == "Allow a hyphen in names.\n\nCloses #86"
    assert task_goal("Merge branch 'main' into x") == ""
    assert task_goal("fix it") == ""


def test_tests_in_python_run_by_themselves_and_others_by_the_repository() -> None:
    assert lines_of_tests(["tests/test_a.py", "tests/conftest.py"], ["make test"]) == [
        "python3 -m pytest -q -p no:cacheprovider tests/test_a.py",
        "python3 -m unittest tests.test_a",
    ]
    assert lines_of_tests(["a_test.go"], ["go test ./..."]) == ["go test ./..."]


def test_what_must_keep_passing_is_all_but_what_failed() -> None:
    [line, other] = lines_of_tests(["tests/test_a.py"], [])

    assert keep_line(line, {"tests/test_a.py::test_x[1 - 2]", "tests/test_b.py"}) == (
        "python3 -m pytest -q -p no:cacheprovider '--deselect=tests/test_a.py::test_x[1 - 2]' --ignore=tests/test_b.py"
    )
    assert keep_line(line, set()) == ""
    assert keep_line(other, {"test_x"}) == ""
