"""Whether a run has the keys it will need, asked before anything is begun."""

from collections.abc import Mapping

from codexteam.adapters.responses.access import credentials_of
from codexteam.config.bundled import BUNDLED_ROLES
from codexteam.config.settings import Settings


def check_access(settings: Settings, environment: Mapping[str, str]) -> None:
    """Look for the credentials of every provider that the team's roles use; no service is asked.

    Raises:
        ModelAccessError: one is missing; without this a gate would find out after the work was paid for.
    """
    team = [role for name, role in settings.roles.items() if name in BUNDLED_ROLES]
    used = {settings.model.provider_id, *(role.model.provider_id for role in team)}
    for provider_id in sorted(used):
        provider = settings.providers.get(provider_id)
        if provider is not None:
            credentials_of(provider, environment)
