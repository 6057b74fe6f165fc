"""`look_up`: has questions about the code answered by quick agents that only read, side by side."""

from typing import Final, Protocol

from codexteam.agent.tools.arguments import parse_arguments
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject

MOST_QUESTION_CHARACTERS: Final = 1_000


class Explorers(Protocol):
    """Who answers the questions of one agent."""

    @property
    def most_at_once(self) -> int:
        """How many questions one call may have."""
        ...

    async def answers(self, questions: tuple[str, ...]) -> list[str]:
        """Return an answer to each, or why there is none, in words."""
        ...


class LookUp:
    """Asks others; a `Tool`."""

    def __init__(self, explorers: Explorers) -> None:
        self._explorers = explorers

    @property
    def name(self) -> str:
        """The tool's name."""
        return "look_up"

    @property
    def only_reads(self) -> bool:
        return False  # an answer that is thrown away is paid for

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        most = self._explorers.most_at_once
        return function_definition(
            self.name,
            f"Quick agents answer up to {most} questions on your base commit.",
            {"questions": {"type": "array", "items": {"type": "string"}}},
            ("questions",),
            closed=False,
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - a repeated call is known by its questions
        """Return the answers.

        Raises:
            ToolProblem: no question, too many, or one that is empty or too long.
        """
        given = parse_arguments(self.name, arguments, known=("questions",)).get("questions")
        most = self._explorers.most_at_once
        texts = given if isinstance(given, list) else []
        questions = tuple(" ".join(text.split()) for text in texts if isinstance(text, str))
        if len(questions) != len(texts) or not 1 <= len(questions) <= most:
            raise ToolProblem(f"questions must be a list of 1 to {most} strings.")
        for question in questions:
            if not 0 < len(question) <= MOST_QUESTION_CHARACTERS:
                raise ToolProblem(
                    f"a question must have 1 to {MOST_QUESTION_CHARACTERS} characters, found {len(question)}."
                )
        answers = await self._explorers.answers(questions)
        return ToolOutput("\n\n".join(f"{n}. {text}" for n, text in enumerate(answers, start=1)))
