"""Other models for agents that work on no task, where theirs refuses, is missing or is down: planner, gates, explorers.

Which model a task's next attempt uses is a decision of the run (`core.escalation`). Here an agent of the same name goes on
under the next model of `[codexteam.escalation] fallback`, from its last stored turn. A refusal is an answer, and stored: it
stands, and the next agent of that role begins with the next model, and so it does where a model's service did not take a
request. A model that is missing or down for one agent of a session is not asked again for another.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from codexteam.config.model_tiers import model_of
from codexteam.core.ids import Purpose
from codexteam.core.text import clean_line
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.run.assignment import AgentFailure, AnswerT, Assignment, Report, Unserved
from codexteam.run.context import RunContext

#: Who says that another model is used.
FALLBACK_SETTING: Final = "[codexteam.escalation] fallback"
#: Their next attempt is decided by the run.
_DECIDED_BY_THE_RUN: Final = frozenset({Purpose.IMPLEMENT, Purpose.RESOLVE})


@dataclass(slots=True)
class Fallbacks:
    """Which models served nobody so far in a session. For tasks of one event loop."""

    context: RunContext
    _unserving: set[str] = field(default_factory=set)
    """Models that are missing or down."""
    _refusing: set[tuple[str, str]] = field(default_factory=set)
    """Role and model, of models that refused, or whose service did not take what was asked."""

    async def serve(
        self, assignment: Assignment[AnswerT], work: Callable[[Assignment[AnswerT]], Awaitable[Report[AnswerT]]]
    ) -> Report[AnswerT]:
        """Let an agent work under its own model, or the first of the list that serves it.

        Raises:
            UsageLimitError: the plan's limit is reached, whatever the model is.
            ModelAccessError: not even the last of the list serves it.
        """
        if assignment.key.purpose in _DECIDED_BY_THE_RUN:
            return await work(assignment)
        role = assignment.key.role
        own, *others = self._candidates(assignment)
        usable = [name for name in (own, *others) if not self._is_known_bad(role, name)] or [(own, *others)[-1]]
        for model, following in pairwise(usable):
            try:
                report = await work(_under(assignment, model, own=own))
            except UsageLimitError:
                raise
            except ModelAccessError as error:
                why = str(error)
                self._unserving.add(model)
            else:
                if not isinstance(report, AgentFailure) or report.unserved is None:
                    return report
                why = report.reason
                if report.unserved is Unserved.DOWN:
                    self._unserving.add(model)
                else:
                    self._refusing.add((role, model))
                if report.unserved is Unserved.REFUSED:
                    return report
            self._tell(role, model, why, following)
        return await work(_under(assignment, usable[-1], own=own))

    def _candidates(self, assignment: Assignment[AnswerT]) -> list[str]:
        """Return the models in the order in which they are asked, its own first."""
        settings = self.context.settings
        role = settings.roles.get(assignment.key.role)
        own = assignment.model or (role.model.model if role is not None else "")
        others = (model_of(name, settings.team.models) for name in settings.team.escalation.fallback)
        return list(dict.fromkeys((own, *others)))

    def _is_known_bad(self, role: str, model: str) -> bool:
        return model in self._unserving or (role, model) in self._refusing

    def _tell(self, role: str, model: str, why: str, other: str) -> None:
        text = f"{role}: its model {clean_line(model)} does not serve it, so that it goes on with {clean_line(other)}"
        self.context.report("notice", {"text": f"{text}: {clean_line(why)}"})


def _under(assignment: Assignment[AnswerT], model: str, *, own: str) -> Assignment[AnswerT]:
    return assignment if model == own else replace(assignment, model=model, chosen_by=FALLBACK_SETTING)
