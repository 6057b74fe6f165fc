"""Pods in trouble: what the engine says and does, on a stand-in for a cluster whose pods are containers."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.kubernetes.engine import KubernetesEngine
from codexteam.config.settings import (
    KubernetesSettings,
    NetworkKind,
    NetworkPolicy,
    SandboxLimits,
    SandboxMode,
    SandboxSettings,
)
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.errors import HostLost, ProgramsUnavailable, SandboxLost, SandboxUnavailable
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import BaseSource, Command, Sandbox, SandboxSpec
from tests.support_base_source import base_source, make_repository
from tests.support_kubernetes import StandInCluster, named, stand_in_cluster

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(120)]


def agent(number: int = 1) -> AgentKey:
    return AgentKey(RunId(f"faults-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", number)


@dataclass
class Bench:
    """An engine on a cluster, and what it started."""

    cluster: StandInCluster
    base: BaseSource
    engines: list[KubernetesEngine] = field(default_factory=list)
    started: list[Sandbox] = field(default_factory=list)

    def engine(self, *, user: str = "runner", owner: str = "one", **more: object) -> KubernetesEngine:
        where = KubernetesSettings(**{"start_seconds": 20, "slots": 4, **more})  # type: ignore[arg-type]  # as given
        settings = SandboxSettings(kind="kubernetes", kubernetes=where)
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig(user))}
        engine = KubernetesEngine(settings, environment=environment, owner=owner, now=lambda: datetime.now(UTC))
        self.engines.append(engine)
        return engine

    def spec(self, number: int = 1, **more: object) -> SandboxSpec:
        spec = SandboxSpec(
            agent(number), self.base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits(memory_bytes=1 << 30)
        )
        return replace(spec, **more)  # type: ignore[arg-type]  # as given

    async def start(self, engine: KubernetesEngine, number: int = 1, **more: object) -> Sandbox:
        sandbox = await engine.start(self.spec(number, **more))
        self.started.append(sandbox)
        return sandbox


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    make_repository(tmp_path / "repository", {"a.txt": b"one\n"})
    async with stand_in_cluster() as cluster:
        bench = Bench(cluster, base_source(tmp_path / "repository", tmp_path / "base"))
        try:
            yield bench
        finally:
            for sandbox in bench.started:
                await sandbox.close()
            for engine in bench.engines:
                await engine.close()


async def nothing_left(cluster: StandInCluster) -> None:
    async with asyncio.timeout(20):
        while cluster.claims or cluster.pods():
            await asyncio.sleep(0.05)


def sh(line: str) -> Command:
    return Command(("sh", "-c", line))


# what is asked of the cluster


async def test_the_role_of_a_runner_allows_what_is_asked_and_no_more(bench: Bench) -> None:
    engine = bench.engine()
    assert (await engine.check()).usable
    sandbox = await bench.start(engine)
    assert (await sandbox.run(sh("cat a.txt"))).output == b"one\n"
    assert [who for who, is_ours in await engine.occupants() if is_ours] == [agent()]
    await bench.cluster.cut_streams()
    assert (await sandbox.run(sh("true"))).note
    await sandbox.close()
    await engine.sweep(None)
    allowed = {
        (group, resource, verb)
        for rule in named("Role", "codexteam-runner")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # newer API servers ask for this verb, too
    assert bench.cluster.used == allowed - {("", "pods/exec", "create")}


async def test_a_viewer_sees_who_works_and_starts_nothing(bench: Bench) -> None:
    await bench.start(bench.engine())
    viewer = bench.engine(user="viewer")
    assert (await viewer.check()).usable
    assert [who for who, _ in await viewer.occupants()] == [agent()]
    with pytest.raises(SandboxUnavailable, match="you may not: sandboxclaims") as raised:
        await viewer.start(bench.spec(2))
    assert "codexteam-runner" in raised.value.hint


async def test_a_stranger_is_told_which_right_is_missing(bench: Bench) -> None:
    report = await bench.engine(user="stranger").check()
    assert not report.usable
    assert 'User "stranger" cannot get resource "sandboxwarmpools"' in report.problem


async def test_a_pool_that_is_not_there_is_named(bench: Bench) -> None:
    engine = bench.engine(pool="other")
    report = await engine.check()
    assert "namespace codexteam has no SandboxWarmPool other" in report.problem
    with pytest.raises(SandboxUnavailable, match="WarmPoolNotFound"):
        await engine.start(bench.spec())
    await nothing_left(bench.cluster)


async def test_a_cluster_that_does_not_answer_is_said(bench: Bench) -> None:
    engine = bench.engine()
    await bench.cluster.stop_listening()
    assert "the API server of Kubernetes does not answer" in (await engine.check()).problem


async def test_a_context_that_is_not_there_is_said(bench: Bench) -> None:
    report = await bench.engine(context="nowhere").check()
    assert "how the cluster is reached cannot be read" in report.problem


async def test_a_kubeconfig_that_is_not_there_is_said(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = bench.engine()
    engine._environment = {"HOME": str(tmp_path)}
    report = await engine.check()
    assert f"there is no kubeconfig {tmp_path}/.kube/config; KUBECONFIG names another" in report.problem
    assert capfd.readouterr() == ("", "")


# what a pod must be


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hostNetwork": True}, "hostNetwork is True"),
        ({"volumes": [{"name": "work", "hostPath": {"path": "/"}}]}, "volume work is a hostPath"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser is 0"),
        ({"securityContext": {"runAsUser": 10001}}, "seccompProfile is not RuntimeDefault"),
    ],
)
async def test_a_pod_that_is_not_confined_gets_no_command(bench: Bench, changes: dict[str, object], said: str) -> None:
    bench.cluster.pod_changes = changes
    with pytest.raises(SandboxUnavailable, match="not confined as it must be") as raised:
        await bench.engine().start(bench.spec())
    assert said in str(raised.value)
    await nothing_left(bench.cluster)


async def test_a_runtime_that_is_required_must_be_the_pods(bench: Bench) -> None:
    engine = bench.engine()
    engine._settings = replace(engine._settings, require_runtime="kata")
    with pytest.raises(SandboxUnavailable, match="runtimeClassName is gvisor instead of kata"):
        await engine.start(bench.spec())
    await nothing_left(bench.cluster)


async def test_a_network_that_is_not_enforced_is_refused(bench: Bench) -> None:
    bench.cluster.enforces = False
    with pytest.raises(SandboxUnavailable, match=r"reached 127\.0\.0\.1:\d+.*does not enforce NetworkPolicy"):
        await bench.engine().start(bench.spec())
    await nothing_left(bench.cluster)


async def test_the_network_is_for_roles_with_a_pool_of_their_own(bench: Bench) -> None:
    bench.cluster.enforces = False
    open_ = NetworkPolicy(NetworkKind.OPEN)
    with pytest.raises(SandboxUnavailable, match="no pool on Kubernetes is for that"):
        await bench.engine().start(bench.spec(network=open_))
    sandbox = await bench.start(bench.engine(open_pool="codexteam-open"), network=open_)
    assert "network" in sandbox.facts.unlimited
    assert sandbox.facts.runtime == "gvisor"
    assert sandbox.facts.host == "node1"


async def test_named_hosts_are_reached_through_the_proxy_alone(bench: Bench) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = NetworkPolicy(NetworkKind.ALLOWLIST, (f"localhost:{port}",))
    sandbox = await bench.start(bench.engine(), network=policy)
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read())"
    proxied = {"NO_PROXY": "", "no_proxy": ""}
    got = await sandbox.run(Command(("python3", "-c", fetch, f"http://localhost:{port}/"), environment=proxied))
    assert got.output == b"b'hello'\n", got
    refused = await sandbox.run(Command(("python3", "-c", fetch, "http://elsewhere.invalid/"), environment=proxied))
    assert b"403" in refused.output, refused
    server.close()


async def test_variables_of_the_image_reach_commands_and_the_clusters_do_not(bench: Bench) -> None:
    sandbox = await bench.start(bench.engine())
    said = (await sandbox.run(sh("env"))).output.decode()
    assert "TOOL_HOME=/opt/tool" in said
    assert "KUBERNETES" not in said


# starts that do not succeed


async def test_an_image_that_cannot_be_pulled_ends_the_wait(bench: Bench) -> None:
    bench.cluster.waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    with pytest.raises(SandboxUnavailable, match="its container sandbox: ImagePullBackOff: no such image"):
        await bench.engine().start(bench.spec())
    await nothing_left(bench.cluster)


async def test_a_pod_that_no_node_takes_is_waited_for_in_vain(bench: Bench) -> None:
    bench.cluster.scheduled = "0/3 nodes are available: 3 Insufficient cpu."
    with pytest.raises(SandboxUnavailable, match=r"not ready within 1 seconds: no node takes it: Unschedulable: 0/3"):
        await bench.engine(start_seconds=1).start(bench.spec())
    await nothing_left(bench.cluster)


async def test_a_quota_that_is_used_up_is_said_as_it_is(bench: Bench) -> None:
    bench.cluster.quota = "exceeded quota: codexteam, requested: pods=1, used: pods=64, limited: pods=64"
    with pytest.raises(SandboxUnavailable, match="exceeded quota: codexteam"):
        await bench.engine().start(bench.spec())


async def test_a_start_that_is_cancelled_leaves_nothing(bench: Bench) -> None:
    engine = bench.engine()
    for seconds in (0.05, 0.5, 1.0, 1.5):
        starting = asyncio.ensure_future(engine.start(bench.spec()))
        await asyncio.sleep(seconds)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await (await starting).close()
        await nothing_left(bench.cluster)
    assert (await (await bench.start(engine)).run(sh("cat a.txt"))).ok, "its slot is free again"


async def test_programs_of_the_machine_and_environments_are_not_there(bench: Bench, tmp_path: Path) -> None:
    engine = bench.engine()
    with pytest.raises(ProgramsUnavailable, match="it is on another machine"):
        await engine.start(bench.spec(programs=tmp_path))
    with pytest.raises(SandboxUnavailable, match="sandboxes are as their image is"):
        await engine.start(bench.spec(environment_key="k1"))
    order = SetupOrder("k1", agent(), bench.base, NetworkPolicy(), SandboxLimits())
    with pytest.raises(SandboxUnavailable, match="on Kubernetes none is built"):
        await engine.environments.set_up(order)
    assert bench.cluster.claims == {}


# pods that end under their agents


async def test_a_connection_that_breaks_loses_no_files(bench: Bench) -> None:
    sandbox = await bench.start(bench.engine())
    await sandbox.run(sh("echo kept > kept"))
    running = asyncio.ensure_future(sandbox.run(sh("sleep 30")))
    await asyncio.sleep(0.3)
    await bench.cluster.cut_streams()
    ended = await running
    assert ended.exit_code is None
    assert "whether it finished is unknown" in ended.note
    assert (await sandbox.run(sh("cat kept"))).output == b"kept\n"
    left = await sandbox.run(sh("grep -l '[s]leep.30' /proc/[0-9]*/cmdline 2>/dev/null | wc -l"))
    assert left.output.strip() == b"0", "what ran is gone"


async def test_an_api_server_that_is_away_for_a_while_is_waited_for(bench: Bench) -> None:
    sandbox = await bench.start(bench.engine())
    await sandbox.run(sh("echo kept > kept"))
    await bench.cluster.cut_streams()
    await bench.cluster.stop_listening()
    running = asyncio.ensure_future(sandbox.run(sh("cat kept")))
    await asyncio.sleep(3)
    await bench.cluster.listen()
    assert (await running).output == b"kept\n"


@pytest.mark.parametrize("reason", ["NodeLost", "Evicted", "Terminated"])
async def test_a_pod_that_its_node_takes_away_is_a_lost_host(bench: Bench, reason: str) -> None:
    sandbox = await bench.start(bench.engine())
    await bench.cluster.lose_pod(sandbox.facts.name, phase="Failed", reason=reason)
    with pytest.raises(HostLost, match=f"took it away: {reason}"):
        await sandbox.run(sh("true"))


async def test_a_node_that_does_not_answer_is_a_lost_host(bench: Bench) -> None:
    sandbox = await bench.start(bench.engine())
    unready = [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]
    await bench.cluster.lose_pod(sandbox.facts.name, conditions=unready)
    with pytest.raises(HostLost, match="node node1.*does not answer"):
        await sandbox.run(sh("true"))


async def test_a_pod_that_somebody_removes_is_a_lost_sandbox(bench: Bench) -> None:
    engine = bench.engine()
    sandbox = await bench.start(engine)
    await bench.cluster.lose_pod(sandbox.facts.name)
    with pytest.raises(SandboxLost, match="was removed") as raised:
        await sandbox.run(sh("true"))
    assert not isinstance(raised.value, HostLost)
    assert (await (await bench.start(engine)).run(sh("cat a.txt"))).output == b"one\n"


async def test_a_container_that_runs_out_of_memory_is_said_so(bench: Bench) -> None:
    sandbox = await bench.start(bench.engine())
    killed = {"name": "sandbox", "restartCount": 1, "lastState": {"terminated": {"reason": "OOMKilled"}}}
    await bench.cluster.lose_pod(sandbox.facts.name, containerStatuses=[killed])
    with pytest.raises(SandboxLost, match="it ran out of memory"):
        await sandbox.run(sh("true"))


# whose what is


async def test_a_later_try_takes_the_place_of_what_an_earlier_one_left(bench: Bench) -> None:
    killed = bench.engine()
    await bench.start(killed)
    [left] = bench.cluster.claims
    later = await bench.start(bench.engine())
    assert later.facts.name != left
    async with asyncio.timeout(20):
        while left in bench.cluster.claims:
            await asyncio.sleep(0.05)


async def test_a_sweep_takes_what_is_ours_and_leaves_others_alone(bench: Bench) -> None:
    ours, others = bench.engine(), bench.engine(owner="other")
    kept, gone, foreign = [await bench.start(engine, number) for engine, number in ((ours, 1), (ours, 2), (others, 3))]
    assert await ours.sweep(agent().run_id, keep=[agent(1)]) == [gone.facts.name]
    assert await ours.sweep("another-run") == []
    async with asyncio.timeout(20):
        while gone.facts.name in bench.cluster.claims:
            await asyncio.sleep(0.05)
    assert bench.cluster.claims.keys() == {kept.facts.name, foreign.facts.name}
    assert await ours.sweep(None) == [kept.facts.name]
    assert (await foreign.run(sh("true"))).ok


async def test_no_more_pods_are_claimed_than_there_are_slots(bench: Bench) -> None:
    engine = bench.engine(slots=1)
    assert engine.places == 1
    first = await bench.start(engine)
    second = asyncio.ensure_future(engine.start(bench.spec(2)))
    await asyncio.sleep(1)
    assert len(bench.cluster.claims) == 1
    await first.close()
    bench.started.append(await second)


async def test_a_claim_that_everybody_forgets_goes_by_itself(bench: Bench) -> None:
    await bench.start(bench.engine())
    [claim] = bench.cluster.claims.values()
    lifecycle = claim["spec"]["lifecycle"]
    assert lifecycle["shutdownPolicy"] == "Delete"
    until = datetime.fromisoformat(lifecycle["shutdownTime"])
    assert 23 < (until - datetime.now(UTC)).total_seconds() / 3600 <= 24
