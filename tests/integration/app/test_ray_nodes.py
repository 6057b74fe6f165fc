"""The nodes of a real Ray cluster, as `codexteam cluster` and `doctor` see them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.cluster_status import HostState
from codexteam.app.project import find_project
from codexteam.app.ray_nodes import look_at_nodes
from codexteam.app.session import opened_store
from codexteam.config.settings import ExecutorSettings
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord
from tests.support_base_source import make_repository
from tests.support_ray import ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


async def test_nodes_are_hosts_and_agents_at_work_are_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(tmp_path / "repository", {"a.txt": b"a\n"})
    project = find_project(tmp_path / "repository", {"HOME": str(tmp_path)})
    with ray_cluster(2, slots=3) as cluster:
        for name, value in cluster.environment.items():
            if name.startswith("RAY_"):
                monkeypatch.setenv(name, value)
        settings = ExecutorSettings("ray", cluster.address)
        hosts = await look_at_nodes(settings, cluster.environment, project)
        assert [(host.state, host.slots) for host in hosts] == [(HostState.UP, 3)] * 2, "the head takes no agents"
        assert all(host.version.startswith("Ray 2.") for host in hosts)
        run = RunRecord(RunId("20261201-0000-abcd"), "goal", "0" * 40, "running", 0.0, {})
        where: JSONObject = {"receipt": {"started_sandbox": {"host": hosts[1].name}}}
        async with opened_store(project) as store:
            for each in (run, replace(run, run_id=RunId("20261201-0000-0000"), state="green")):
                await store.create_run(each)
                facts = [
                    RunEvent("agent.received", 1.0, {"agent": "implementer T1.1", **where}),
                    RunEvent("agent.received", 1.0, {"agent": "implementer T2.1", **where}),
                    RunEvent("agent.finished", 2.0, {"agent": "implementer T2.1"}),
                ]
                store.record_facts(each.run_id, facts)
            await store.facts_recorded()
        hosts = await look_at_nodes(settings, cluster.environment, project)
        assert [[agent.name for agent in host.agents] for host in hosts] == [[], ["implementer T1.1"]]
        assert hosts[1].busy == 1
        await asyncio.to_thread(cluster.die, 2)
        async with asyncio.timeout(60):
            while len(hosts) == 2:
                hosts = await look_at_nodes(settings, cluster.environment, project)
        assert [host.state for host in hosts] == [HostState.UP], "what is gone takes nobody"


async def test_a_cluster_that_is_not_there_is_said() -> None:
    nowhere = ExecutorSettings("ray", "127.0.0.1:9")
    [host] = await look_at_nodes(nowhere, {"RAY_AUTH_MODE": "token"}, None)
    assert host.state is HostState.DOWN
    assert "cannot be joined" in host.problem
    assert host.hint
