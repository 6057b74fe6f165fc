"""`codexteam cluster`: the hosts that a run here would use, who works on them, and which take no new agents."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from codexteam.app.cluster_status import AgentAtWork, HostState, HostStatus
from codexteam.app.project import Project
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import EngineSettings, SandboxSettings, TeamSettings
from codexteam.errors import SandboxUnavailable, SurroundingsError, UsageError

#: A host that drops packets would be waited for much longer.
_LOOK_SECONDS = 20.0
#: What the one engine is called that nobody configured.
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """All hosts."""

    hosts: tuple[HostStatus, ...]
    unknown_drained: tuple[str, ...] = ()
    """Names that are drained and no host has."""

    @property
    def exit_code(self) -> int:
        """Return 0 where some host takes agents."""
        usable = any(host.state is HostState.UP for host in self.hosts)
        return 0 if usable else SurroundingsError.exit_code


def look_at_cluster(request: LoadRequest, project: Project | None) -> ClusterStatus:
    """Ask every host at the same time; outside of a repository what is drained is what the configuration says.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    team = load_settings(request).team
    return asyncio.run(_look(team, request.environment, project))


async def _look(team: TeamSettings, environment: Mapping[str, str], project: Project | None) -> ClusterStatus:
    if team.executor.kind == "ray":
        from codexteam.app.ray_nodes import look_at_nodes

        return ClusterStatus(await look_at_nodes(team.executor, environment, project))
    settings = team.sandbox
    if settings.kind == "kubernetes":
        return ClusterStatus((await _kubernetes(settings, environment, project),))
    named = _drained(project)
    if "docker" not in settings.kinds:
        return ClusterStatus((await _bubblewrap(),), tuple(sorted(named)))
    engines = settings.engines or (EngineSettings(_DEFAULT),)
    state_dir = "" if project is None else str(project.state_dir)
    hosts = await asyncio.gather(
        *(_docker(engine, settings, environment, state_dir, drained=engine.name in named) for engine in engines)
    )
    if "bubblewrap" in settings.kinds and all(host.state is HostState.DOWN for host in hosts):
        hosts = [*hosts, await _bubblewrap()]
    known = {engine.name for engine in engines}
    return ClusterStatus(tuple(hosts), tuple(sorted(named - known)))


def _drained(project: Project | None) -> frozenset[str]:
    from codexteam.adapters.machine.drained_hosts import DrainedHosts

    return frozenset() if project is None else DrainedHosts(project.state_dir).names()


async def _docker(
    engine: EngineSettings,
    settings: SandboxSettings,
    environment: Mapping[str, str],
    state_dir: str,
    *,
    drained: bool,
) -> HostStatus:
    from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, said_by
    from codexteam.adapters.sandbox.docker.hardening import RUNTIME_HINT, lacks_runtime
    from codexteam.adapters.sandbox.docker.occupancy import look_at_engine

    named = bool(settings.engines)
    slots, weight = (engine.slots, engine.weight or float(engine.slots)) if named else (None, None)
    by = "codexteam cluster drain" if drained else "the configuration" if engine.draining else ""
    where = engine.host or (f"context {engine.context}" if engine.context else "the engine that the environment names")
    down = HostStatus(engine.name, where, HostState.DOWN, slots, weight, drained_by=by)
    client = EngineClient(engine, environment)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            facts = await look_at_engine(client)
    except SandboxUnavailable as error:
        return replace(down, problem=str(error), hint=error.hint)
    except TimeoutError:
        return replace(down, problem=f"no answer within {_LOOK_SECONDS:.0f} seconds", hint=_NO_ANSWER)
    except ENGINE_ERRORS as error:
        return replace(down, problem=said_by(error), hint=_NO_ANSWER)
    finally:
        await client.close()
    agents = tuple(
        AgentAtWork(each.agent, each.run_id, each.owner, is_here=each.owner == state_dir) for each in facts.occupants
    )
    state = HostState.UP
    if by:
        state = HostState.DRAINING if any(agent.is_here for agent in agents) else HostState.DRAINED
    problem = hint = ""
    if lacks_runtime(facts.runtimes, settings.asked_runtime):
        state, hint = HostState.DOWN, RUNTIME_HINT
        problem = f"it has no runtime {settings.asked_runtime!r}, which is asked for"
    return HostStatus(
        engine.name, where, state, slots, weight, facts.version, facts.runtimes, agents, by, problem, hint
    )


_NO_ANSWER = "see that the machine is up and reached, and its engine started; a run at work uses it again by itself"


async def _kubernetes(settings: SandboxSettings, environment: Mapping[str, str], project: Project | None) -> HostStatus:
    from codexteam.adapters.sandbox.kubernetes.engine import KubernetesEngine

    cluster = settings.kubernetes
    owner = "" if project is None else str(project.state_dir)
    engine = KubernetesEngine(settings, environment=environment, owner=owner, now=lambda: datetime.now(UTC))
    where = f"namespace {cluster.namespace} of {cluster.context or 'the current context'}"
    down = HostStatus("kubernetes", where, HostState.DOWN, cluster.slots, float(cluster.slots))
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            report = await engine.check()
            if not report.usable:
                return replace(down, problem=report.problem, hint="see docs/hosts.md")
            at_work = await engine.occupants()
    except SandboxUnavailable as error:
        return replace(down, problem=str(error), hint=error.hint)
    except TimeoutError:
        return replace(down, problem=f"no answer within {_LOOK_SECONDS:.0f} seconds", hint=_NO_ANSWER)
    finally:
        await engine.close()
    agents = tuple(
        AgentAtWork("a sandbox" if who is None else str(who), "" if who is None else who.run_id, owner, is_here=is_here)
        for who, is_here in at_work
    )
    runtimes = () if settings.asked_runtime is None else (settings.asked_runtime,)
    return replace(down, state=HostState.UP, version=report.version, runtimes=runtimes, agents=agents)


async def _bubblewrap() -> HostStatus:
    from codexteam.adapters.sandbox.bubblewrap.engine import try_bubblewrap

    report = await try_bubblewrap()
    state = HostState.UP if report.usable else HostState.DOWN
    return HostStatus("local", "bubblewrap on this machine", state, None, None, report.version, problem=report.problem)


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of a wish to drain a host, or to end that."""

    name: str
    draining: bool
    changed: bool


def drain(request: LoadRequest, project: Project, name: str) -> Drained:
    """Let no new agent of this repository start on a host; a run that is at work notices, and agents there finish.

    Raises:
        UsageError: no host has that name.
    """
    from codexteam.adapters.machine.drained_hosts import DrainedHosts

    known = _names(request)
    if name not in known:
        raise _unknown(name, known)
    return Drained(name, draining=True, changed=DrainedHosts(project.state_dir).drain(name))


def undrain(request: LoadRequest, project: Project, name: str) -> Drained:
    """Let agents start on a host again.

    Raises:
        UsageError: no host has that name, or the configuration drains it.
    """
    from codexteam.adapters.machine.drained_hosts import DrainedHosts

    drained = DrainedHosts(project.state_dir)
    engines = load_settings(request).team.sandbox.engines
    if any(engine.name == name and engine.draining for engine in engines):
        drained.undrain(name)
        raise UsageError(
            f"{name} is drained by the configuration: draining = true in its [[codexteam.sandbox.engines]]",
            hint="take it out there; it counts from the next session on",
        )
    known = _names(request)
    if name not in known and name not in drained.names():
        raise _unknown(name, known)
    return Drained(name, draining=False, changed=drained.undrain(name))


def _names(request: LoadRequest) -> tuple[str, ...]:
    team = load_settings(request).team
    if team.executor.kind == "ray":
        raise UsageError(
            "the nodes of a Ray cluster are drained by Ray", hint="`ray drain-node --node-id ...`; see `ray list nodes`"
        )
    sandbox = team.sandbox
    if sandbox.kind == "kubernetes":
        raise UsageError(
            "the nodes of a Kubernetes cluster are drained by Kubernetes",
            hint="`kubectl drain NODE`: agents there continue on another from their last turn",
        )
    if "docker" not in sandbox.kinds:
        raise UsageError(
            'there are no hosts to drain: [codexteam.sandbox] kind is "bubblewrap", which is this machine alone',
            hint="codexteam pause lets no new agent start",
        )
    return tuple(engine.name for engine in sandbox.engines) or (_DEFAULT,)


def _unknown(name: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(
        f"no host is called {name!r}; there are {', '.join(known)}",
        hint="codexteam cluster lists them with their state",
    )
