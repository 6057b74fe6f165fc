"""The nodes of a Ray cluster as hosts, and who works on them: of the former the cluster knows, of the latter the runs here."""

from collections.abc import Mapping

from codexteam import __version__
from codexteam.app.cluster_status import AgentAtWork, HostState, HostStatus
from codexteam.app.project import Project, reading_store
from codexteam.app.worker_surroundings import ENTRY
from codexteam.config.settings import ExecutorSettings
from codexteam.core.ids import JSONObject
from codexteam.errors import StoreError, SurroundingsError, UsageError


async def look_at_nodes(
    settings: ExecutorSettings, environment: Mapping[str, str], project: Project | None
) -> tuple[HostStatus, ...]:
    """Return the nodes that take agents, and the cluster itself where it does not answer.

    A node that is gone is not among them: the cluster does not know any more whether it took agents.
    """
    from codexteam.adapters.ray_cluster.cluster import RayWorkers

    where = f"Ray cluster {settings.address}"
    try:
        workers = await RayWorkers.connect(settings.address, environment, entry=ENTRY, version=__version__)
    except SurroundingsError as error:
        down = HostStatus("ray", where, HostState.DOWN, None, None, problem=str(error), hint=error.hint)
        return (down,)
    try:
        version, nodes = workers.version, await workers.look()
    finally:
        await workers.close()
    at_work = await _at_work(project)
    found = tuple(
        HostStatus(
            node.name,
            where,
            HostState.UP,
            node.slots,
            float(node.slots),
            version,
            agents=at_work.get(node.name, ()),
        )
        for node in nodes
        if node.slots and node.is_alive
    )
    if found:
        return found
    problem = "none of its nodes takes agents"
    hint = "start nodes with `ray start --address HOST:PORT --resources '{\"sandbox_slots\": 8}'`"
    return (HostStatus("ray", where, HostState.DOWN, 0, None, version, problem=problem, hint=hint),)


async def _at_work(project: Project | None) -> dict[str, tuple[AgentAtWork, ...]]:
    """Return the agents of the runs of a repository that are at work now, by their hosts."""
    if project is None:
        return {}
    found: dict[str, tuple[AgentAtWork, ...]] = {}
    try:
        async with reading_store(project) as store:
            for run in await store.runs():
                if run.state != "running":
                    continue
                agents: dict[str, str] = {}
                for fact in await store.facts(run.run_id):
                    name = str(fact.fields.get("agent", ""))
                    if fact.kind == "agent.received":
                        agents[name] = _host_of(fact.fields)
                    elif fact.kind in {"agent.finished", "agent.started"}:
                        agents.pop(name, None)
                for name, host in agents.items():
                    one = AgentAtWork(name, run.run_id, str(project.state_dir), is_here=True)
                    found[host] = (*found.get(host, ()), one)
    except (StoreError, UsageError):
        return {}  # there is no run yet
    return found


def _host_of(fields: JSONObject) -> str:
    receipt = fields.get("receipt")
    started = receipt.get("started_sandbox") if isinstance(receipt, dict) else None
    return str(started.get("host", "")) if isinstance(started, dict) else ""
