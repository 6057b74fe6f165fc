"""What `codexteam plan` returns: the tasks, and a forecast of what the run will take."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.config.price_list import price_list
from codexteam.config.priced import models_of
from codexteam.config.settings import Settings
from codexteam.core.forecast import Forecast
from codexteam.core.plan_graph import Task
from codexteam.core.state import RunState, TaskPhase
from codexteam.ports.store import Store
from codexteam.run.history import forecast_of, over_budget


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """A plan nobody has worked on yet."""

    tasks: tuple[Task, ...]
    forecast: Forecast
    models: Mapping[str, str]
    """The model of each role that has a task."""
    unpriced: tuple[str, ...] = ()
    """Models of the team without a price."""
    over_budget: str = ""
    """Which limit the expected cost passes, in words."""
    changes: tuple[str, ...] = ()
    """How it differs from the plan before it that its user sent back."""


async def plan_preview(state: RunState, store: Store, settings: Settings) -> PlanPreview:
    """Return a run's plan and its forecast, from what earlier runs took."""
    # what a correction dropped is not worked on
    tasks = tuple(known.task for known in state.tasks.values() if known.phase is not TaskPhase.DROPPED)
    found = await forecast_of(store, settings, state)
    models = {task.role: settings.roles[task.role].model.model for task in tasks if task.role in settings.roles}
    prices = price_list(settings)
    unpriced = tuple(model for model in models_of(settings) if not prices.origin(model))
    return PlanPreview(tasks, found, models, unpriced, over_budget(found, settings), state.plan_changes)
