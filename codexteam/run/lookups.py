"""Questions that agents at work ask of explorers: quick agents that only read, within the budget of the task that asks.

Who asks waits for the answers, and has its place among agents at work meanwhile: so explorers take none, and no number of
them can keep each other waiting. A question has its number before it is asked, and its answer is kept: after a crash, what
was answered is not asked again, and what was not continues.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from codexteam.core.answers import ScoutReport
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import AgentKey, CommitId, Purpose
from codexteam.core.text import clean, clean_line
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.run import prompts
from codexteam.run.assignment import AgentFailure, Assignment, Report
from codexteam.run.code_index import CodeIndex
from codexteam.run.context import RunContext
from codexteam.system.cancellation import together

_ROLE: Final = "explorer"
#: Of one attempt, and of a run.
_MOST_OF_ATTEMPT: Final = 12
_MOST_TURNS: Final = 8
_SPACE: Final = "lookups"


@stored(StoredForm(tag="", optional=("answer",)))
@dataclass(frozen=True, slots=True)
class AskedLookup:
    """A question of an attempt (space `lookups`)."""

    number: int
    """From 1, in the order in which they were asked in the run."""
    by: str
    """The attempt: `T1.2`."""
    question: str
    """Foreign text."""
    answer: str | None = None
    """None: it is not answered yet."""


@dataclass(slots=True)
class Lookups:
    """The questions of one run. For tasks of one event loop."""

    context: RunContext
    ask: Callable[[Assignment[ScoutReport]], Awaitable[Report[ScoutReport]]]
    """Lets an explorer work to its end."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answer(self, asker: AgentKey, base: CommitId, question: str) -> str:
        """Return the answer to a question, or why there is none."""
        name = f"{asker.work}/{hashlib.sha256(question.encode()).hexdigest()[:16]}"
        asked = await self._asked(asker, name, question)
        if asked is None:
            return f"Not asked: an attempt has {_MOST_OF_ATTEMPT} questions. Look yourself."
        if asked.answer is not None:
            return asked.answer
        key = AgentKey(self.context.run_id, _ROLE, Purpose.LOOKUP, asker.task_id, asked.number)
        prompt = prompts.lookup(question, asker=asker.work, turns=_MOST_TURNS)
        try:
            report = await self.ask(Assignment(key, base, prompt, ScoutReport, max_turns=_MOST_TURNS))
        except UsageLimitError:
            raise
        except (
            ModelAccessError
        ) as error:  # the explorer's model is not the asker's; it may be served when it is asked again
            return f"No answer: the explorer's model does not serve it: {clean_line(str(error))}"
        if isinstance(report, AgentFailure):
            text = f"No answer: {report.reason}"
            if report.budget_scope is not None:  # there may be budget when it is asked again
                return text
        else:
            text = _text(report.answer)
            blobs = {path: blob for path, _, blob in await self.context.repo.list_files(base)}
            await CodeIndex(self.context.store).learn(report.answer.files, blobs)
        await self.context.remember(_SPACE, name, replace(asked, answer=text))
        return text

    async def _asked(self, asker: AgentKey, name: str, question: str) -> AskedLookup | None:
        """Return a question with its number; None where its attempt has asked enough."""
        async with self._turn:
            known = await self.context.recall(_SPACE, name, AskedLookup)
            if known is not None:
                return known
            names = [key for key, _ in await self.context.store.list(f"{self.context.run_id}/{_SPACE}")]
            if sum(each.startswith(f"{asker.work}/") for each in names) >= _MOST_OF_ATTEMPT:
                return None
            fresh = AskedLookup(len(names) + 1, asker.work, self.context.redactor.redact(question))
            await self.context.remember(_SPACE, name, fresh)
            return fresh


@dataclass(frozen=True, slots=True)
class LookupsOf:
    """Who answers the questions of one agent; an `Explorers`."""

    lookups: Lookups
    asker: AgentKey
    base: CommitId

    @property
    def most_at_once(self) -> int:
        return self.lookups.context.settings.team.limits.max_lookups

    async def answers(self, questions: tuple[str, ...]) -> list[str]:
        distinct = dict.fromkeys(questions)
        found = await together(*(self.lookups.answer(self.asker, self.base, each) for each in distinct))
        by_question = dict(zip(distinct, found, strict=True))
        return [by_question[each] for each in questions]


def _text(report: ScoutReport) -> str:
    lines = [report.summary.strip()]
    for file in report.files:
        names = f" [{', '.join(file.symbols)}]" if file.symbols else ""
        lines.append(f"{file.path}: {file.purpose}{names}")
    return clean("\n".join(lines))
