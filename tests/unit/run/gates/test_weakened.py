import pytest

from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Severity
from codexteam.ports.repo import TreeChange
from codexteam.run.gates.weakened import TextPair, find_weakened

GOOD_TEST = "def test_a():\n    assert f(1) == 2\n    assert f(2) == 3\n\ndef test_b():\n    assert f(3) == 4\n"
#: The same tests, in the words of other runners.
JEST = "test('adds', () => {\n  expect(f(1)).toBe(2);\n});\ntest('subtracts', () => {\n  expect(g(1)).toBe(0);\n});\n"
GO = "func TestA(t *testing.T) {\n\tif f(1) != 2 {\n\t\tt.Fatal()\n\t}\n}\n\nfunc TestB(t *testing.T) {\n\tt.Error(g())\n}\n"


def weakened(
    before: dict[str, str], after: dict[str, str], *, asked_for: tuple[str, ...] = ()
) -> list[tuple[Severity, str]]:
    """Compare two sets of files."""
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            status = "A" if old is None else "D" if new is None else "M"
            changes.append(TreeChange(path.encode(), status, "100644", "100644", str(hash(old)), str(hash(new))))
    found = find_weakened(
        changes, lambda c: TextPair(before.get(c.path.decode()), after.get(c.path.decode())), asked_for=asked_for
    )
    return [(finding.severity, finding.title) for finding in found]


@pytest.mark.parametrize(
    ("after", "title"),
    [
        pytest.param(None, "test file tests/test_f.py was removed", id="file removed"),
        pytest.param(GOOD_TEST.split("\ndef test_b", maxsplit=1)[0], "tests were removed from", id="case removed"),
        pytest.param(
            GOOD_TEST.replace("def test_a", "@pytest.mark.skip\ndef test_a"), "skipped or expected", id="skip"
        ),
        pytest.param(
            "import pytest\npytestmark = pytest.mark.skip\n" + GOOD_TEST, "skipped or expected", id="all skipped"
        ),
        pytest.param(GOOD_TEST.replace("assert f(3) == 4", "assert True"), "asserts nothing", id="assert True"),
        pytest.param(GOOD_TEST.replace("    assert f(2) == 3\n", ""), "asserts less than before", id="fewer asserts"),
        pytest.param(
            GOOD_TEST.replace("    assert f(3)", "    return\n    assert f(3)"), "may end before", id="return"
        ),
        pytest.param(
            GOOD_TEST.replace("    assert f(3)", "    return; assert f(3)"), "may end before", id="on its line"
        ),
        pytest.param(
            GOOD_TEST.replace("    assert f(2)", "    if x:\n        return 1\n    assert f(2)"), "may end", id="maybe"
        ),
        pytest.param(
            GOOD_TEST.replace("    assert f(3) == 4", "    if False:\n        assert f(3) == 4"),
            "may end",
            id="if False",
        ),
        pytest.param(
            GOOD_TEST.replace(
                "    assert f(3) == 4", "    try:\n        assert f(3) == 4\n    except Exception:\n        pass"
            ),
            "catches what it should let fail",
            id="caught",
        ),
        pytest.param(GOOD_TEST.replace("f(3) == 4", "f(3) == 0"), "expects something else than before", id="expected"),
        pytest.param("import os\nos._exit(0)\n" + GOOD_TEST, "may end the test runner", id="exit"),
        pytest.param("import sys\nsys.exit(0)\n" + GOOD_TEST, "may end the test runner", id="sys.exit"),
        pytest.param(GOOD_TEST + "\ndef load_tests(*a):\n    return None\n", "take its place", id="load_tests"),
    ],
)
def test_a_weakened_test_is_a_finding(after: str | None, title: str) -> None:
    found = weakened({"tests/test_f.py": GOOD_TEST}, {"tests/test_f.py": after} if after is not None else {})

    assert [severity for severity, _ in found] == [Severity.MUST_FIX]
    assert title in found[0][1]


@pytest.mark.parametrize(
    ("path", "before", "after", "title"),
    [
        ("web/f.test.js", JEST, JEST.replace("{\n  expect(g", "{\n  return;\n  expect(g"), "may end before"),
        ("web/f.test.js", JEST, JEST.replace("test('sub", "test.skip('sub"), "skipped or expected"),
        ("web/f.test.js", JEST, JEST.replace("toBe(0)", "toBe(7)"), "expects something else"),
        ("web/f.test.js", JEST, "process.exit(0);\n" + JEST, "may end the test runner"),
        ("f_test.go", GO, GO + "\nfunc TestMain(m *testing.M) {\n\tos.Exit(0)\n}\n", "may end the test runner"),
        ("f_test.go", GO, GO.replace("\tt.Error", "\tt.SkipNow()\n\tt.Error"), "skipped or expected"),
        ("f_test.go", GO, GO.split("func TestB", maxsplit=1)[0], "tests were removed"),
    ],
)
def test_tests_in_other_languages_are_compared_too(path: str, before: str, after: str, title: str) -> None:
    found = weakened({path: before}, {path: after})

    assert any(title in one and severity is Severity.MUST_FIX for severity, one in found), found


def test_an_added_test_file_that_ends_the_runner_is_a_finding() -> None:
    found = weakened({}, {"tests/test_aa.py": "import os\nos._exit(0)\n"})

    assert found == [(Severity.MUST_FIX, "tests/test_aa.py may end the test runner, or take its place")]
    assert weakened({}, {"tests/test_ok.py": GOOD_TEST + "if __name__ == '__main__':\n    sys.exit(main())\n"}) == []


@pytest.mark.parametrize(
    "after",
    [
        pytest.param({"tests/test_new.py": GOOD_TEST}, id="file renamed"),
        pytest.param({"testing/test_f.py": GOOD_TEST}, id="folder renamed"),
        pytest.param({"tests/unit/deep/test_f.py": GOOD_TEST}, id="moved down"),
        pytest.param(
            dict(zip(["tests/test_1.py", "tests/test_2.py"], GOOD_TEST.split("\n\n"), strict=True)), id="split"
        ),
        pytest.param({"tests/test_f.py": GOOD_TEST.replace("test_b", "test_f_of_three")}, id="test renamed"),
        pytest.param(
            {"tests/test_new.py": "class TestF:\n" + "".join(f"    {line}\n" for line in GOOD_TEST.splitlines())},
            id="into a class",
        ),
        pytest.param({"tests/test_f.py": GOOD_TEST + "\ndef test_c():\n    assert f(4) == 5\n"}, id="grown"),
        pytest.param(
            {
                "tests/test_f.py": GOOD_TEST.replace(
                    "    assert f(3)", "    def g():\n        return 1\n    assert f(3)"
                )
            },
            id="a function within returns",
        ),
    ],
)
def test_tests_that_moved_or_grew_are_no_finding(after: dict[str, str]) -> None:
    assert weakened({"tests/test_f.py": GOOD_TEST}, after) == []


@pytest.mark.parametrize(
    "after",
    [
        pytest.param({"tests/old_f.py": GOOD_TEST}, id="a name that no runner collects"),
        pytest.param({"tests/fixtures/test_f.py": GOOD_TEST}, id="among the fixtures"),
        pytest.param({"attic/test_f.txt": GOOD_TEST}, id="no code"),
        pytest.param({"tests/test_new.py": GOOD_TEST.split("\ndef test_b", maxsplit=1)[0]}, id="a part of it"),
    ],
)
def test_tests_that_vanish_on_their_way_are_a_finding(after: dict[str, str]) -> None:
    found = weakened({"tests/test_f.py": GOOD_TEST}, after)

    assert [severity for severity, _ in found] == [Severity.MUST_FIX]
    assert "removed" in found[0][1]


def test_a_test_that_is_weakened_while_it_moves_is_a_finding() -> None:
    moved = GOOD_TEST.replace("    assert f(3)", "    return\n    assert f(3)")

    found = weakened({"tests/test_f.py": GOOD_TEST}, {"tests/test_new.py": moved})

    assert found == [(Severity.MUST_FIX, "a test in tests/test_f.py may end before it asserts")]


@pytest.mark.parametrize(
    "path", ["tests/fixtures/shop.py", "tests/data/rows.csv", "tests/helpers.py", "tests/data/test_x.py"]
)
def test_a_fixture_is_no_test(path: str) -> None:
    assert weakened({path: "def shop():\n    return 1\n"}, {}) == []


def test_a_removed_test_that_a_task_names_is_left_to_a_reviewer() -> None:
    changed = GOOD_TEST.replace("== 4", "== 5")

    assert weakened({"tests/test_f.py": GOOD_TEST}, {}, asked_for=("tests/test_f.py",)) == [
        (Severity.SHOULD_FIX, "test file tests/test_f.py was removed")
    ]
    assert weakened({"tests/test_f.py": GOOD_TEST}, {}, asked_for=("tests/",))[0][0] is Severity.MUST_FIX
    expects = "tests/test_f.py expects something else than before"
    both = ({"tests/test_f.py": GOOD_TEST}, {"tests/test_f.py": changed})
    assert weakened(*both, asked_for=("tests/",)) == [(Severity.SHOULD_FIX, expects)]
    assert weakened(*both, asked_for=("src/",)) == [(Severity.MUST_FIX, expects)]


def test_a_changed_snapshot_is_a_finding_and_a_moved_one_is_none() -> None:
    snap = "web/__snapshots__/f.test.js.snap"

    assert weakened({snap: "1"}, {snap: "2"}) == [(Severity.MUST_FIX, f"expected output {snap} was changed")]
    assert weakened({snap: "1"}, {}) == [(Severity.MUST_FIX, f"expected output {snap} was removed")]
    assert weakened({snap: "1"}, {"app/__snapshots__/f.test.js.snap": "1"}) == []


@pytest.mark.parametrize(
    "path", ["tests/x.py", "src/test_a.py", "a_test.go", "web/a.spec.ts", "conftest.py", "a/FTest.java"]
)
def test_test_files_are_known_by_their_names(path: str) -> None:
    assert is_test_file(path)
    assert not is_test_file("src/contest.py")
