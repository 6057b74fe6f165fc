"""What is left of a container whose end is stopped in the middle: nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.integration.adapters.sandbox.docker.support import rig
from tests.support_cancelling import stop_at_each_wait

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    found = docker.from_env()
    yield found
    found.close()


@pytest.mark.complete
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_a_sandbox_whose_end_is_stopped_is_gone_when_that_has_ended(
    tmp_path: Path, client: docker.DockerClient, twice: bool
) -> None:
    owned: dict[str, str | list[str] | bool] = {"label": [f"codexteam.owner={tmp_path}", "codexteam.what=sandbox"]}
    async with rig(tmp_path) as found:

        async def life() -> None:
            sandbox = await asyncio.ensure_future(found.start())
            await sandbox.close()

        async def nothing_left(where: str) -> None:
            assert client.containers.list(all=True, filters=owned) == [], where

        await stop_at_each_wait(life, nothing_left, twice=twice)
