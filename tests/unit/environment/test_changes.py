"""Whether a change of files may be a change of what is set up."""

import pytest

from codexteam.environment.changes import may_differ

FILES = ("pyproject.toml", "src/a.py", "tests/test_a.py", "prepare.sh")
ASKED = ("pyproject.toml", "uv.lock", "prepare.sh")


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "prepare.sh",
        "uv.lock",
        "web/package.json",
        "requirements/dev.txt",
        ".github/workflows/ci.yml",
        "native/CMakeLists.txt",
        "App.csproj",
    ],
)
def test_what_detection_reads_or_would_read_may_change_it(path: str) -> None:
    assert may_differ(["src/a.py", path], asked=ASKED, files=FILES)


@pytest.mark.parametrize("path", ["src/a.py", "src/new.py", "tests/test_b.py", "README.md", "notes.txt"])
def test_sources_do_not(path: str) -> None:
    assert not may_differ([path], asked=ASKED, files=FILES)


def test_the_first_tests_of_a_repository_do() -> None:
    assert may_differ(["tests/test_a.py"], asked=ASKED, files=("pyproject.toml", "src/a.py"))
