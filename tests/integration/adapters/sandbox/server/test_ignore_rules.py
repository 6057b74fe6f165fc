"""Rules of `.gitignore` mean what they mean to git, or are left to git."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.adapters.sandbox.server.ignore_rules import GitNeeded, IgnoreRules, is_ignored
from tests.examples import examples
from tests.support_base_source import git

WORDS = ["a", "b", "ab", "*", "?", "a*", "*b", "[ab]", "[a-c]x", "**", r"\*", "a b", ".a", "a.b", "*.b", "**a"]
PATTERNS = st.builds(
    lambda takes_back, start, parts, end: takes_back + start + "/".join(parts) + end,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " ", "\r", "/**"]),
)
PATHS = [
    first + rest for first in ("a", "b", "ab", ".a", "*", "bx", "a b", "a.b") for rest in ("", "/a", "/b/a", "/b.b")
]


def by_git(root: Path, texts: dict[str, str], paths: list[str]) -> set[str]:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, newline="")
    data = b"".join(path.encode() + b"\0" for path in paths)
    argv = ("git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-z", "--stdin", "--no-index")
    done = subprocess.run(argv, cwd=root, input=data, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.decode().split("\0")[:-1])


def here(rules: list[tuple[bytes, IgnoreRules]], path: str) -> bool:
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        above = "/".join(parts[:end]).encode()
        if is_ignored([each for each in rules if above.startswith(each[0])], above, folder=end < len(parts)):
            return True
    return False


@given(lines=st.lists(PATTERNS, max_size=4), inner=st.lists(PATTERNS, max_size=2))
@settings(max_examples=examples(400))
def test_rules_ignore_what_git_ignores_or_ask_git(lines: list[str], inner: list[str]) -> None:
    top, below = "".join(f"{line}\n" for line in lines), "".join(f"{line}\n" for line in inner)
    try:
        rules = [(b"a/", IgnoreRules(below.encode())), (b"", IgnoreRules(top.encode()))]
    except GitNeeded:
        return
    with TemporaryDirectory() as folder:
        root = Path(folder)
        git(root, "init", "-q")
        # what is asked about is not there, so that git takes the last part of each path for a file
        paths = [path for path in PATHS if path != "a"]
        theirs = by_git(root, {".gitignore": top, "a/.gitignore": below}, paths)
    assert {path for path in paths if here(rules, path)} == theirs


@pytest.mark.parametrize("line", ["[!a]", "[[:alpha:]]", "a**b", "a\\", "a//b", "name\\ "])
def test_a_rule_of_a_rare_kind_asks_git(line: str) -> None:
    with pytest.raises(GitNeeded):
        IgnoreRules(line.encode())
