"""Which places a task's globs name, whatever git ignores."""

import pytest

from codexteam.adapters.sandbox.named_places import NamedPlace, named_places


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("src/lib/util.py", [NamedPlace("src/lib/util.py")]),
        ("./dist/", [NamedPlace("dist")]),
        ("dist/**", [NamedPlace("dist")]),
        ("logs/*.log", [NamedPlace("logs", "*.log", direct=True)]),
        ("*.log", [NamedPlace("", "*.log", direct=True)]),
        ("build/**/*.js", [NamedPlace("build", "**/*.js")]),
        ("build/*", [NamedPlace("build", "*")]),
        ("{dist,out}/a.js", [NamedPlace("out/a.js"), NamedPlace("dist/a.js")]),
        ("app/[id]/page.tsx", [NamedPlace("app/[id]/page.tsx"), NamedPlace("app", "[id]/page.tsx")]),
    ],
)
def test_a_glob_names_what_stands_before_its_first_wildcard(glob: str, expected: list[NamedPlace]) -> None:
    assert list(named_places([glob])) == expected


@pytest.mark.parametrize("glob", ["**", "**/*.py", "*", "", "../x", "*/lib", "a/../b"])
def test_a_glob_that_names_nothing_opens_nothing(glob: str) -> None:
    assert named_places([glob]) == ()
