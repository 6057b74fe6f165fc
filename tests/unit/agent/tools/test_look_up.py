"""`look_up`: which questions are asked, and what comes back."""

import json

import pytest

from codexteam.agent.tools.look_up import LookUp
from codexteam.agent.tools.tool import ToolProblem
from codexteam.core.ids import JSONValue


class Echo:
    """Answers with the question."""

    most_at_once = 2

    async def answers(self, questions: tuple[str, ...]) -> list[str]:
        return [f"about {question}" for question in questions]


async def test_answers_come_in_the_order_of_the_questions() -> None:
    output = await LookUp(Echo()).call(json.dumps({"questions": [" who calls\nload? ", "what is a row?"]}), call_id="c")

    assert output.content == "1. about who calls load?\n\n2. about what is a row?"


@pytest.mark.parametrize(
    ("questions", "problem"),
    [
        ([], "1 to 2 strings"),
        (["a", "b", "c"], "1 to 2 strings"),
        ("a", "1 to 2 strings"),
        (["a", 1], "1 to 2 strings"),
        ([" "], "found 0"),
        (["x" * 1_001], "found 1001"),
    ],
)
async def test_what_is_no_question_is_refused(questions: JSONValue, problem: str) -> None:
    with pytest.raises(ToolProblem, match=problem):
        await LookUp(Echo()).call(json.dumps({"questions": questions}), call_id="c")
