"""`codexteam doctor`: whether a run could start here, and what to do where it could not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters import doctor as probes
from codexteam.app.checks import Check, Status
from codexteam.app.sandbox_checks import sandbox_checks
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import ProviderSettings, SandboxSettings, Settings
from codexteam.errors import CodexteamError, ConfigError, SurroundingsError

#: Below the first a run is likely to end with a full disk, below the second it is not worth starting.
_DISK_WARN_BYTES = 5 << 30
_DISK_FAIL_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Examination:
    """All checks and the exit code they come to."""

    checks: tuple[Check, ...]
    exit_code: int


def examine(request: LoadRequest) -> Examination:
    """Look at everything a run needs. Nothing is changed, and no credential is shown."""
    settings: Settings | None = None
    config_broken = False
    try:
        settings = load_settings(request)
        configuration = Check("config", Status.OK, _found_config(settings), _notices(settings))
    except CodexteamError as error:
        config_broken = isinstance(error, ConfigError)
        configuration = Check("config", Status.FAIL, str(error), error.hint)
    git = _git(request.environment)
    checks = (
        configuration,
        *(_credentials(settings, request.environment) if settings else ()),
        git,
        *(_repository(request) if git.status is Status.OK else ()),
        *sandbox_checks(settings.team.sandbox if settings else SandboxSettings(), request.environment),
    )
    failed = any(check.status is Status.FAIL for check in checks)
    code = ConfigError.exit_code if config_broken else SurroundingsError.exit_code
    return Examination(checks, code if failed else 0)


def _found_config(settings: Settings) -> str:
    own = sum(role.source != "built-in" for role in settings.roles.values())
    return f"{settings.codex_home}, {len(settings.roles)} roles, {own} of them from files of yours"


def _notices(settings: Settings) -> str:
    count = len(settings.notices)
    return f"{count} thing{'s' if count > 1 else ''} to know: codexteam config check" if count else ""


def _credentials(settings: Settings, environment: Mapping[str, str]) -> tuple[Check, ...]:
    used = {settings.model.provider_id, *(role.model.provider_id for role in settings.roles.values())}
    found = (settings.providers.get(provider_id) for provider_id in sorted(used))
    return tuple(_credential(provider, environment) for provider in found if provider is not None)


def _credential(provider: ProviderSettings, environment: Mapping[str, str]) -> Check:
    name = f"credentials for {provider.id}"
    variable = provider.api_key_variable
    if variable is not None:
        if environment.get(variable, "").strip():
            return Check(name, Status.OK, f"{variable} is set")
        return Check(name, Status.FAIL, f"{variable} is not set", provider.api_key_help or f"export {variable}=...")
    if provider.bearer_token:
        return Check(name, Status.OK, "a token is configured")
    if provider.requires_openai_auth:
        advice = "export CODEX_API_KEY=... or OPENAI_API_KEY=..., or codex login --with-api-key, or codexteam init --tier api"
        return Check(name, Status.FAIL, "not logged in", advice)
    return Check(name, Status.OK, "this provider asks for none")


def _git(environment: Mapping[str, str]) -> Check:
    probe = probes.probe_git(environment)
    if probe.usable:
        return Check("git", Status.OK, probe.found)
    return Check("git", Status.FAIL, probe.found, f"install git {'.'.join(map(str, probes.GIT_NEEDED))} or newer")


def _repository(request: LoadRequest) -> tuple[Check, ...]:
    common = probes.repository_common_dir(request.cwd, request.environment)
    if isinstance(common, str):
        advice = "a run works on a repository: change into one, or name it with -C DIR"
        return (Check("repository", Status.WARN, f"{request.cwd}: {common}", advice), _disk(request.cwd))
    if not probes.has_commits(request.cwd, request.environment):
        repository = Check("repository", Status.FAIL, f"{request.cwd}: no commit yet", "make a first commit")
    else:
        repository = Check("repository", Status.OK, str(request.cwd))
    state = common / "codexteam"
    return (repository, _state(state), _disk(state))


def _state(folder: Path) -> Check:
    problem = probes.write_problem(folder)
    if problem:
        advice = "make it writable; a run keeps its state and its work there"
        return Check("state folder", Status.FAIL, f"cannot be written: {problem}", advice)
    return Check("state folder", Status.OK, str(folder))


def _disk(folder: Path) -> Check:
    free = probes.free_bytes(folder)
    shown = f"{free / (1 << 30):.1f} GiB free"
    if free < _DISK_FAIL_BYTES:
        return Check("disk", Status.FAIL, shown, "free some space; every agent works on a copy of the repository")
    if free < _DISK_WARN_BYTES:
        return Check("disk", Status.WARN, shown, "a large team may fill it; free some space or use fewer threads")
    return Check("disk", Status.OK, shown)
