"""`[codexteam.hooks]`: the user's own commands at moments of a run, in the form of Codex's `[hooks]`."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, cast

from codexteam.config.layers import Layer
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.limits import Between, OneOf


class HookEvent(StrEnum):
    """When hooks run. The names are those of the keys."""

    RUN_STARTED = "RunStarted"
    """A session of the run begins: `run` or `resume`."""
    PLAN_READY = "PlanReady"
    """There is a plan with tasks."""
    TASK_STARTED = "TaskStarted"
    """An agent begins an attempt at a task."""
    PRE_MERGE = "PreMerge"
    """Work is about to move the integration branch: it is waited for, and may refuse."""
    TASK_MERGED = "TaskMerged"
    GATE_FINISHED = "GateFinished"
    RUN_FINISHED = "RunFinished"
    """A session ended, however it did."""


@dataclass(frozen=True, slots=True)
class HookCommand:
    """One command of the user's, run by `sh` on the host."""

    command: str
    type: Annotated[str, OneOf(("command",))] = "command"
    timeout: Annotated[float, Between(1, 3600)] = 60.0
    """Seconds, as in Codex."""


@dataclass(frozen=True, slots=True)
class HookGroup:
    """Commands that belong together, run in order."""

    hooks: tuple[HookCommand, ...]


@dataclass(frozen=True, slots=True)
class HookSettings:
    """The commands of each event; those of all layers run, the lowest layer's first."""

    RunStarted: tuple[HookGroup, ...] = ()
    PlanReady: tuple[HookGroup, ...] = ()
    TaskStarted: tuple[HookGroup, ...] = ()
    PreMerge: tuple[HookGroup, ...] = ()
    TaskMerged: tuple[HookGroup, ...] = ()
    GateFinished: tuple[HookGroup, ...] = ()
    RunFinished: tuple[HookGroup, ...] = ()

    def commands(self, event: HookEvent) -> tuple[HookCommand, ...]:
        """Return the commands of an event, in order."""
        groups = cast("tuple[HookGroup, ...]", getattr(self, event.value))
        return tuple(command for group in groups for command in group.hooks)

    @property
    def is_empty(self) -> bool:
        """Return whether there are none."""
        return not any(getattr(self, field.name) for field in fields(self))


def joined_hooks(layers: Iterable[Layer]) -> JSONObject:
    """Return the hooks of all layers as one table, as Codex joins its own."""
    joined: dict[str, list[JSONValue]] = {}
    for layer in layers:
        team = layer.values.get("codexteam")
        hooks = team.get("hooks") if isinstance(team, dict) else None
        for event, groups in hooks.items() if isinstance(hooks, dict) else ():
            joined.setdefault(event, []).extend(groups if isinstance(groups, list) else ())
    return {event: list(groups) for event, groups in joined.items()}
