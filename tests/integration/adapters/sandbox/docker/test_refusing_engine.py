"""An engine that refuses single requests: what it refuses while it is cleared up does not replace what happened."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import Command
from tests.integration.adapters.sandbox.docker.support import rig
from tests.support_engine import Door, asks, door

pytestmark = pytest.mark.docker

CREATE = r"POST .*/containers/create\?"
DELETE = "DELETE "


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Door]:
    """The engine's door; what tests left on the engine is removed behind it."""
    with door() as found:
        yield found
    client = docker.from_env()
    ours: dict[str, str | list[str] | bool] = {"label": f"codexteam.owner={tmp_path}"}
    for container in client.containers.list(all=True, filters=ours):
        container.remove(force=True, v=True)
    for volume in client.volumes.list(filters=ours):
        volume.remove(force=True)
    client.close()


def through(way: Door) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": way.url}


def once_asked(pattern: str, then: Callable[[str], bool]) -> Callable[[str], bool]:
    """Refuse what `then` knows, from the request on that the pattern knows."""
    seen: list[str] = []

    def refuse(request: str) -> bool:
        if re.search(pattern, request):
            seen.append(request)
        return bool(seen) and then(request)

    return refuse


async def test_a_start_that_fails_says_why_and_gives_its_slot_back(tmp_path: Path, way: Door) -> None:
    async with rig(tmp_path, environment=through(way)) as found:
        first = await found.start()
        way.refuse = once_asked(CREATE, asks(f"{CREATE}|{DELETE}"))
        with pytest.raises(SandboxUnavailable, match="did not start on default: refused by the test") as raised:
            await found.start()
        assert "codexteam doctor" in raised.value.hint
        assert any(request.startswith(DELETE) for request in way.asked[-2:]), "it was tried"
        way.refuse = lambda _: False
        assert in_slots(tmp_path) == [first.facts.name]
        again = await found.start()
        assert (await again.run(Command(("true",)))).ok


def in_slots(owner: Path) -> list[str]:
    """Give the names of the sandboxes that have a folder in a slot."""
    client = docker.from_env()
    try:
        [row] = client.containers.list(filters={"label": [f"codexteam.owner={owner}", "codexteam.what=slots"]})
        code, output = row.exec_run(["sh", "-c", "cd /slots && ls -d */*"], user="0:0")
        assert code == 0
        assert isinstance(output, bytes)
        return [line.split("/")[1] for line in output.decode().split()]
    finally:
        client.close()


@pytest.mark.parametrize("moment", ["base", "slots", "sandbox"])
async def test_a_start_that_is_given_up_stays_given_up(moment: str, tmp_path: Path, way: Door) -> None:
    async with rig(tmp_path, environment=through(way)) as found:
        if moment != "base":
            await found.engine.prepare(found.base)
        if moment == "sandbox":
            await found.start()
        reached = {"base": r"PUT .*/archive", "slots": CREATE, "sandbox": CREATE}[moment]
        before = len(way.asked)
        way.refuse = once_asked(reached, asks(DELETE))
        task = asyncio.create_task(found.start())
        async with asyncio.timeout(60):
            while not any(re.search(reached, request) for request in way.asked[before:]):
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        way.refuse = lambda _: False


@pytest.mark.parametrize(
    ("refused", "settings", "said"),
    [
        ("GET .*/info", {}, "default: refused by the test"),
        ("GET .*/images/.*/json", {}, "does not say whether it has the image codexteam-sandbox:test: refused"),
        ("GET .*/images/codexteam-build.*/json", {"dockerfile": "Dockerfile"}, "does not say whether it has the image"),
    ],
)
async def test_a_question_that_is_refused_is_one_clear_error(
    refused: str, settings: dict[str, str], said: str, tmp_path: Path, way: Door
) -> None:
    files: dict[str, bytes] = {"Dockerfile": b"FROM scratch\n"}
    more = {**settings, "image": None} if "dockerfile" in settings else settings
    async with rig(tmp_path, environment=through(way), files=files, **more) as found:
        way.refuse = asks(refused)
        with pytest.raises(SandboxUnavailable, match=said) as raised:
            await found.engine.prepare(found.base)
        assert "codexteam doctor" in raised.value.hint
        way.refuse = lambda _: False
