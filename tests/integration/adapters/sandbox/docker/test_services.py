"""Servers beside sandboxes on a real engine: reached on loopback, by their own sandbox and by nobody else."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from codexteam.config.settings import NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, Purpose
from codexteam.environment.plan import Service, ServiceCommand
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import SERVICES_LOG, Environment, SetupOrder
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.contract.test_sandbox import SANDBOX_IMAGE, sh
from tests.integration.adapters.sandbox.docker.support import LIMITS, Rig, built, rig

pytestmark = pytest.mark.docker

#: Counts its callers, and says so; is healthy once it has a file, which it writes late.
SERVER = """
import os, socketserver, sys, threading
callers = 0
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        global callers
        callers += 1
        self.request.sendall(f'{os.environ["GREETING"]} {callers}'.encode())
        print("answered", flush=True)
threading.Timer(1.0, lambda: open("/healthy", "w").close()).start()
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
IMAGE = "codexteam-test-service:1"
ASK = (
    "python3 -c \"import socket; s = socket.create_connection(('{}', {}), 5); "
    's.settimeout(5); print(s.recv(99).decode())"'
)
COUNTER = Service(
    "counter",
    IMAGE,
    "ci.yml job test",
    ports=((7777, 7000),),
    environment={"GREETING": "hello"},
    command=("7000",),
    health="test -e /healthy",
)


@pytest.fixture(scope="module")
def service_image() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    program = f"import pathlib; pathlib.Path('/server.py').write_bytes(bytes.fromhex('{SERVER.encode().hex()}'))"
    lines = (f"FROM {SANDBOX_IMAGE}", f'RUN python3 -c "{program}"', 'ENTRYPOINT ["python3", "/server.py"]')
    with built(client, "\n".join(lines), IMAGE):
        yield client
    client.close()


@pytest.fixture
async def found(tmp_path: Path, service_image: docker.DockerClient) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made
        for sandbox in made.started:
            await sandbox.close()
        environments = made.engine.environments
        await environments.remove([each.key for each, _ in await environments.list()])


async def build(
    found: Rig, *services: Service, key: str = "k1", step: str = "", fill: Sequence[ServiceCommand] = ()
) -> Environment:
    agent = AgentKey(found.run_id, "ci_runner", Purpose.CI, f"setup.{key}", 1)
    order = SetupOrder(key, agent, found.base, NetworkPolicy(), LIMITS, services=services)
    sandbox = await found.engine.environments.set_up(order)
    found.started.append(sandbox)
    if step:
        done = await sandbox.run(sh(step))
        assert done.ok, done.output
    made = Environment(key, "the test", 1, 1.0, services=services, service_commands=tuple(fill))
    kept = await sandbox.keep(made)
    await sandbox.close()
    return kept


async def test_a_service_is_reached_on_loopback_by_port_and_by_name(found: Rig) -> None:
    assert (await build(found, COUNTER)).notices == ()
    sandbox = await found.start(environment_key="k1")
    line = "; ".join(ASK.format(*place) for place in (("127.0.0.1", 7777), ("localhost", 7000), ("counter", 7777)))
    asked = await sandbox.run(sh(line))
    # its ports were looked at before, which counted too
    said = asked.output.decode().split()
    assert said[0::2] == ["hello"] * 3, asked.output
    numbers = [int(number) for number in said[1::2]]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


async def test_steps_of_a_set_up_reach_the_services(found: Rig) -> None:
    await build(found, COUNTER, step=f"{ASK.format('counter', 7777)} >/opt/codexteam/said")
    sandbox = await found.start(environment_key="k1")
    assert (await sandbox.run(sh("cat /opt/codexteam/said"))).output.startswith(b"hello")


async def test_every_sandbox_fills_its_services_and_keeps_tracked_files(found: Rig) -> None:
    fill = ServiceCommand(
        f"{ASK.format('counter', 7777)} >$WHERE; echo dump >>a.txt; false", "ci", "", {"WHERE": "/tmp/x"}
    )
    await build(found, COUNTER, fill=[fill, ServiceCommand("echo second", "ci")])
    for _ in range(2):
        sandbox = await found.start(environment_key="k1")
        assert (await sandbox.run(sh("cat /tmp/x"))).output.startswith(b"hello")
        log = (await sandbox.run(sh(f"cat {SERVICES_LOG}"))).output
        assert b"[exit code 1]" in log
        assert b"second" in log
        assert (await sandbox.run(sh("git status --porcelain"))).output == b""
        await sandbox.close()


async def test_two_services_on_one_port_are_reached_where_tests_expect_each(found: Rig) -> None:
    other = replace(COUNTER, name="other", environment={"GREETING": "bye"}, ports=((7778, 7000),))
    kept = await build(found, COUNTER, other)
    assert kept.notices == ()
    sandbox = await found.start(environment_key="k1")
    both = await sandbox.run(sh(f"{ASK.format('counter', 7777)}; {ASK.format('other', 7778)}"))
    assert [word for word in both.output.decode().split() if not word.isdigit()] == ["hello", "bye"]


async def test_a_service_is_ready_before_the_first_command_and_gone_with_it(
    found: Rig, service_image: docker.DockerClient
) -> None:
    await build(found, COUNTER)
    sandbox = await found.start(environment_key="k1")
    beside: dict[str, str | list[str] | bool] = {"label": f"codexteam.beside={sandbox.facts.name}"}
    containers = service_image.containers.list(filters=beside)
    assert len(containers) == 2, "the service, and what forwards its port"
    server = next(each for each in containers if "GREETING=hello" in each.attrs["Config"]["Env"])
    assert server.exec_run(["test", "-e", "/healthy"])[0] == 0
    for each in containers:
        host = each.attrs["HostConfig"]
        assert host["NetworkMode"].startswith("container:")
        assert not host["Privileged"]
        assert (host["Memory"] > 0, host["PidsLimit"] > 0, host["CapDrop"]) == (True, True, ["ALL"])
    await sandbox.close()
    assert service_image.containers.list(all=True, filters=beside) == []


async def test_a_service_has_no_way_out_and_other_sandboxes_no_way_in(
    found: Rig, service_image: docker.DockerClient
) -> None:
    await build(found, COUNTER)
    one, other = await found.start(environment_key="k1"), await found.start(environment_key="k1")
    first = await one.run(sh(ASK.format("127.0.0.1", 7777)))
    second = await other.run(sh(ASK.format("127.0.0.1", 7777)))
    assert first.output == second.output, "each counts its own callers"
    plain = await found.start()
    assert b"refused" in (await plain.run(sh(ASK.format("127.0.0.1", 7777)))).output
    for server in service_image.containers.list(filters={"label": f"codexteam.beside={one.facts.name}"}):
        code, interfaces = server.exec_run(["cat", "/proc/net/dev"])
        assert code == 0
        assert b"eth" not in interfaces
        line = "import socket; socket.create_connection(('1.1.1.1', 53), 3)"
        assert b"unreachable" in server.exec_run(["python3", "-c", line])[1]


async def test_agents_that_only_read_get_no_services(found: Rig, service_image: docker.DockerClient) -> None:
    await build(found, COUNTER)
    agent = AgentKey(found.run_id, "explorer", Purpose.SCOUT, "", 1)
    spec = SandboxSpec(agent, found.base, SandboxMode.READ_ONLY, NetworkPolicy(), LIMITS, environment_key="k1")
    sandbox = await found.engine.start(spec)
    found.started.append(sandbox)
    assert service_image.containers.list(filters={"label": f"codexteam.beside={sandbox.facts.name}"}) == []


async def test_services_come_back_with_a_sandbox_that_is_started_again(
    found: Rig, service_image: docker.DockerClient
) -> None:
    await build(found, COUNTER)
    sandbox = await found.start(environment_key="k1")
    service_image.containers.get(sandbox.facts.name).kill()
    await sandbox.run(Command(("true",)))
    assert (await sandbox.run(sh(ASK.format("counter", 7777)))).output.startswith(b"hello")


async def test_a_service_that_does_not_start_is_named_and_left_out(found: Rig) -> None:
    missing = replace(COUNTER, name="db", image="codexteam-test-none:1", ports=((7900, 7900),))
    broken = replace(COUNTER, name="broken", command=("not-a-port",), ports=((7100, 7100),))
    late = replace(COUNTER, name="late", command=("7200",), ports=((7200, 7200),), health="false", health_retries=2)
    taken = replace(COUNTER, name="taken", command=("7300",), ports=((7000, 7300),))
    kept = await build(found, missing, COUNTER, broken, late, taken)
    assert [each.name for each in kept.services] == ["counter"]
    one, two, three, four = kept.notices
    assert one.startswith("the service db (image codexteam-test-none:1, asked for by ci.yml job test) is left out")
    assert "cannot be pulled" in one
    assert "exit code 1" in two
    assert "invalid literal" in two
    assert "takes too long" in three
    assert "another service listens where tests expect it: 7000" in four
    sandbox = await found.start(environment_key="k1")
    assert (await sandbox.run(sh(ASK.format("counter", 7777)))).output.startswith(b"hello")


async def test_a_service_that_fails_later_is_an_error_that_names_it(
    found: Rig, service_image: docker.DockerClient
) -> None:
    await build(found, COUNTER)
    program = 'FROM {}\nENTRYPOINT ["sh", "-c", "echo out of order; exit 7"]'
    with built(service_image, program.format(SANDBOX_IMAGE), IMAGE + "-broken"):
        original = service_image.images.get(IMAGE)
        service_image.images.get(IMAGE + "-broken").tag(*IMAGE.split(":"))
        try:
            with pytest.raises(SandboxUnavailable, match=r"counter .*exit code 7: out of order"):
                await found.start(environment_key="k1")
        finally:
            original.tag(*IMAGE.split(":"))
    left = service_image.containers.list(all=True, filters={"label": f"codexteam.run={found.run_id}"})
    assert [each.name for each in left if "slots" not in str(each.name)] == []


async def test_a_killed_processes_services_are_swept_but_not_a_kept_sandboxes(
    found: Rig, service_image: docker.DockerClient
) -> None:
    await build(found, COUNTER)
    sandbox = await found.start(environment_key="k1")
    label: dict[str, str | list[str] | bool] = {"label": f"codexteam.beside={sandbox.facts.name}"}
    await found.engine.sweep(found.run_id, keep=[found.agent(len(found.started))])
    assert len(service_image.containers.list(filters=label)) == 2
    await found.engine.sweep(found.run_id)
    assert service_image.containers.list(all=True, filters=label) == []
    async with asyncio.timeout(30):
        await sandbox.close()
