"""Which of a line of commits made it red."""

import math

import pytest

from codexteam.run.gates.ci import first_red


async def test_the_first_red_commit_is_found_in_few_steps() -> None:
    for count in range(1, 40):
        for first in range(count):
            asked: list[int] = []

            async def is_red(commit: int, first: int = first, asked: list[int] = asked) -> bool:
                asked.append(commit)
                return commit >= first

            assert await first_red(range(count), is_red) == first
            assert len(asked) == len(set(asked)) <= math.ceil(math.log2(count))
            assert count - 1 not in asked


async def test_an_empty_line_has_no_red_commit() -> None:
    async def never(commit: str) -> bool:
        pytest.fail(f"asked about {commit}")

    assert await first_red((), never) is None
    assert await first_red(("only",), never) == "only"
