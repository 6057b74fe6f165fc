"""What is docker's own: confinement as the engine sees it, loss and leftovers, quotas, images."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from codexteam.adapters.sandbox.docker.containers import MARK, sweep
from codexteam.config.settings import EngineSettings, NetworkKind, NetworkPolicy, SandboxMode
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.sandbox import Command
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.integration.adapters.sandbox.docker.support import LIMITS, Rig, built, rig

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    found = docker.from_env()
    yield found
    found.close()


def sh(line: str, **more: object) -> Command:
    return Command(("bash", "-c", line), **more)  # type: ignore[arg-type]  # as given


async def test_the_engine_confirms_what_was_asked(tmp_path: Path, client: docker.DockerClient) -> None:
    environment = {**os.environ, "OPENAI_API_KEY": "canary-secret"}
    async with rig(tmp_path, environment=environment) as found:
        sandbox = await found.start()
        facts = client.api.inspect_container(sandbox.facts.name)
        host, config = facts["HostConfig"], facts["Config"]
        assert "canary-secret" not in str(facts)
        assert not host["Binds"]
        assert not host["Devices"]
        assert {mount["Type"] for mount in facts["Mounts"]} == {"volume"}
        writable = {mount["Destination"] for mount in facts["Mounts"] if mount["RW"]}
        assert writable == {"/work", "/run/codexteam/private"}
        assert host["NetworkMode"] == "none"
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["ReadonlyRootfs"]
        assert host["Memory"] == host["MemorySwap"] == LIMITS.memory_bytes
        assert host["PidsLimit"] == LIMITS.max_processes
        assert host["NanoCpus"] == int(LIMITS.cpus * 1e9)
        assert host["IpcMode"] == "private"
        assert host["LogConfig"]["Type"] == "none"
        assert not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert config["User"] == "10001:10001"
        assert config["Healthcheck"] == {"Test": ["NONE"]}
        labels = config["Labels"]
        assert (labels["codexteam.run"], labels["codexteam.task"], labels["codexteam.attempt"]) == (
            found.run_id,
            "T1",
            "1",
        )
        assert sandbox.facts.unlimited == ()


async def test_full_access_is_root_in_the_container_and_no_further(tmp_path: Path, client: docker.DockerClient) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start(mode=SandboxMode.DANGER_FULL_ACCESS, network=NetworkPolicy(NetworkKind.OPEN))
        host = client.api.inspect_container(sandbox.facts.name)["HostConfig"]
        assert (host["CapDrop"], host["ReadonlyRootfs"], host["Privileged"]) == (["ALL"], True, False)
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert not host["Binds"]
        done = await sandbox.run(
            sh("id -u && git status --short && echo new > new.txt && chown 1:1 new.txt && stat -c %u new.txt")
        )
        assert (done.exit_code, done.output) == (0, b"0\n1\n"), done.output
        refused = await sandbox.run(sh("mount -t tmpfs none /mnt || mknod /tmp/disk b 8 0 || touch /usr/mine"))
        assert refused.exit_code != 0
        snapshot = await sandbox.snapshot(tmp_path / "snapshot")
        assert snapshot is not None
        again = await found.start(mode=SandboxMode.DANGER_FULL_ACCESS, restore=snapshot)
        done = await again.run(sh("git status --short && cat new.txt"))
        assert (done.exit_code, done.output) == (0, b"?? new.txt\nnew\n"), done.output


HOSTILE = f"""FROM {SANDBOX_IMAGE}
ENV LD_PRELOAD=/evil.so OPENAI_BASE_URL=http://evil.test BASH_ENV=/evil.sh PYTHONPATH=/evil MY_TOKEN=x GOPATH=/go
VOLUME /data
HEALTHCHECK CMD touch /tmp/healthy
ENTRYPOINT ["/bin/false"]
USER root
"""


async def test_a_hostile_images_configuration_does_not_count(tmp_path: Path, client: docker.DockerClient) -> None:
    with built(client, HOSTILE, f"codexteam-hostile:{os.getpid()}") as tag:
        async with rig(tmp_path, image=tag) as found:
            sandbox = await found.start()
            result = await sandbox.run(sh("id -u; env | sort; df -k --output=size /data | tail -1"))
            lines = result.output.decode().split()
            assert lines[0] == "10001"
            assert "GOPATH=/go" in lines
            assert not [line for line in lines if line.startswith(("LD_", "OPENAI", "BASH_ENV", "PYTHONPATH", "MY_"))]
            assert int(lines[-1]) <= 64
            server = client.api.inspect_container(sandbox.facts.name)["Config"]["Env"]
            assert {entry for entry in server if "=" in entry} == {
                entry for entry in server if entry[:4] in ("PATH", "LANG")
            }


async def test_a_layer_is_a_quota_and_the_base_stays_as_it_is(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        limits = replace(LIMITS, workspace_bytes=32 << 20, workspace_files=500)
        first, second = await asyncio.gather(
            found.start(agent=found.agent(1), limits=limits), found.start(agent=found.agent(2), limits=limits)
        )
        filled = await first.run(sh("head -c 64m /dev/zero >big; ls -l big | cut -d' ' -f5; rm big; echo x >a.txt"))
        assert b"No space left" in filled.output
        many = await first.run(sh("for i in $(seq 1000); do echo >f$i || exit 9; done"))
        assert many.exit_code == 9
        assert await second.read_file("a.txt", limit_bytes=10) == b"one\n"
        direct = await first.run(
            sh("echo x >/run/codexteam/base/tree/a.txt; echo y >/run/codexteam/base/x; echo z >/x")
        )
        assert direct.output.count(b"Read-only") == 3


async def test_memory_out_ends_the_command_and_not_the_sandbox(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start(limits=replace(LIMITS, memory_bytes=400 << 20))
        result = await sandbox.run(Command(("python3", "-c", "x = bytearray(1 << 30)")))
        assert result.signal == signal.SIGKILL
        assert (await sandbox.run(sh("echo on"))).output == b"on\n"


async def test_a_container_killed_from_outside_goes_on_with_its_files(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start()
        await sandbox.run(sh("echo kept >kept"))
        running = asyncio.create_task(sandbox.run(sh("sleep 600")))
        while b"sleep" not in (await sandbox.run(sh("cat /proc/[0-9]*/comm"))).output:
            pass
        client.api.kill(sandbox.facts.name)
        result = await running
        assert (result.exit_code, result.timed_out) == (None, False)
        assert "unknown" in result.note
        assert (await sandbox.run(sh("cat kept"))).output == b"kept\n"
        assert await sandbox.snapshot(tmp_path / "work.pack") is not None


async def test_a_container_removed_from_outside_is_lost(tmp_path: Path, client: docker.DockerClient) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start()
        client.api.remove_container(sandbox.facts.name, force=True)
        with pytest.raises(SandboxLost, match="gone"):
            await sandbox.run(sh("true"))
        await sandbox.close()


async def test_the_same_name_twice_replaces_the_first(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        first = await found.start()
        await first.run(sh("echo x >left"))
        again = await found.start(agent=found.agent(1))
        assert again.facts.name == first.facts.name
        assert await again.read_file("left", limit_bytes=10) is None


async def test_a_sweep_takes_a_runs_leftovers_and_nothing_else(tmp_path: Path, client: docker.DockerClient) -> None:
    name = f"bystander-{os.getpid()}"
    bystander = client.containers.create(SANDBOX_IMAGE, ["sleep", "60"], name=name, network_mode="none")
    volume = client.volumes.create(name, labels={"codexteam": "1", "codexteam.owner": "somebody else"})
    try:
        async with rig(tmp_path) as found:
            kept, gone = await found.start(), await found.start()
            node = found.engine._nodes[0]
            removed = await sweep(node.client, node.owner, found.run_id, [found.agent(1)])
            assert removed[0] == gone.facts.name
            assert all(entry.startswith(gone.facts.name) for entry in removed)
            assert (await kept.run(sh("cat a.txt"))).output == b"one\n"
            assert await found.engine.sweep("another-run") == []
            assert kept.facts.name in await found.engine.sweep(found.run_id)
            assert await found.engine.sweep(found.run_id) == []
        assert not client.containers.list(all=True, filters={"label": f"codexteam.owner={tmp_path}"})
        assert not client.volumes.list(filters={"label": f"codexteam.owner={tmp_path}"})
        bystander.reload()
        volume.reload()
    finally:
        bystander.remove(force=True)
        volume.remove()


_ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from tests.integration.adapters.sandbox.docker.support import rig
async def main():
    async with rig(Path(sys.argv[1])) as found:
        sandbox = await found.start()
        print(sandbox.facts.name, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_checkout_given_up_at_any_moment_leaves_nothing_half_made(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    async with rig(tmp_path) as found:
        owned: dict[str, str | list[str] | bool] = {"label": f"codexteam.owner={tmp_path}"}
        whole = 0
        for hundredths in range(0, 60, 8):
            making = asyncio.create_task(found.engine.prepare(found.base))
            await asyncio.wait([making], timeout=hundredths / 100)
            whole += making.done()
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await making
            assert client.containers.list(all=True, filters=owned) == [], hundredths
            names = [str(volume.name) for volume in client.volumes.list(filters=owned)]
            # one that is marked is whole: it was finished as it was given up
            assert whole or names == [] or any(name.endswith(MARK) for name in names), hundredths
        assert (await (await found.start()).run(sh("cat a.txt"))).output == b"one\n"


async def test_a_checkout_without_its_mark_is_made_anew(tmp_path: Path, client: docker.DockerClient) -> None:
    owned: dict[str, str | list[str] | bool] = {"label": f"codexteam.owner={tmp_path}"}
    async with rig(tmp_path) as found:
        await found.engine.prepare(found.base)
        base, mark = sorted(client.volumes.list(filters=owned), key=lambda volume: str(volume.name))
        assert str(mark.name).startswith(str(base.name))
        # as a process leaves them that is killed before it had filled one
        marks = base.attrs["Labels"]
        for volume in (mark, base):
            volume.remove()
        client.volumes.create(str(base.name), labels=marks)
        again = Rig(tmp_path, found.settings, os.environ)
        sandbox = await again.start()
        assert (await sandbox.run(sh("cat a.txt"))).output == b"one\n"
        await sandbox.close()
        await again.engine.close()
        assert str(base.name) in await found.engine.sweep(None)
        assert client.volumes.list(filters=owned) == []


async def test_what_a_killed_codexteam_left_ends_by_itself_and_is_swept(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ORPHAN, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[5]
    )
    assert process.stdout is not None
    name = (await process.stdout.readline()).decode().strip()
    container = await asyncio.to_thread(client.containers.get, name)
    process.kill()
    await process.wait()
    await asyncio.to_thread(container.wait, timeout=100)  # its input ended, and so did it
    async with rig(tmp_path) as found:
        removed = await found.engine.sweep(None)
        assert name in removed
        assert not client.volumes.list(filters={"label": f"codexteam.owner={tmp_path}"})


async def test_without_layers_the_checkout_is_copied(tmp_path: Path) -> None:
    async with rig(tmp_path, layers=False) as found:
        sandbox = await found.start()
        assert (await sandbox.run(sh("cat a.txt; git status --short; echo new >new"))).output == b"one\n"
        shot = await sandbox.snapshot(tmp_path / "work.pack")
        assert shot is not None
        again = await found.start(restore=shot)
        assert await again.read_file("new", limit_bytes=10) == b"new\n"
        quota = await sandbox.run(sh("df -k --output=size /work | tail -1"))
        assert int(quota.output) <= LIMITS.memory_bytes >> 10


async def test_a_pool_starts_where_there_is_room_and_waits_when_there_is_none(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    engines = (EngineSettings("one", slots=1), EngineSettings("two", host="unix:///var/run/docker.sock", slots=1))
    async with rig(tmp_path, engines=engines) as found:
        await found.engine.prepare(found.base)
        first, _second = await asyncio.gather(found.start(agent=found.agent(1)), found.start(agent=found.agent(2)))
        waiting = asyncio.create_task(found.start(agent=found.agent(3)))
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
        await first.close()
        third = await waiting
        assert (await third.run(sh("cat a.txt"))).output == b"one\n"


async def test_an_engine_of_the_pool_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    engines = (EngineSettings("here"), EngineSettings("gone", host="tcp://127.0.0.1:9", slots=100))
    async with rig(tmp_path, engines=engines) as found:
        said: list[str] = []
        await found.engine.prepare(found.base, on_progress=said.append)
        assert any("gone is left out" in line for line in said)
        assert (await (await found.start()).run(sh("true"))).ok
        report = await found.engine.check()
        assert report.usable
        assert "gone" in report.problem


async def test_no_engine_says_where_it_was_looked_for(tmp_path: Path) -> None:
    engines = (EngineSettings("gone", host="tcp://127.0.0.1:9"),)
    async with rig(tmp_path) as ours:
        found = type(ours)(tmp_path, replace(ours.settings, engines=engines), os.environ)
        report = await found.engine.check()
        assert not report.usable
        assert "tcp://127.0.0.1:9" in report.problem
        with pytest.raises(SandboxUnavailable, match="no Docker engine answers"):
            await found.engine.prepare(found.base)
        await found.engine.close()


async def test_an_allowlist_is_reached_through_the_proxy_alone(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = NetworkPolicy(NetworkKind.ALLOWLIST, (f"localhost:{port}",))
    probe = (
        "import sys, urllib.request, urllib.error\n"
        "try: print(urllib.request.build_opener(urllib.request.ProxyHandler({'http': 'http://127.0.0.1:3128'}))"
        ".open(sys.argv[1]).read())\n"
        "except urllib.error.HTTPError as error: print(error.code, error.read().decode())"
    )
    async with server, rig(tmp_path) as found:
        sandbox = await found.start(network=policy)

        async def ask(url: str) -> bytes:
            all_hosts = {"no_proxy": "", "NO_PROXY": ""}
            command = Command(("python3", "-c", probe, url), timeout_seconds=60, environment=all_hosts)
            return (await sandbox.run(command)).output

        assert await ask(f"http://localhost:{port}/") == b"b'yes'\n"
        denied = await ask("http://example.org/")
        assert denied.startswith(b"403 codexteam: example.org:80 cannot be reached")
        assert [(each["host"], each["agent"]) for each in found.denials] == [("example.org", str(found.agent(1)))]
        around = await sandbox.run(sh(f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat /proc/net/dev; env | grep -i proxy"))
        assert b"Connection refused" in around.output
        assert b"eth0" not in around.output
        assert b"HTTPS_PROXY=http://127.0.0.1:3128" in around.output
        await sandbox.run(sh("kill -9 -1; sleep 1", timeout_seconds=5))
        async with asyncio.timeout(60):
            while await ask(f"http://localhost:{port}/") != b"b'yes'\n":
                pass  # the relay went with them, and is started again


async def test_what_the_choice_of_the_image_passed_over_is_told_once(tmp_path: Path) -> None:
    described = f'{{"image": "{SANDBOX_IMAGE}", "features": {{"x": {{}}}}}}'
    files: dict[str | bytes, bytes | str] = {".devcontainer/devcontainer.json": described}
    async with rig(tmp_path, image=None, files=files) as found:
        said: list[str] = []
        for _ in range(2):
            await found.engine.prepare(found.base, on_progress=said.append)
        assert said.count(".devcontainer/devcontainer.json: features not used") == 1
        assert found.engine.notices == (".devcontainer/devcontainer.json: features not used",)


async def test_an_image_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    async with rig(tmp_path, image="127.0.0.1:9/no/such:image") as found:
        said: list[str] = []
        with pytest.raises(SandboxUnavailable, match="cannot be pulled") as raised:
            await found.engine.prepare(found.base, on_progress=said.append)
        assert "docker pull" in raised.value.hint
        assert any("pulling 127.0.0.1:9/no/such:image" in line for line in said)


async def test_an_image_without_python_is_refused(tmp_path: Path, client: docker.DockerClient) -> None:
    text = f"FROM {SANDBOX_IMAGE}\nRUN rm -f /usr/bin/python3*\n"
    with built(client, text, f"codexteam-bare:{os.getpid()}") as tag:
        async with rig(tmp_path, image=tag) as found:
            with pytest.raises(SandboxUnavailable, match="could not be made") as raised:
                await found.engine.prepare(found.base)
            assert "python3 (3.7 or later) and git" in raised.value.hint
        assert not client.containers.list(all=True, filters={"label": f"codexteam.owner={tmp_path}"})
        assert not client.volumes.list(filters={"label": f"codexteam.owner={tmp_path}"})


async def test_a_dockerfile_is_built_from_the_commit_once(tmp_path: Path, client: docker.DockerClient) -> None:
    files: dict[str | bytes, bytes | str] = {
        "docker/Dockerfile": f"FROM {SANDBOX_IMAGE}\nCOPY tool /opt/tool\n".encode(),
        "tool": b"from the commit\n",
    }
    async with rig(tmp_path, image=None, dockerfile="docker/Dockerfile", files=files) as found:
        (tmp_path / "repository" / "tool").write_text("from the work tree\n")
        said: list[str] = []
        await found.engine.prepare(found.base, on_progress=said.append)
        try:
            sandbox = await found.start()
            assert (await sandbox.run(sh("cat /opt/tool"))).output == b"from the commit\n"
            assert any("COPY tool" in line for line in said)
        finally:
            await sandbox.close()
            await found.engine.sweep(None)
            for image in client.images.list(filters={"label": f"codexteam.owner={tmp_path}"}):
                client.images.remove(str(image.id), force=True)


async def test_a_read_only_sandbox_shows_a_read_only_mount(tmp_path: Path, client: docker.DockerClient) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start(mode=SandboxMode.READ_ONLY)
        mounts = client.api.inspect_container(sandbox.facts.name)["Mounts"]
        assert [mount["RW"] for mount in mounts if mount["Destination"] == "/work"] == [False]
