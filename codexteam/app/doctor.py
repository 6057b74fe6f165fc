"""`codexteam doctor`: whether a run could start here, and what to do where it could not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.machine.checks import (
    GIT_NEEDED,
    file_at_head,
    free_bytes,
    paths_at_head,
    probe_git,
    read_only_problem,
    write_problem,
)
from codexteam.adapters.machine.run_files import PLAN_NAME
from codexteam.adapters.machine.shared_state import group_id
from codexteam.adapters.responses.clients import credentials_of
from codexteam.app.codex_engine import installed_codex
from codexteam.app.doctor_check import DoctorCheck, Status
from codexteam.app.project import Project, find_project, live_run
from codexteam.app.provider_checks import provider_checks
from codexteam.app.scanning import scan_words
from codexteam.config.load import load_settings
from codexteam.config.price_list import price_list
from codexteam.config.priced import budget_words, models_of, price_hint, price_lines, price_problem
from codexteam.config.request import LoadRequest
from codexteam.config.settings import EngineSettings, SandboxSettings, Settings
from codexteam.config.team import roles_on_codex, team_roles
from codexteam.core.budget_amounts import Unit
from codexteam.core.command_ending import cannot_fail
from codexteam.core.ids import GateName
from codexteam.core.text import clean_line, count_of
from codexteam.errors import CodexteamError, ConfigError, SandboxUnavailable, SurroundingsError
from codexteam.ports.repo import RepositoryFacts

if TYPE_CHECKING:
    from codexteam.adapters.sandbox.docker.client import EngineClient


_DOCKER_ADVICE = "install and start Docker, or name an engine that runs with DOCKER_HOST or `docker context use`"
#: An engine far away that drops packets would be waited for much longer.
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class HeadFiles:
    """The repository's files at HEAD, for the choice of the image."""

    paths: Sequence[str]
    read: Callable[[str], bytes | None]
    trusted: bool


def sandbox_checks(
    settings: SandboxSettings, environment: Mapping[str, str], files: HeadFiles | None = None
) -> tuple[DoctorCheck, ...]:
    """Look at both kinds, or at the one that is asked for; where one works, the other's absence is not a failure.

    With a repository it is also looked for the image of its containers.
    """
    return asyncio.run(_look(settings, environment, files))


async def _look(
    settings: SandboxSettings, environment: Mapping[str, str], files: HeadFiles | None
) -> tuple[DoctorCheck, ...]:
    wanted = settings.kinds
    looks: list[Awaitable[DoctorCheck]] = []
    images: list[DoctorCheck] = []
    if "docker" in wanted:
        engines = settings.engines or (EngineSettings(name="docker"),)
        looks.extend(_docker(engine, settings, environment, files, images) for engine in engines)
    if "bubblewrap" in wanted:
        looks.append(_bubblewrap())
    if "kubernetes" in wanted:
        looks.append(_kubernetes(settings, environment))
    found = await asyncio.gather(*looks)
    one_works = any(check.status is not Status.FAIL for check in found)
    # an engine that answers is the one a run takes: without its image none can start, whatever else works
    return (*(_softer(check) if one_works else check for check in found), *images)


def _softer(check: DoctorCheck) -> DoctorCheck:
    if check.status is not Status.FAIL:
        return check
    return DoctorCheck(check.name, Status.WARN, check.found, check.advice)


async def _docker(
    engine: EngineSettings,
    settings: SandboxSettings,
    environment: Mapping[str, str],
    files: HeadFiles | None,
    images: list[DoctorCheck],
) -> DoctorCheck:
    from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, said_by
    from codexteam.adapters.sandbox.docker.hardening import RUNTIME_HINT, lacks_runtime

    name = "docker" if engine.name == "docker" else f"docker engine {engine.name}"
    client = EngineClient(engine, environment)
    try:
        async with asyncio.timeout(_SECONDS):
            connected = await client.connect()
            said = await client.call(connected.version)
            listed = (await client.call(connected.info)).get("Runtimes") or {}
            runtimes = sorted(name for name in listed if "." not in name)  # the others are programs' names
            connected.api.timeout = int(_SECONDS)
            if files is not None:
                images.append(await _image(engine, client, settings, environment, files))
    except SandboxUnavailable as error:
        return DoctorCheck(name, Status.FAIL, str(error), _DOCKER_ADVICE)
    except TimeoutError:
        return DoctorCheck(name, Status.FAIL, f"no answer within {_SECONDS:.0f} seconds", _DOCKER_ADVICE)
    except ENGINE_ERRORS as error:
        return DoctorCheck(name, Status.FAIL, said_by(error), _DOCKER_ADVICE)
    finally:
        await client.close()
    found = f"engine {said.get('Version', 'of unknown version')}, runtimes: {', '.join(map(clean_line, runtimes)) or 'none'}"
    if lacks_runtime(runtimes, settings.asked_runtime):
        return DoctorCheck(
            name, Status.FAIL, f"{found}; not {settings.asked_runtime}, which is asked for", RUNTIME_HINT
        )
    drained = "; draining: no new agent starts there" if engine.draining else ""
    return DoctorCheck(name, Status.OK, found + drained)


async def _image(
    engine: EngineSettings,
    client: "EngineClient",
    settings: SandboxSettings,
    environment: Mapping[str, str],
    files: HeadFiles,
) -> DoctorCheck:
    from codexteam.adapters.sandbox.docker.image_pull import IMAGE_HINT
    from codexteam.adapters.sandbox.docker.image_selection import choose
    from codexteam.adapters.sandbox.docker.images import look_for_image
    from codexteam.environment.repository_view import RepositoryView

    name = "image" if engine.name == "docker" else f"image on {engine.name}"
    view = RepositoryView(files.read, files.paths)
    seen = {name: environment[name] for name in settings.environment if name in environment}
    try:
        choice = choose(settings, view, trusted=files.trusted, environment=seen)
    except ConfigError as error:
        return DoctorCheck(name, Status.FAIL, str(error), error.hint)
    found = await look_for_image(client, choice, view)
    if not found.usable:
        return DoctorCheck(name, Status.FAIL, found.found, IMAGE_HINT)
    return DoctorCheck(name, Status.OK, found.found, "; ".join(choice.notices))


async def _kubernetes(settings: SandboxSettings, environment: Mapping[str, str]) -> DoctorCheck:
    from codexteam.adapters.sandbox.kubernetes.engine import KubernetesEngine

    engine = KubernetesEngine(settings, environment=environment, owner="", now=lambda: datetime.now(UTC))
    try:
        report = await engine.check()
        if report.usable:
            await engine.occupants()
    except SandboxUnavailable as error:
        return DoctorCheck("kubernetes", Status.FAIL, str(error), error.hint)
    finally:
        await engine.close()
    if not report.usable:
        return DoctorCheck("kubernetes", Status.FAIL, report.problem, "see docs/hosts.md")
    runtime = settings.asked_runtime or "whatever its template says"
    return DoctorCheck("kubernetes", Status.OK, f"{report.version}, pool {settings.kubernetes.pool}, runtime {runtime}")


async def _bubblewrap() -> DoctorCheck:
    from codexteam.adapters.sandbox.bubblewrap.engine import try_bubblewrap

    report = await try_bubblewrap()
    if not report.usable:
        return DoctorCheck("bubblewrap", Status.FAIL, report.problem)
    if report.unlimited:
        limits = f"{report.version}; it cannot limit here: {', '.join(report.unlimited)}"
        return DoctorCheck("bubblewrap", Status.OK, limits)
    return DoctorCheck("bubblewrap", Status.OK, report.version)


def check_access(settings: Settings, environment: Mapping[str, str]) -> None:
    """Look for the credentials of every provider that the team's roles use, or for Codex; no service is asked.

    Raises:
        ModelAccessError: one is missing, or Codex is; without this a gate would find out after the work was paid for.
    """
    on_codex = roles_on_codex(settings)  # which signs in for itself
    if on_codex:
        installed_codex(settings, environment)
    for provider_id in sorted({role.model.provider_id for role in team_roles(settings) if role.name not in on_codex}):
        provider = settings.providers.get(provider_id)
        if provider is not None:
            credentials_of(provider, environment)


#: Below the first a run is likely to end with a full disk, below the second it is not worth starting.
_DISK_WARN_BYTES = 5 << 30
_DISK_FAIL_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Examination:
    """All checks and the exit code they come to."""

    checks: tuple[DoctorCheck, ...]
    exit_code: int


def examine(request: LoadRequest) -> Examination:
    """Look at everything a run needs. Nothing is changed or spent, and no credential is shown."""
    settings: Settings | None = None
    config_broken = False
    try:
        settings = load_settings(request)
        configuration = DoctorCheck("config", Status.OK, _found_config(settings), _notices(settings))
    except CodexteamError as error:
        config_broken = isinstance(error, ConfigError)
        configuration = DoctorCheck("config", Status.FAIL, str(error), error.hint)
    git = _git(request.environment)
    repository = _repository(request) if git.status is Status.OK else ()
    checks = (
        configuration,
        *(_warnings(settings) if settings else ()),
        *(provider_checks(settings, request.environment) if settings else ()),
        *(_budget(settings) if settings else ()),
        *(_gates(settings) if settings else ()),
        *(_scan(settings) if settings else ()),
        *(_group(settings) if settings else ()),
        git,
        *repository,
        *(_cluster(request, settings) if settings else ()),
        *_sandboxes(request, settings.team.sandbox if settings else SandboxSettings(), settings),
    )
    failed = any(check.status is Status.FAIL for check in checks)
    unkept = settings is not None and price_problem(settings) is not None
    code = ConfigError.exit_code if config_broken or unkept else SurroundingsError.exit_code
    return Examination(checks, code if failed else 0)


def _cluster(request: LoadRequest, settings: Settings) -> tuple[DoctorCheck, ...]:
    """Look at the cluster that agents are to work on, where there is one."""
    if settings.team.executor.kind != "ray":
        return ()
    from codexteam.app.cluster_status import HostState
    from codexteam.app.ray_nodes import look_at_nodes
    from codexteam.app.worker_surroundings import surroundings_of

    try:
        surroundings_of(settings, settings.team.sandbox.kind)
    except ConfigError as error:
        return (DoctorCheck("ray", Status.FAIL, str(error), error.hint),)
    nodes = asyncio.run(look_at_nodes(settings.team.executor, request.environment, None))
    if nodes[0].state is HostState.DOWN:
        return (DoctorCheck("ray", Status.FAIL, nodes[0].problem, nodes[0].hint),)
    slots = sum(node.slots or 0 for node in nodes)
    return (
        DoctorCheck("ray", Status.OK, f"{nodes[0].version}: {slots} sandbox_slots on {count_of(len(nodes), 'node')}"),
    )


def _sandboxes(request: LoadRequest, sandbox: SandboxSettings, settings: Settings | None) -> tuple[DoctorCheck, ...]:
    """Look at the engines, and at what has to be there for this repository's tests."""
    files = _head(request, trusted=settings is not None and settings.trusted is True)
    engines = sandbox_checks(sandbox, request.environment, files)
    if files is None:
        return engines
    from codexteam.app.environment_checks import environment_checks
    from codexteam.environment.repository_view import RepositoryView

    view = RepositoryView(files.read, files.paths)
    docker = any(check.name.startswith("docker") and check.status is Status.OK for check in engines)
    found = environment_checks(sandbox, view, request.environment, trusted=files.trusted, on_host=not docker)
    return (*engines, *found)


def _warnings(settings: Settings) -> tuple[DoctorCheck, ...]:
    advice = "correct it, or leave it out; with --strict-config it is an error"
    return tuple(DoctorCheck("config", Status.WARN, warning, advice) for warning in settings.warnings)


def _found_config(settings: Settings) -> str:
    own = sum(role.source != "built-in" for role in settings.roles.values())
    return f"{settings.codex_home}, {len(settings.roles)} roles, {own} of them from files of yours"


def _notices(settings: Settings) -> str:
    count = len(settings.notices)
    return f"{count} thing{'s' if count > 1 else ''} to know: codexteam config check" if count else ""


def _gates(settings: Settings) -> tuple[DoctorCheck, ...]:
    """Say what will check the work: without a gate command that runs, no run is green."""
    gates = settings.team.gates
    name = "gate commands"
    if GateName.CI not in gates.enabled or not gates.commands:
        what = (
            "ci_runner is not enabled"
            if GateName.CI not in gates.enabled
            else "none are set: the tests that the repository's own files or scouts name count"
        )
        end = "green, and said to be unchecked" if gates.allow_unchecked else "not green (exit code 3)"
        advice = 'set commands in [codexteam.gates], such as ["pytest -q"]'
        return (DoctorCheck(name, Status.WARN, f"{what}; a run that none of them checks ends {end}", advice),)
    idle = [f"`{command}`: {why}" for command in gates.commands if (why := cannot_fail(command))]
    if idle:
        return (DoctorCheck(name, Status.WARN, "; ".join(idle), "name commands that fail when the code is wrong"),)
    listed = ", ".join(f"`{command}`" for command in gates.commands)
    return (DoctorCheck(name, Status.OK, f"{listed}; a run starts only if they run on its base commit"),)


def _scan(settings: Settings) -> tuple[DoctorCheck, ...]:
    works, what, advice = scan_words(settings.team.gates)
    return (DoctorCheck("scan", Status.OK if works else Status.WARN, what, advice),)


def _group(settings: Settings) -> tuple[DoctorCheck, ...]:
    """Say who else may look at runs, where that is set."""
    access = settings.team.access
    if access.group is None:
        return ()
    try:
        group_id(access.group)
    except ConfigError as error:
        return (DoctorCheck("access", Status.FAIL, str(error), error.hint),)
    asks = f", and ask of them: {', '.join(access.may)}" if access.may else ""
    return (DoctorCheck("access", Status.OK, f"members of the group {access.group} may read runs here{asks}"),)


def _budget(settings: Settings) -> tuple[DoctorCheck, ...]:
    """Say what a run may spend, where there is a limit, and whether that can be kept."""
    problem = price_problem(settings)
    if problem is not None:
        return (DoctorCheck("budget", Status.FAIL, *problem),)
    words = budget_words(settings.team.budget)
    unpriced = [model for model in models_of(settings) if not price_list(settings).origin(model)]
    prices = DoctorCheck(
        "prices",
        Status.WARN if unpriced else Status.OK,
        "\n".join(price_lines(settings)),
        price_hint(settings, unpriced, Unit.USD) if unpriced else "",
    )
    return (*((DoctorCheck("budget", Status.OK, words),) if words else ()), prices)


def _git(environment: Mapping[str, str]) -> DoctorCheck:
    probe = probe_git(environment)
    if probe.usable:
        return DoctorCheck("git", Status.OK, probe.found)
    return DoctorCheck("git", Status.FAIL, probe.found, f"install git {'.'.join(map(str, GIT_NEEDED))} or newer")


def _repository(request: LoadRequest) -> tuple[DoctorCheck, ...]:
    """Look at the repository as the start of a run does."""
    try:
        project = find_project(request.cwd, request.environment)
        facts = asyncio.run(_inspected(project, request.environment))
    except CodexteamError as error:
        advice = error.hint or "a run works on a repository: change into one, or name it with -C DIR"
        return (DoctorCheck("repository", Status.FAIL, str(error), advice), _disk(request.cwd))
    notes = "\n".join((str(project.places.root), *facts.notices))
    return (
        DoctorCheck("repository", Status.OK, notes),
        _project(project.places.root),
        _state(project.state_dir),
        *_busy(project),
        _disk(project.state_dir),
    )


async def _inspected(project: Project, environment: Mapping[str, str]) -> RepositoryFacts:
    from codexteam.adapters.git.repo import GitRepo

    repo = GitRepo(project.places, project.state_dir, environment)
    try:
        return await repo.inspect()
    finally:
        await repo.close()


def _busy(project: Project) -> tuple[DoctorCheck, ...]:
    run_id = live_run(project)
    if run_id is None:
        return ()
    advice = "codexteam status shows it, codexteam stop ends it; one run at a time works on a repository"
    return (DoctorCheck("other run", Status.FAIL, f"run {run_id} is at work here", advice),)


def _project(folder: Path) -> DoctorCheck:
    problem = read_only_problem(folder)
    if problem:
        advice = f"make it writable, or work on a clone; {PLAN_NAME} is written into it"
        return DoctorCheck("project folder", Status.FAIL, f"{folder} {problem}", advice)
    return DoctorCheck("project folder", Status.OK, "can be written")


def _head(request: LoadRequest, *, trusted: bool) -> HeadFiles | None:
    paths = paths_at_head(request.cwd, request.environment)
    if paths is None:
        return None
    there = frozenset(paths)

    def read(path: str) -> bytes | None:
        return file_at_head(request.cwd, path, request.environment) if path in there else None

    return HeadFiles(paths, read, trusted)


def _state(folder: Path) -> DoctorCheck:
    problem = read_only_problem(folder)
    problem = f"{folder} {problem}" if problem else write_problem(folder)
    if problem:
        advice = "make it writable, or name another one with --state-dir; a run keeps its state and its work there"
        return DoctorCheck("state folder", Status.FAIL, f"cannot be written: {problem}", advice)
    return DoctorCheck("state folder", Status.OK, str(folder))


def _disk(folder: Path) -> DoctorCheck:
    free = free_bytes(folder)
    shown = f"{free / (1 << 30):.1f} GiB free"
    if free < _DISK_FAIL_BYTES:
        return DoctorCheck("disk", Status.FAIL, shown, "free some space; every agent works on a copy of the repository")
    if free < _DISK_WARN_BYTES:
        return DoctorCheck("disk", Status.WARN, shown, "a large team may fill it; free some space or use fewer threads")
    return DoctorCheck("disk", Status.OK, shown)
