"""Every attack of the table, against docker: under its own runtime, and each stricter one that the engine has."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest
import pytest_asyncio
from docker.errors import DockerException

from codexteam.adapters.sandbox.docker.engine import DockerEngine
from codexteam.config.settings import NetworkPolicy, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec
from tests.attacks.table import ATTACKS, LIMITS, Attack, try_attack
from tests.attacks.witness import SECRET, Witness, witness_in
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.support_base_source import base_source, make_repository

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.complete]


#: The names of what every engine has, and none is stricter than.
_ORDINARY = ("runc", "io.containerd.runc.", "io.containerd.runtime.")


def _runtimes() -> list[str | None]:
    """Return what the engine runs containers by; its own alone where no engine answers."""
    try:
        client = docker.from_env(timeout=5)
        try:
            there = client.info().get("Runtimes") or {}
        finally:
            client.close()
    except DockerException:
        return [None]
    return [None, *sorted(name for name in there if not name.startswith(_ORDINARY))]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=_runtimes(), ids=lambda name: name or "own")
async def started(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[DockerEngine, BaseSource]]:
    """One engine for all attacks; each gets a sandbox of its own."""
    folder = tmp_path_factory.mktemp("attacks")
    make_repository(folder / "repository", {"a.txt": b"one\n"})
    environment = {**os.environ, "OPENAI_API_KEY": SECRET}
    engine = DockerEngine(
        SandboxSettings(image=SANDBOX_IMAGE, require_runtime=request.param),
        environment=environment,
        owner=str(folder),
        state_dir=folder,
    )
    yield engine, base_source(folder / "repository", folder / "base")
    await engine.sweep(None)
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Witness]:
    async with witness_in(tmp_path, monkeypatch) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(
    started: tuple[DockerEngine, BaseSource], witness: Witness, request: pytest.FixtureRequest
) -> AsyncIterator[Sandbox]:
    engine, base = started
    ordinal = [attack.name for attack in ATTACKS].index(request.node.callspec.params["attack"].name) + 1
    agent = AgentKey(RunId(f"attack-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", ordinal)
    found = await engine.start(SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), LIMITS))
    yield found
    await found.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_an_attack_is_contained(attack: Attack, sandbox: Sandbox, witness: Witness) -> None:
    print(f"{attack.name}: {attack.tries}: {await try_attack(attack, sandbox, witness)}")
