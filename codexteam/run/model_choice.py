"""The model and effort of a task's next attempt, where somebody chose others than its role's."""

from dataclasses import replace

from codexteam.config.model_tiers import model_of
from codexteam.core.escalation import Escalation, ModelChoice, choose_model
from codexteam.core.state import TaskState
from codexteam.run.context import RunContext


def chosen_for(context: RunContext, known: TaskState) -> ModelChoice:
    """Return what was chosen for a task, under the settings of this session; empty words are up to its role."""
    team, role = context.settings.team, context.settings.roles.get(known.task.role)
    escalation = Escalation(
        team.escalation.after_failures,
        team.escalation.model or "",
        team.escalation.effort or "",
        team.escalation.fallback,
    )
    chosen = choose_model(known, escalation, role_effort=(role.model.effort if role else None) or "")
    return replace(chosen, model=model_of(chosen.model, team.models)) if chosen.model else chosen
