"""Ends of processes, with the kernel's own timing."""

import asyncio
import logging

import pytest

from codexteam.system.cancellation import kill


async def test_a_kill_takes_no_exit_status_from_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    codes = set()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(100):
            process = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None
            await process.stdout.read()  # it is just about to end
            kill(process)
            codes.add(await process.wait())
    assert codes <= {0, -9}
    assert caplog.messages == []


async def test_what_runs_is_killed() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "600")
    kill(process)
    assert await process.wait() == -9
    kill(process)
