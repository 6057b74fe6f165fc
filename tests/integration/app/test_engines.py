"""What the settings say about the network reaches the engine that a run uses, and what it refuses reaches the user."""

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.compose import choose_engine, patience_words, report_hosts_once
from codexteam.config.settings import (
    EngineSettings,
    NetworkKind,
    NetworkPolicy,
    ProviderSettings,
    SandboxLimits,
    SandboxMode,
    SandboxSettings,
)
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import Command, SandboxSpec
from codexteam.report.progress import describe
from tests.support_base_source import base_source, make_repository

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read())"


@pytest.mark.bubblewrap
async def test_bubblewraps_proxy_adds_the_settings_secrets_and_reports_refusals(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told: list[tuple[str, JSONObject]] = []
    chosen = await choose_engine(
        SandboxSettings(kind="bubblewrap", proxy_secrets={"localhost": "REGISTRY"}),
        state_dir=tmp_path / "state",
        environment={"REGISTRY": "of-no-use-elsewhere"},
        on_denied=report_hosts_once(lambda kind, fields: told.append((kind, fields))),
    )
    make_repository(tmp_path / "repository", {"a.txt": b"one\n"})
    agent = AgentKey(RunId(f"app-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    base = base_source(tmp_path / "repository", tmp_path / "base")
    policy = NetworkPolicy(NetworkKind.ALLOWLIST, (f"localhost:{port}",))
    spec = SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, policy, SandboxLimits(memory_bytes=1 << 30))
    sandbox = await chosen.engine.start(spec)
    try:
        got = await sandbox.run(Command(("python3", "-c", FETCH, f"http://localhost:{port}/")))
        assert got.output == b"b'hello'\n", got
        for _ in range(2):
            refused = await sandbox.run(Command(("python3", "-c", FETCH, "http://elsewhere.invalid/")))
            assert b"403" in refused.output, refused
        seen = await sandbox.run(Command(("bash", "-c", "env; cat /proc/*/environ | tr '\\0' '\\n'")))
    finally:
        await sandbox.close()
        await chosen.engine.close()
        server.close()
    assert b"of-no-use-elsewhere" in heads[0]
    assert b"of-no-use-elsewhere" not in seen.output
    assert [(kind, fields["host"], fields["agent"]) for kind, fields in told] == [
        ("network.denied", "elsewhere.invalid", str(agent))
    ]


async def test_a_command_stopped_while_a_remote_engine_is_silent_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = SandboxSettings(kind="docker", engines=(EngineSettings("far", host=host, tls_verify=True),))
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        monkeypatch.setattr(tempfile, "tempdir", folder)
        choosing = asyncio.ensure_future(choose_engine(settings, state_dir=Path(folder), environment={}))
        await connected.wait()
        assert list(Path(folder).iterdir())
        choosing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await choosing
        assert not list(Path(folder).iterdir())
    server.close()
    await server.wait_closed()


def test_a_refused_host_is_told_once_and_in_words() -> None:
    told: list[tuple[str, JSONObject]] = []
    denied = report_hosts_once(lambda kind, fields: told.append((kind, fields)))

    for host in ("a.invalid", "b.invalid", "a.invalid"):
        denied({"host": host, "port": 443, "reason": "it is not in the list of allowed hosts"})

    assert [describe(RunEvent(kind, 0.0, fields)) for kind, fields in told] == [
        "a.invalid:443 cannot be reached from sandboxes: it is not in the list of allowed hosts",
        "b.invalid:443 cannot be reached from sandboxes: it is not in the list of allowed hosts",
    ]


def test_of_hosts_that_are_made_up_only_so_many_are_told() -> None:
    told: list[tuple[str, JSONObject]] = []
    denied = report_hosts_once(lambda kind, fields: told.append((kind, fields)))

    for number in range(1_000):
        denied({"host": f"{number}.invalid", "port": 443, "reason": "it is not in the list of allowed hosts"})

    assert [kind for kind, _ in told] == ["network.denied"] * 100 + ["notice"]
    assert told[-1][1] == {"text": "sandboxes asked for more than 100 hosts that they do not reach"}


def test_it_is_said_when_a_call_is_given_up() -> None:
    provider = ProviderSettings("p", "P", "http://localhost/v1", request_max_retries=4, stream_max_retries=5)

    assert patience_words(provider) == (
        "given up after 6 broken streams, 30 tries or 5 min without a connection, or 30 min of being told to wait"
    )
    assert patience_words(replace(provider, stream_max_retries=0)) == (
        "given up at the first broken stream, 5 tries or 5 min without a connection"
    )
    assert not patience_words(None)
