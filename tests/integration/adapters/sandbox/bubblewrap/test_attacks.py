"""Every attack of the table, against bubblewrap."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from tests.attacks.table import ATTACKS, LIMITS, Attack, by_name, try_attack
from tests.attacks.witness import Witness, witness_in
from tests.support_base_source import base_source, make_repository

pytestmark = [pytest.mark.bubblewrap, pytest.mark.slow]


@pytest.fixture
async def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Witness]:
    async with witness_in(tmp_path, monkeypatch) as found:
        yield found


@pytest.mark.parametrize("name", ["tcp-host", "abstract-socket", "host-file", "environment", "rights", "io-uring"])
async def test_a_probe_notices_when_nothing_protects(name: str, witness: Witness) -> None:
    argv = by_name(name).command(witness).argv
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert b"BREACH" in said


@pytest.fixture
async def sandbox(tmp_path: Path, witness: Witness) -> AsyncIterator[Sandbox]:
    repository = tmp_path / "repository"
    make_repository(repository, {"a.txt": b"one\n"})
    engine = BubblewrapEngine(tmp_path / "state")
    agent = AgentKey(RunId(f"attack-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    base = base_source(repository, tmp_path / "base")
    spec = SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), LIMITS)
    started = await engine.start(spec)
    yield started
    await started.close()
    await engine.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_an_attack_is_contained(attack: Attack, sandbox: Sandbox, witness: Witness) -> None:
    if attack.without in sandbox.facts.unlimited:
        pytest.skip(f"{attack.without} cannot be limited here, and the engine says so")
    print(f"{attack.name}: {attack.tries}: {await try_attack(attack, sandbox, witness)}")
