"""Names, links and globs of a repository's paths."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.paths import (
    GUARDED_PATHS,
    decode,
    encode,
    fold,
    is_git_name,
    link_problem,
    matches_any,
    name_problem,
    names_exactly,
    show,
)


@pytest.mark.parametrize(
    "name",
    [
        ".git", ".GIT", ".Git", ".git.", ".git ", ".git...", ".git . .", "git~1", "GIT~1", "git~27",
        ".git::$INDEX_ALLOCATION",
        ".git:x", ".g\u200cit", ".gi\u200dt", "\ufeff.git", ".git\u206a", ".\uff47it", "a\\.git\\config",
        ".G\u200eIT\u202e",
    ],
)  # fmt: skip
def test_every_spelling_of_dot_git_is_known(name: str) -> None:
    assert is_git_name(name)
    assert name_problem(f"a/{name}/config".encode())


@pytest.mark.parametrize("name", [".github", ".gitignore", "git", "git~", "my.git", ".gitx", "digit~1", "..git"])
def test_other_names_are_not_taken_for_dot_git(name: str) -> None:
    assert not is_git_name(name)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (b"a\nb", "control"),
        (b"a\x1b[31m", "control"),
        (b"a\x7f", "control"),
        ("a\u202eb".encode(), "bidirectional"),
        ("a\u200bb".encode(), "invisible"),
        (b"a\xffb", "UTF-8"),
        (b"a./b", "dot or space"),
        (b"a /b", "dot or space"),
        (b"nul", "device"),
        (b"x/Aux.txt", "device"),
        (b"COM1", "device"),
        (b"lpt9.tar.gz", "device"),
        (b"a\\b", "backslash"),
        (b"../x", "plain relative"),
        (b"/etc", "plain relative"),
        (b"a//b", "plain relative"),
        (b"./a", "plain relative"),
        (b"n" * 256, "255"),
        (b"/".join([b"n" * 200] * 6), "1024"),
        (b"/".join([b"d"] * 65), "64"),
    ],
)
def test_a_name_that_harms_somebody_is_refused_with_the_reason(path: bytes, word: str) -> None:
    assert word in (name_problem(path) or "")


@pytest.mark.parametrize(
    "path",
    [
        b"-rf",
        b"a b/c",
        "ünïcode/文件.py".encode(),
        b"[id]/page.tsx",
        b"auxiliary.c",
        b"console",
        b".hidden",
        b'q"uote',
        b"a:b",
    ],
)
def test_an_unusual_name_that_harms_nobody_is_taken(path: bytes) -> None:
    assert name_problem(path) is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"a", b"/etc/passwd"),
        (b"a", b"../x"),
        (b"a/b", b"../../x"),
        (b"a", b"b/../../x"),
        (b"a", b".git/config"),
        (b"a/b", b"../.GIT/hooks"),
        (b"a", b"C:\\x"),
        (b"a", b"\\\\host\\x"),
        (b"a", b"..\\x"),
        (b"a", b""),
        (b"a", b"x" * 2000),
        (b"a", b"x\ny"),
    ],
)
def test_a_link_that_leads_out_is_refused(path: bytes, target: bytes) -> None:
    assert link_problem(path, target)


@pytest.mark.parametrize(("path", "target"), [(b"a", b"b"), (b"a/b/c", b"../../d"), (b"a/b", b"./c/../d")])
def test_a_link_inside_is_taken(path: bytes, target: bytes) -> None:
    assert link_problem(path, target) is None


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("src", ["src", "src/a", "SRC/b/c"], ["srcs", "a/src"]),
        ("src/", ["src/a"], ["srcx"]),
        ("./src/*.py", ["src/a.py", "src/A.PY"], ["src/a/b.py", "src/a.pyc"]),
        ("**/*.py", ["a.py", "x/y/a.py"], ["a.pyx"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/x/y/test_a.py"], ["test_a.py"]),
        ("**", ["a", "a/b"], []),
        ("a?c", ["abc", "abc/d"], ["ac", "a/c"]),
        ("[ab]x", ["ax", "bx"], ["cx"]),
        ("[!ab]x", ["cx"], ["ax"]),
        ("[a-c]x", ["bx"], ["dx"]),
        ("app/[id]/page.tsx", ["app/[id]/page.tsx", "app/i/page.tsx"], ["app/x/page.tsx"]),
        ("src/*.{ts,tsx}", ["src/a.ts", "src/a.tsx"], ["src/a.js"]),
        ("{a,b}/{c,d}", ["a/c", "b/d/e"], ["a/e"]),
        ("a*b*c", ["abc", "aXbYc", "abbc/x"], ["acb"]),
        ("**/AGENTS.md", ["agents.md", "x/Agents.MD"], ["xAGENTS.md"]),
        ("", [], ["a"]),
    ],
)  # fmt: skip
def test_globs_match_whole_paths_and_what_lies_below(glob: str, yes: list[str], no: list[str]) -> None:
    for path in yes:
        assert matches_any(path.encode(), [glob]), path
    for path in no:
        assert not matches_any(path.encode(), [glob]), path


def test_a_hostile_glob_takes_no_long_time() -> None:
    began = time.process_time()
    assert not matches_any(b"a" * 1000, ["*a" * 200 + "b"])
    assert not matches_any(b"/".join([b"a"] * 60), ["**/a/" * 30 + "b"])
    assert not matches_any(b"x", ["{a,b}" * 40])
    assert time.process_time() - began < 2


def test_a_path_is_named_exactly_only_without_a_pattern() -> None:
    assert names_exactly(b".github/workflows/CI.yml", [".github/workflows/ci.yml"])
    assert not names_exactly(b".github/workflows/ci.yml", [".github/workflows"])
    assert not names_exactly(b".github/workflows/ci.yml", ["**/ci.yml"])


@pytest.mark.parametrize(
    "path",
    [
        b".github/workflows/ci.yml", b"sub/.gitattributes", b".CODEX/config.toml", b"plan.md", b"Agents.md",
        b".husky/pre-commit",
        b".mcp.json", b".vscode/settings.json", b".gitlab-ci.yml", b".git/config",
        b".gitlab/codexteam.yml", b".gitlab/ci/test.yml", b".github/actions/codexteam/action.yml",
        b".github/actions/build/run.sh", b".github/scripts/release.sh", b".github/copilot-instructions.md",
    ],
)  # fmt: skip
def test_what_later_runs_with_more_rights_is_guarded(path: bytes) -> None:
    assert matches_any(path, GUARDED_PATHS)


@pytest.mark.parametrize("path", [b"src/a.py", b"README.md", b"docs/plan.md", b".gitignore", b"docs/.github.md"])
def test_ordinary_files_are_not_guarded(path: bytes) -> None:
    assert not matches_any(path, GUARDED_PATHS)


@given(st.binary(max_size=50))
def test_any_bytes_survive_as_text(path: bytes) -> None:
    assert encode(decode(path)) == path
    assert "\n" not in show(path)
    assert "\x1b" not in show(path)


@given(st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b))
def test_name_rules_never_raise_and_a_good_name_matches_itself(path: bytes) -> None:
    if name_problem(path) is None:
        assert matches_any(path, [path.decode()])
    link_problem(b"a", path)


@given(st.text(max_size=20))
def test_folding_is_stable(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert fold(name.upper()) == fold(name.upper().casefold())
