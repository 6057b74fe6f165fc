"""What a set-up's sandbox is made of: whom it may ask, what its steps find set, and how much it may use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxSettings
from codexteam.core.ids import AgentKey
from codexteam.environment.mirrors import RegistryConfiguration
from codexteam.environment.plan import BIN, SETUP_USER_HOME, SetupPlan
from codexteam.environment.registries import registry_hosts
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import BaseSource

#: What every step finds, so that none waits for an answer or writes hooks; plans set over it.
_QUIET: Mapping[str, str] = {
    "CI": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "GIT_TERMINAL_PROMPT": "0",
    "HUSKY": "0",
    "NO_COLOR": "1",
    "PIP_NO_INPUT": "1",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
    "npm_config_yes": "true",
}
#: A set-up's connections go through the sandbox's own proxy, which these would replace.
_PROXIES = re.compile(r"^(?:https?|all|no)_proxy$", re.IGNORECASE)
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|AUTH|SECRET|API_KEY", re.IGNORECASE)
#: In `.netrc`, Maven's settings and NuGet's.
_FILE_PASSWORD = re.compile(r'\bpassword\s+(\S+)|<password>\s*([^<\s]+)|Password"\s+value="([^"]+)', re.IGNORECASE)
_URL = re.compile(r"https?://[^\s,|]+")
#: Dependencies take more room than an agent's changes.
_SETUP_BYTES = 12 << 30
_SETUP_FILES = 2_000_000
_SETUP_TMP_BYTES = 4 << 30
_SETUP_OUTPUT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SetupInputs:
    """What the user's machine adds to a repository's files. Read once, by `app`."""

    registries: RegistryConfiguration = field(default_factory=RegistryConfiguration)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of `setup_secrets`, by name: for the user's own script alone."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What a devcontainer may see of the user's environment."""
    trusted: bool = False
    """Whether the project's own devcontainer may be used."""
    platform: str = ""
    """System and processor."""

    @property
    def credentials(self) -> tuple[str, ...]:
        """Return what must not get out of a set-up: passwords in addresses, and what is named as a secret."""
        found = [value for name, value in self.registries.variables.items() if _SECRET_NAME.search(name)]
        for value in self.registries.variables.values():
            for url in _URL.findall(value):
                found += _of_url(url)
        for text in self.registries.secrets.values():
            found += [word for words in _FILE_PASSWORD.findall(text) for word in words]
        return tuple(dict.fromkeys(value for value in (*found, *self.secrets.values()) if value))

    def without_credentials(self) -> "SetupInputs":
        """Return these for steps that a model wrote: mirrors without passwords, and no secrets."""
        plain = {
            name: _URL.sub(lambda match: _without_user(match[0]), value)
            for name, value in self.registries.variables.items()
            if not _SECRET_NAME.search(name)
        }
        return replace(self, registries=replace(self.registries, variables=plain), secrets={}, variables={})


def _without_user(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _of_url(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    # a token stands alone, in the user's place
    secret = parts.password or parts.username
    return [secret, unquote(secret)] if secret else []


def setup_paths(plan: SetupPlan) -> tuple[str, ...]:
    """Return what is put in front of PATH, in a set-up and in every sandbox after it."""
    return tuple(dict.fromkeys((*plan.needs.paths, BIN)))


def setup_network(plan: SetupPlan, settings: SandboxSettings, inputs: SetupInputs) -> NetworkPolicy:
    """Return whom a set-up may ask: the registries of what it installs, the user's mirrors, and `setup_hosts`."""
    hosts = (
        *registry_hosts(plan.ecosystems, system_packages=bool(plan.needs.system_packages)),
        *plan.needs.hosts,
        *inputs.registries.hosts,
        *settings.setup_hosts,
    )
    return NetworkPolicy(NetworkKind.ALLOWLIST, tuple(dict.fromkeys(hosts)))


def setup_limits(limits: SandboxLimits) -> SandboxLimits:
    """Return what a set-up may use: as much as an agent, and more disk."""
    return replace(
        limits,
        workspace_bytes=max(limits.workspace_bytes, _SETUP_BYTES),
        workspace_files=max(limits.workspace_files, _SETUP_FILES),
        max_file_bytes=max(limits.max_file_bytes, _SETUP_BYTES),
        tmp_bytes=max(limits.tmp_bytes, _SETUP_TMP_BYTES),
        output_bytes=max(limits.output_bytes, _SETUP_OUTPUT_BYTES),
        max_processes=max(limits.max_processes, 4096),
    )


def setup_order(
    plan: SetupPlan, key: str, *, agent: AgentKey, base: BaseSource, settings: SandboxSettings, inputs: SetupInputs
) -> SetupOrder:
    """Return the order of a plan's sandbox. Only its variables and secrets may hold credentials."""
    registries = {name: value for name, value in inputs.registries.variables.items() if not _PROXIES.match(name)}
    return SetupOrder(
        key,
        agent,
        base,
        network=setup_network(plan, settings, inputs),
        limits=setup_limits(settings.limits),
        variables={
            **_QUIET,
            "HOME": SETUP_USER_HOME,
            **plan.needs.variables,
            **plan.needs.setup_variables,
            **registries,
        },
        secrets={**inputs.registries.secrets, **(inputs.secrets if plan.secrets else {})},
        folders=tuple(map(Path, inputs.registries.folders)),
        paths=setup_paths(plan),
        user=plan.user,
        services=plan.needs.services if plan.needs.steps else (),
    )
