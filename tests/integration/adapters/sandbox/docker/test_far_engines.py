"""Engines that are not on this machine: plain TCP, TLS with client certificates, ssh; nothing shares a path with them.

The far engine is this machine's own behind a relay, and `ssh` is a program that only continues to `docker`.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.docker.client import EngineClient
from codexteam.adapters.sandbox.docker.remote import Doorway
from codexteam.config.settings import EngineSettings
from codexteam.errors import HostLost, SandboxLost, SandboxUnavailable
from codexteam.ports.sandbox import PROGRAMS, Command
from tests.integration.adapters.sandbox.docker.support import Rig, rig
from tests.support_cancelling import stop_at_each_step
from tests.support_sshd import problem as ssh_problem
from tests.support_sshd import ssh_server

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("settled")]

SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Relay:
    """The engine, reachable over TCP."""

    url: str
    carried: set[asyncio.StreamWriter]
    """What it carries at the moment, to break it."""
    carries: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, nothing passes and nobody is told, as where packets are dropped."""


@contextlib.asynccontextmanager
async def relay(
    context: ssl.SSLContext | None = None, port: int = 0, *, lacks: bytes | None = None
) -> AsyncIterator[Relay]:
    """Have one for as long as the block lasts; port 0 is any that is free. Its machine has no folder named `lacks`."""
    carried: set[asyncio.StreamWriter] = set()
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: bytes, instead: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await way.carries.wait()
                writer.write(data.replace(name, instead) if name else data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        task.add_done_callback(carrying.discard)
        far_reader, far_writer = await asyncio.open_unix_connection(SOCKET)
        carried.update((writer, far_writer))
        name, instead = lacks or b"", (lacks or b"")[::-1]
        await asyncio.gather(carry(reader, far_writer, name, instead), carry(far_reader, writer, instead, name))
        carried.difference_update((writer, far_writer))

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=context)
    way = Relay(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", carried)
    way.carries.set()
    try:
        yield way
    finally:
        server.close()
        way.carries.set()
        for writer in carried:  # a client may keep a connection for its next request
            writer.transport.abort()
        await asyncio.gather(*carrying, return_exceptions=True)


def make_certificates(folder: Path) -> None:
    """A certificate authority, and by it a server's and a client's certificate, named as docker names them."""

    def openssl(*argv: str) -> None:
        subprocess.run(("openssl", *argv), cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl("req", "-x509", *key, "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, prefix in (("server", "server-"), ("client", "")):
        openssl("req", *key, f"{prefix}key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        by = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *by, "-out", f"{prefix}cert.pem")


async def use(found: Rig) -> None:
    """What shows that an engine can be used."""
    await found.engine.prepare(found.base)
    sandbox = await found.start()
    result = await sandbox.run(Command(("bash", "-c", "cat a.txt; head -c 3000000 /dev/zero | tee new | wc -c")))
    assert result.output == b"one\n3000000\n"
    big = await sandbox.read_file("new", limit_bytes=4_000_000)
    assert big == bytes(3_000_000)
    shot = await sandbox.snapshot(found.folder / "work.pack")
    assert shot is not None
    again = await found.start(restore=shot)
    assert await again.read_file("new", limit_bytes=4_000_000) == big


async def test_a_doorway_that_is_stopped_while_it_opens_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        monkeypatch.setattr(tempfile, "tempdir", folder)

        async def nothing_left(where: str) -> None:
            assert not list(Path(folder).iterdir()), where

        door = await stop_at_each_step(lambda: Doorway.open("tcp://127.0.0.1:1", None, {}), nothing_left)
        assert isinstance(door, Doorway)
        await door.close()
        await nothing_left("closed")


async def test_an_engine_over_tcp(tmp_path: Path) -> None:
    async with relay() as way, rig(tmp_path, engines=(EngineSettings("far", host=way.url),)) as found:
        await use(found)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_an_engine_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    await asyncio.to_thread(make_certificates, certificates)
    # for the web, and without the engine's authority: it must not count here
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    async with relay(context) as way:
        host = way.url
        engine = EngineSettings("far", host=host, cert_path=certificates, tls_verify=True)
        async with rig(tmp_path, engines=(engine,)) as found:
            await use(found)
        environment = {**os.environ, "DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1"}
        named = EngineClient(EngineSettings("named"), {**environment, "DOCKER_CERT_PATH": str(certificates)})
        assert await named.call((await named.connect()).ping)
        await named.close()
        unknown = EngineClient(EngineSettings("unknown", host=host, tls_verify=True), os.environ)
        with pytest.raises(SandboxUnavailable, match="certificate"):
            await unknown.connect()
        await unknown.close()


@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command is not installed")
async def test_an_engine_over_ssh(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script = f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec "$@"\n'
    (programs / "ssh").write_text(script)
    (programs / "ssh").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    engine = EngineSettings("far", host="ssh://somebody@far.example:2222")
    async with rig(tmp_path, engines=(engine,), environment=environment) as found:
        await use(found)
    asked = (tmp_path / "asked").read_text().splitlines()[0]
    assert asked.startswith("-l somebody -p 2222 ")
    assert asked.endswith("-- far.example docker system dial-stdio")


@pytest.mark.slow
@pytest.mark.skipif(bool(ssh_problem()), reason=ssh_problem())
async def test_a_host_behind_a_real_ssh_server_is_lost_and_found_again(tmp_path: Path) -> None:
    with ssh_server(tmp_path / "ssh") as server:
        engines = (EngineSettings("far", host=server.host, slots=8), EngineSettings("near", slots=2))
        async with rig(tmp_path, engines=engines, environment=server.environment) as found:
            await use(found)
            assert [sandbox.facts.host for sandbox in found.started] == ["far", "far"]
            assert server.connections < 15, "many requests have few sessions"
            server.stop()
            with pytest.raises(HostLost, match="host far, where .* was, does not answer"):
                await found.started[0].run(Command(("true",)))
            elsewhere = await found.start()
            assert elsewhere.facts.host == "near"
            server.start()
            async with asyncio.timeout(60):  # it is looked at again after 1, 2, 4, ... seconds
                while (await found.start()).facts.host != "far":
                    await found.started.pop().close()


async def test_an_engine_named_by_a_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with relay() as way:
        host = way.url
        folder = tmp_path / "docker" / "contexts" / "meta" / hashlib.sha256(b"away").hexdigest()
        folder.mkdir(parents=True)
        meta = {"Name": "away", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
        (folder / "meta.json").write_text(json.dumps(meta))
        (tmp_path / "docker" / "config.json").write_text("{}")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        for settings in (EngineSettings("a", context="away"), EngineSettings("b")):
            client = EngineClient(settings, {"DOCKER_CONTEXT": "away"})
            docker = await client.connect()
            assert docker.api.base_url == host.replace("tcp:", "http:")
            await client.close()
        nowhere = EngineClient(EngineSettings("c", context="nowhere"), {})
        with pytest.raises(SandboxUnavailable, match="nowhere"):
            await nowhere.connect()
        await nowhere.close()


async def test_a_repository_cannot_name_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"away").hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": "away", "Endpoints": {"docker": {"Host": "tcp://127.0.0.1:9"}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    client = EngineClient(EngineSettings("a", context="away"), {})
    with pytest.raises(SandboxUnavailable, match="no docker context named away"):
        await client.connect()
    await client.close()


async def test_an_engine_that_goes_away_loses_the_sandbox_and_nothing_else(tmp_path: Path) -> None:
    async with rig(tmp_path) as near:
        async with relay() as way:
            far = Rig(tmp_path, replace(near.settings, engines=(EngineSettings("far", host=way.url),)), os.environ)
            sandbox = await far.start()
            assert (await sandbox.run(Command(("true",)))).ok
        for each in list(way.carried):
            each.close()
        with pytest.raises(SandboxLost):
            await sandbox.run(Command(("true",)))
            await sandbox.run(Command(("true",)))
        await sandbox.close()
        with pytest.raises(SandboxUnavailable):
            await far.engine.sweep(None)
        await far.engine.close()
        assert sandbox.facts.name in await near.engine.sweep(None)


async def test_an_engine_without_the_users_codex_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        with pytest.raises(SandboxUnavailable, match="has no /nowhere/codex, where your Codex is") as raised:
            await found.start(programs=Path("/nowhere/codex"))
    assert "--engine codexteam" in str(raised.value.hint)


async def test_sandboxes_of_the_users_codex_go_to_engines_that_have_it(tmp_path: Path) -> None:
    programs = tmp_path / "programs-of-mine"
    programs.mkdir()
    (programs / "codex").write_text("here\n")
    async with relay(lacks=programs.name.encode()) as way:
        # the far one has more room, and so is tried first
        engines = (EngineSettings("far", host=way.url, slots=4), EngineSettings("near", slots=2))
        async with rig(tmp_path, engines=engines) as found:
            for _ in range(2):
                sandbox = await found.start(programs=programs)
                assert (await sandbox.run(Command(("cat", f"{PROGRAMS}/codex")))).output == b"here\n"
            other = await found.start()
            assert (await other.run(Command(("true",)))).ok
