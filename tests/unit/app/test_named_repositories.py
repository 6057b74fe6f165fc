"""Repositories as a command line names them, and the exit code of several runs."""

from pathlib import Path

import pytest

from codexteam.app.fan_out import overall_code
from codexteam.app.repositories import read_named
from codexteam.errors import UsageError


def test_paths_start_from_the_directory_of_the_command() -> None:
    assert read_named(["api=../api", "web = /srv/web"], Path("/home/me/shop")) == {
        "api": Path("/home/me/shop/../api"),
        "web": Path("/srv/web"),
    }


@pytest.mark.parametrize(
    "words", [["api"], ["=../api"], ["api="], ["../x=/a"], [".git=/a"], ["a=/a", "A=/b"], ["a b=/a"]]
)
def test_a_name_is_a_plain_word_and_said_once(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--repo"):
        read_named(words, Path("/"))


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 0], 0), ([0, 5, 5], 5), ([0, 6], 6), ([4, 6], 3), ([0, None], 1), ([3], 3)]
)
def test_the_exit_code_is_what_all_failed_runs_share(codes: list[int | None], expected: int) -> None:
    assert overall_code(codes) == expected
