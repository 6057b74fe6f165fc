"""The roles that a run may need, and who runs the agents of each: codexteam itself, or the user's own Codex."""

from dataclasses import dataclass
from enum import StrEnum

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


class AgentEngine(StrEnum):
    """Who asks the model and does what it asks for."""

    CODEXTEAM = "codexteam"
    CODEX = "codex"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine, and who chose it."""

    engine: AgentEngine
    why: str


def engine_of(role: RoleSettings, settings: Settings) -> EngineChoice:
    """Return who runs a role's agents: as the user says, else Codex only where its ChatGPT sign-in is all there is."""
    team = settings.team
    if role.name in team.role_engines:
        return EngineChoice(AgentEngine(team.role_engines[role.name]), "[codexteam.role_engines]")
    if team.engine != "auto":
        return EngineChoice(AgentEngine(team.engine), "[codexteam] engine")
    provider = settings.providers.get(role.model.provider_id)
    if provider is not None and provider.chatgpt_login is not None:
        return EngineChoice(
            AgentEngine.CODEX, f"signed in with ChatGPT ({provider.chatgpt_login}), and there is no API key"
        )
    return EngineChoice(AgentEngine.CODEXTEAM, "an API key, or a provider of your own")


def roles_on_codex(settings: Settings) -> tuple[str, ...]:
    """Return the roles whose agents the user's Codex runs, by name."""
    return tuple(
        name for name, role in sorted(settings.roles.items()) if engine_of(role, settings).engine is AgentEngine.CODEX
    )
