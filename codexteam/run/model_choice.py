"""The model and effort of a task's next attempt, where somebody chose others than its role's."""

from collections.abc import Sequence
from dataclasses import replace

from codexteam.agent.agent_kinds import AGENT_KINDS
from codexteam.config.model_tiers import model_of
from codexteam.core.contest import Contender
from codexteam.core.escalation import Escalation, ModelChoice, choose_model
from codexteam.core.ids import Purpose
from codexteam.core.state import TaskState
from codexteam.run.context import RunContext

_BEST_OF = "[codexteam.best_of]"


def chosen_for(context: RunContext, known: TaskState, *, attempt: int | None = None) -> ModelChoice:
    """Return what was chosen for a task, under the settings of this session; empty words are up to its role.

    `attempt` is which of several at the same time; without it the one that counts.
    """
    team, role = context.settings.team, context.settings.roles.get(known.task.role)
    escalation = Escalation(
        team.escalation.after_failures,
        team.escalation.model or "",
        team.escalation.effort or "",
        team.escalation.fallback,
    )
    chosen = choose_model(known, escalation, role_effort=(role.model.effort if role else None) or "")
    contender = known.contest.of_attempt(known.attempt if attempt is None else attempt) if known.contest else None
    if contender is not None and (other := _model_of_place(context, contender.place)):
        who = " and ".join(dict.fromkeys((_BEST_OF, *filter(None, (chosen.by if chosen.effort else "",)))))
        chosen = ModelChoice(other, chosen.effort, who)
    return replace(chosen, model=model_of(chosen.model, team.models)) if chosen.model else chosen


def _model_of_place(context: RunContext, place: int) -> str:
    models = context.settings.team.best_of.models
    return models[place - 2] if 2 <= place <= len(models) + 1 else ""


def judge_model(context: RunContext, known: TaskState, contenders: Sequence[Contender]) -> str:
    """Return the model that chooses among attempts: one that made none of them; empty leaves that to the reviewer."""
    team, role = context.settings.team, context.settings.roles.get(known.task.role)
    own = role.model.model if role is not None else ""
    used = {chosen_for(context, known, attempt=each.attempt).model or own for each in contenders}
    if team.best_of.judge_model:
        return model_of(team.best_of.judge_model, team.models)
    reviewer = context.settings.roles.get(AGENT_KINDS[Purpose.JUDGE].role)
    if reviewer is not None and reviewer.model.model not in used:
        return ""
    others = (model_of(name, team.models) for name in (*team.best_of.models, *team.escalation.fallback))
    return next((name for name in others if name not in used), "")
