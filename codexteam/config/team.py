"""The roles that a run may need: those of its gates and steps, and those that a task may name."""

from codexteam.config.locations import BUNDLED_ROLES
from codexteam.config.settings import RoleSettings, Settings, StepMode, TeamSettings
from codexteam.core.ids import AGENT_GATES, GateName

_WRITING_ROLES = ("implementer", "qa_test_author", "documentation")

#: Who works in a step of `[codexteam.steps]`.
_STEP_ROLES = {
    "scouts": "explorer",
    "analyst": "requirement_analyst",
    "documentation": "documentation",
    "release": "release_manager",
}


def idle_roles(team: TeamSettings) -> frozenset[str]:
    """Return the shipped roles that no gate and no step needs, as it is switched off."""
    idle = {gate.value for gate in AGENT_GATES if gate not in team.gates.enabled} - {GateName.CI.value}
    idle |= {role for name, role in _STEP_ROLES.items() if getattr(team.steps, name) is StepMode.OFF}
    return frozenset(idle | ({"explorer"} if team.limits.max_scouts == 0 else set()))


def writing_roles(settings: Settings) -> list[str]:
    """Return the roles that a task may name: those that write files, the user's own included."""
    own = [
        name
        for name, role in settings.roles.items()
        if name not in BUNDLED_ROLES and role.sandbox_mode.value != "read-only"
    ]
    return sorted({*(name for name in _WRITING_ROLES if name in settings.roles), *own})


def team_roles(settings: Settings) -> list[RoleSettings]:
    """Return the roles that a run may start an agent of."""
    needed = {*BUNDLED_ROLES} - idle_roles(settings.team) | {*writing_roles(settings)}
    return [role for name, role in settings.roles.items() if name in needed]
