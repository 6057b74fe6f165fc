"""Which model a task's next attempt uses: what a person said, what the plan says, or a stronger one after failed attempts."""

from dataclasses import dataclass

from codexteam.core.plan_graph import TaskRisk
from codexteam.core.plan_md_task import EFFORTS
from codexteam.core.state import TaskState

_RANKS = {effort: rank for rank, effort in enumerate(EFFORTS)}
_SETTINGS = "[codexteam.escalation]"


@dataclass(frozen=True, slots=True)
class Escalation:
    """What tasks get that turn out to be hard; empty words are up to their role."""

    after_failures: int = 2
    model: str = ""
    effort: str = ""
    fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What an attempt uses in place of its role's; empty words leave that."""

    model: str = ""
    effort: str = ""
    by: str = ""
    """Who says so."""


def choose_model(known: TaskState, escalation: Escalation, *, role_effort: str) -> ModelChoice:
    """Return what the next attempt uses.

    A person's word for this task comes first, then the plan's. Where the model did not serve the task, the next of the
    fallbacks does, whoever chose that model. What is stronger takes the place of the role's own, and of nothing that
    was said of this task; an effort only where the role has one, and a lower one.
    """
    task = known.task
    hard = task.risk is TaskRisk.HIGH or known.failures >= escalation.after_failures
    stronger = _RANKS.get(escalation.effort, -1) > _RANKS.get(role_effort, len(_RANKS))
    models = (
        (_next_model(known, escalation), _SETTINGS),
        (known.model, "codexteam retry"),
        (task.model, "plan.md"),
        (escalation.model if hard else "", _SETTINGS),
    )
    efforts = (
        (known.model_effort, "codexteam retry"),
        (task.reasoning, "plan.md"),
        (escalation.effort if hard and stronger else "", _SETTINGS),
    )
    model, who_model = next(((word, who) for word, who in models if word), ("", ""))
    effort, who_effort = next(((word, who) for word, who in efforts if word), ("", ""))
    return ModelChoice(model, effort, " and ".join(dict.fromkeys(filter(None, (who_model, who_effort)))))


def _next_model(known: TaskState, escalation: Escalation) -> str:
    """Return the fallback whose turn it is; empty where the model that was chosen serves the task."""
    at = min(known.unserved, len(escalation.fallback))
    return escalation.fallback[at - 1] if at else ""
