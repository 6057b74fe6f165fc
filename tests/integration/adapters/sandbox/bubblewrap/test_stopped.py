"""What is left of a sandbox whose start, or end, is stopped in the middle: nothing."""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.cgroups import find_groups
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.sandbox.bubblewrap.network import connect
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapProcess, BubblewrapStartError
from codexteam.adapters.sandbox.bubblewrap.sandbox_start import group_name, owner_of
from codexteam.adapters.sandbox.network.proxy import Proxy, ProxyPolicy
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import SandboxSpec
from tests.support_base_source import base_source, commit_all, make_repository
from tests.support_cancelling import stop_at_each_wait

pytestmark = pytest.mark.bubblewrap
RUN = RunId(f"stopped-{os.getpid()}")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BubblewrapEngine]:
    started = BubblewrapEngine(tmp_path / "state")
    yield started
    await started.close()


@pytest.fixture
def spec(tmp_path: Path) -> SandboxSpec:
    """A start with everything: a relay, a commit over the root, and a second launch that is read-only."""
    make_repository(tmp_path / "repository", {"a.txt": b"one\n"})
    (tmp_path / "repository" / "a.txt").write_text("two\n")
    commit_all(tmp_path / "repository", "more")
    agent = AgentKey(RUN, "explorer", Purpose.SCOUT, "", 1)
    base = base_source(tmp_path / "repository", tmp_path / "base")
    network = NetworkPolicy(NetworkKind.ALLOWLIST, ("example.com",))
    return SandboxSpec(agent, base, SandboxMode.READ_ONLY, network, SandboxLimits(memory_bytes=1 << 30))


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def nothing_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[[str], Awaitable[None]]:
    before = set(children()), descriptors()
    groups = find_groups()

    async def look(where: str) -> None:
        for _ in range(20):  # transports close a moment later
            await asyncio.sleep(0.005)
            if descriptors() == before[1]:
                break
        gc.collect()
        assert (set(children()), descriptors()) == before, where
        assert len(asyncio.all_tasks()) == 1, where
        assert groups is None or not groups.leftovers(owner_of(tmp_path / "state")), where
        assert list((tmp_path / "state").glob("bases/.new-*")) == [], where
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == [], where

    return look


@pytest.mark.complete
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_a_sandbox_stopped_anywhere_leaves_nothing(
    spec: SandboxSpec, tmp_path: Path, nothing_left: Callable[[str], Awaitable[None]], twice: bool
) -> None:
    async def life() -> None:
        engine = BubblewrapEngine(tmp_path / "state")
        try:
            sandbox = await engine.start(spec)
            await sandbox.close()
        finally:
            await engine.close()

    await stop_at_each_wait(life, nothing_left, twice=twice)


async def test_a_start_that_finds_a_group_which_does_not_get_empty_is_refused(
    engine: BubblewrapEngine, spec: SandboxSpec, tmp_path: Path
) -> None:
    groups = find_groups()
    if groups is None:
        pytest.skip("no control groups can be made here")
    left = groups.make(group_name(owner_of(tmp_path / "state"), spec.agent), spec.limits)
    held = [folder / "held" for folder in left.folders]
    for folder in held:
        folder.mkdir()
    try:
        with pytest.raises(SandboxUnavailable, match="does not get empty"):
            await engine.start(spec)
    finally:
        for folder in held:
            folder.rmdir()
        await engine.sweep(RUN)


async def test_a_relay_for_a_sandbox_that_has_just_ended_is_refused() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        ended = BubblewrapProcess(process, None, None, None)  # type: ignore[arg-type]  # nothing of it but the process is asked
        with pytest.raises(BubblewrapStartError, match="ended before"):
            await connect(ended, Proxy(ProxyPolicy(())))
    finally:
        process.kill()
        await process.wait()
