"""What is the Docker engine's own of environments: what an image holds, who may write what, and the pool."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from codexteam.config.settings import EngineSettings, NetworkKind, NetworkPolicy, SandboxLimits
from codexteam.core.ids import AgentKey, Purpose
from codexteam.environment.plan import CACHE, HOME
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder, SetupSandbox
from tests.contract.test_sandbox import SANDBOX_IMAGE, sh
from tests.faults.own_engine import client_of, own_engine, problem
from tests.integration.adapters.sandbox.docker.support import LIMITS, Rig, built, rig

pytestmark = pytest.mark.docker

MOUNT = (
    "python3 -c \"import ctypes; c = ctypes.CDLL(None, use_errno=True); c.mount(b'x', b'/mnt', b'tmpfs', 0, None); "
    "print('errno', ctypes.get_errno())\""
)


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture
async def found(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made
        await clear(made)


async def clear(found: Rig) -> None:
    for sandbox in found.started:
        await sandbox.close()
    environments = found.engine.environments
    await environments.remove([each.key for each, _ in await environments.list()])


def order_of(found: Rig, key: str = "k1", **more: object) -> SetupOrder:
    agent = AgentKey(found.run_id, "ci_runner", Purpose.CI, f"setup.{key}", 1)
    return replace(SetupOrder(key, agent, found.base, NetworkPolicy(), LIMITS), **more)  # type: ignore[arg-type]


async def set_up(found: Rig, key: str = "k1", **more: object) -> SetupSandbox:
    sandbox = await found.engine.environments.set_up(order_of(found, key, **more))
    found.started.append(sandbox)
    return sandbox


async def build(found: Rig, line: str, key: str = "k1", **more: object) -> None:
    sandbox = await set_up(found, key, **more)
    done = await sandbox.run(sh(line))
    assert done.ok, done.output
    await sandbox.keep(Environment(key, "the test", 1, 1.0))
    await sandbox.close()


async def test_an_image_holds_what_was_set_up_and_no_secret_cache_or_checkout(
    found: Rig, client: docker.DockerClient, tmp_path: Path
) -> None:
    certificate = tmp_path / "user-ca.pem"
    certificate.write_text("canary-certificate")
    line = (
        f"cat /run/secrets/token && echo tool >{HOME}/tool && echo canary-cached >{CACHE}/x && echo canary-tmp >/tmp/x && "
        "echo package >/usr/package"
    )
    await build(
        found, line, secrets={"token": "canary-secret"}, variables={"A": "canary-variable"}, folders=(certificate,)
    )
    (image,) = client.images.list(filters={"label": ["codexteam.what=environment", f"codexteam.owner={tmp_path}"]})
    everything = b"".join(image.save())
    assert b"canary" not in everything
    assert b"canary" not in f"{image.attrs} {image.history()}".encode()
    assert everything.count(b"package\n") >= 1
    listed = client.containers.run(
        str(image.id), ["sh", "-c", "ls -A /work /tmp; cat /opt/codexteam/tool"], remove=True
    )
    assert listed == b"/tmp:\n\n/work:\ntool\n"


async def test_system_packages_programs_and_variables_of_the_image_are_there(found: Rig) -> None:
    await build(found, "echo system >/etc/installed && install -m 4755 /bin/true /usr/bin/rights")
    agent = await found.start(environment_key="k1")
    seen = await agent.run(
        sh("cat /etc/installed; id -u; echo x >>/etc/installed; grep -c NoNewPrivs.*1 /proc/self/status")
    )
    assert seen.output.startswith(b"system\n10001\n"), seen.output
    assert seen.output.endswith(b"\n1\n")


async def test_a_set_up_runs_as_root_without_reaching_beyond_its_container(
    found: Rig, client: docker.DockerClient
) -> None:
    sandbox = await set_up(found)
    assert sandbox.has_root
    looked = await sandbox.run(sh(f"id -u; ls /var/run/docker.sock; {MOUNT}; cat /proc/net/dev | tail -n +3"))
    assert looked.output.startswith(b"0\n")
    assert b"No such file" in looked.output
    assert b"errno 1" in looked.output
    assert looked.output.count(b":") >= 1
    assert b"eth0" not in looked.output
    host = client.containers.get(sandbox.facts.name).attrs["HostConfig"]
    assert (host["Privileged"], host["Binds"], host["CapDrop"]) == (False, None, ["ALL"])
    assert all(mount["Type"] == "volume" for mount in host["Mounts"])


async def test_steps_run_as_the_user_of_the_order(tmp_path: Path, client: docker.DockerClient) -> None:
    dockerfile = f"FROM {SANDBOX_IMAGE}\nRUN echo dev:x:1234:1234::/home/dev:/bin/sh >>/etc/passwd"
    with built(client, dockerfile, "codexteam-test-user:1"):
        async with rig(tmp_path, image="codexteam-test-user:1") as found:
            sandbox = await set_up(found, user="dev")
            assert not sandbox.has_root
            line = f"id -u; echo x >{HOME}/x; echo y >new; umask 077; echo z >{HOME}/private; git status --short; touch /etc/x"
            seen = await sandbox.run(sh(line))
            assert seen.output == b"1234\n?? new\ntouch: cannot touch '/etc/x': Permission denied\n", seen.output
            await sandbox.keep(Environment("k1", "the test", 1, 1.0))
            agent = await found.start(environment_key="k1")
            assert (await agent.run(sh(f"cat new {HOME}/private; git status --short"))).output == b"y\nz\n"
            with pytest.raises(SandboxUnavailable, match="nobody-such"):
                await set_up(found, "k2", user="nobody-such")
            await clear(found)


async def test_a_set_up_asks_the_hosts_of_its_order_through_the_proxy_alone(found: Rig, settled: None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\npackages")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network = NetworkPolicy(NetworkKind.ALLOWLIST, (f"127.0.0.1:{port}",))
    sandbox = await set_up(found, network=network)
    ask = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read())"
    asked = await sandbox.run(sh(f'python3 -c "{ask}" http://127.0.0.1:{port}/'))
    assert asked.output == b"b'packages'\n", asked.output
    refused = await sandbox.run(sh(f'python3 -c "{ask}" http://127.0.0.1:{port + 1}/'))
    assert b"403" in refused.output
    around = await sandbox.run(sh(f'no_proxy=* python3 -c "{ask}" http://127.0.0.1:{port}/'))
    assert b"refused" in around.output
    assert [(each["host"], each["port"]) for each in found.denials] == [("127.0.0.1", port + 1)]
    await sandbox.close()
    server.close()


@pytest.mark.timeout(300)
async def test_a_set_up_that_fills_the_disk_is_ended(found: Rig) -> None:
    limits = SandboxLimits(memory_bytes=1 << 30, workspace_bytes=64 << 20)
    sandbox = await set_up(found, limits=limits)
    done = await sandbox.run(sh("head -c 200M /dev/zero >/opt/codexteam/big; sync; sleep 600"))
    assert not done.ok
    assert "64 MiB" in done.note


async def test_what_a_killed_process_left_of_a_set_up_is_replaced_and_swept(
    found: Rig, client: docker.DockerClient
) -> None:
    first = await set_up(found)
    await first.run(sh(f"echo half >{HOME}/half"))
    name = first.facts.name
    client.containers.get(name).kill()
    again = await set_up(found)
    assert (await again.run(sh(f"ls {HOME}"))).output == b"bin\n"
    assert await found.engine.sweep(None) == [], "it is at work"
    client.containers.get(name).kill()
    removed = await found.engine.sweep(found.run_id)
    assert name in removed
    volumes = client.volumes.list(filters={"label": [f"codexteam.owner={found.folder}", "codexteam.what=setup"]})
    assert volumes == []


async def test_removing_an_environment_removes_its_image_checkouts_and_caches(
    found: Rig, client: docker.DockerClient
) -> None:
    await build(found, f"echo x >{CACHE}/x; echo y >new")
    sandbox = await found.start(environment_key="k1")
    await sandbox.close()
    assert await found.engine.environments.remove(["k1"]) == ["k1"]
    ours = {"label": f"codexteam.owner={found.folder}"}
    assert client.images.list(filters=ours) == []
    left = [volume.attrs["Labels"] for volume in client.volumes.list(filters=ours)]
    assert [marks["codexteam.what"] for marks in left if marks.get("codexteam.key")] == []
    assert "cache" not in [marks["codexteam.what"] for marks in left]


async def test_another_repository_has_its_own_environment_of_the_same_key(found: Rig, tmp_path: Path) -> None:
    await build(found, f"echo x >{HOME}/x")
    async with rig(tmp_path / "other") as other:
        assert await other.engine.environments.find("k1") is None
        with pytest.raises(SandboxUnavailable, match="k1"):
            await other.start(environment_key="k1")


async def test_every_engine_of_a_pool_has_the_environment(tmp_path: Path) -> None:
    engines = (EngineSettings("one", slots=1), EngineSettings("two", slots=1))
    async with rig(tmp_path, engines=engines) as found:
        await build(found, f"echo x >{HOME}/x")
        for _ in engines:
            sandbox = await found.start(environment_key="k1")
            assert (await sandbox.run(sh(f"cat {HOME}/x"))).output == b"x\n"
        await clear(found)
        assert list(await found.engine.environments.list()) == []


async def test_an_environment_survives_the_process_and_is_found_by_the_next(found: Rig) -> None:
    await build(found, "echo made >made.txt")
    again = type(found)(found.folder, found.settings, os.environ)
    kept = await again.engine.environments.find("k1")
    assert kept is not None
    sandbox = await again.start(environment_key="k1")
    assert (await sandbox.run(sh("cat made.txt"))).output == b"made\n"
    await sandbox.close()
    await again.engine.close()


@pytest.mark.slow
@pytest.mark.skipif(bool(problem()), reason=problem())
async def test_an_environment_is_brought_to_an_engine_that_has_it_not(tmp_path: Path) -> None:
    with own_engine(tmp_path / "engine") as far:
        engines = (EngineSettings("near", slots=1), EngineSettings("far", host=far.host, slots=1))
        async with rig(tmp_path, engines=engines) as found:
            await build(found, f"echo x >{HOME}/x; echo y >made.txt")
            for _ in engines:  # one slot each
                sandbox = await found.start(environment_key="k1")
                assert (await sandbox.run(sh(f"cat {HOME}/x made.txt"))).output == b"x\ny\n"
            with client_of(far.host) as client:
                assert [name for image in client.images.list() for name in image.tags if "environment" in name]
            await clear(found)
            assert list(await found.engine.environments.list()) == []


@pytest.mark.slow
@pytest.mark.skipif(bool(problem()), reason=problem())
async def test_an_environment_does_not_die_with_the_host_that_made_it(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    ours: dict[str, str | list[str] | bool] = {"label": ["codexteam.what=environment", f"codexteam.owner={tmp_path}"]}
    with own_engine(tmp_path / "engine") as far:
        engines = (EngineSettings("far", host=far.host, slots=1), EngineSettings("near", slots=1))
        async with rig(tmp_path, engines=engines) as found:
            await build(found, f"echo x >{HOME}/x")
            assert [made for made, _ in await found.engine.environments.list()]
            async with asyncio.timeout(120):  # nobody waits for the copy
                while not client.images.list(filters=ours):
                    await asyncio.sleep(0.1)
            far.die()
            sandbox = await found.start(environment_key="k1")
            assert sandbox.facts.host == "near"
            assert (await sandbox.run(sh(f"cat {HOME}/x"))).output == b"x\n"
        # of a pool of which one is dead nothing is removed
        for image in client.images.list(filters=ours):
            client.images.remove(str(image.id), force=True)


async def test_a_large_folder_of_packages_is_mounted_and_not_copied(
    found: Rig, client: docker.DockerClient, tmp_path: Path
) -> None:
    def index(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "index.html").write_text("index\n")
        with (folder / "big.whl").open("wb") as file:
            file.truncate(40 << 20)
        return folder

    plain, leading_out, private = index("plain"), index("leading out"), index("private")
    (leading_out / "hosts").symlink_to("/etc/hosts")
    (private / "index.html").chmod(0o600)
    tmp_path.chmod(0o755)

    sandbox = await set_up(found, folders=(plain, leading_out, private))

    (container,) = client.containers.list(filters={"label": f"codexteam.owner={tmp_path}"})
    kinds = {mount["Destination"]: (mount["Type"], mount["RW"]) for mount in container.attrs["Mounts"]}
    assert [kinds[str(folder)] for folder in (plain, leading_out, private)] == [
        ("bind", False),
        ("volume", False),
        ("volume", False),
    ]
    seen = await sandbox.run(sh(f"cat '{plain}/index.html' '{private}/index.html'; echo x >>'{plain}/index.html'"))
    assert seen.output.startswith(b"index\nindex\n"), seen.output
    assert (plain / "index.html").read_text() == "index\n"
