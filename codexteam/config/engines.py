"""Who runs the agents of a role: codexteam itself, or the user's own Codex; and why."""

from dataclasses import dataclass
from enum import StrEnum

from codexteam.config.settings import RoleSettings, Settings


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
