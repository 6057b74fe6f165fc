"""`codexteam clean` takes the sandboxes of dead runs from the engine, and no others."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from codexteam.adapters.sandbox.docker.hardening import What, labels, sandbox_name
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.store import RunRecord
from tests.e2e.world import World, processes_of
from tests.faults import three_tasks
from tests.faults.killing import machine
from tests.scripted_api.script import Call, Played, Reply

pytestmark = [pytest.mark.complete, pytest.mark.docker, pytest.mark.timeout(600)]

#: What docker-py takes.
Filters = dict[str, str | list[str] | bool]
IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")
SETTINGS = three_tasks.SETTINGS.format(kind="docker").replace("codexteam-sandbox:test", IMAGE)


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    found = docker.from_env()
    yield found
    found.close()


def _names(client: docker.DockerClient, owner: str) -> set[str]:
    chosen: Filters = {"label": [f"codexteam.owner={owner}", "codexteam.what=sandbox"]}
    return {str(one.name) for one in client.containers.list(all=True, ignore_removed=True, filters=chosen)}


def _implementers(client: docker.DockerClient, owner: str) -> set[str]:
    return {name for name in _names(client, owner) if "-implement-" in name}


def _make(client: docker.DockerClient, owner: str, run_id: str) -> str:
    agent = AgentKey(RunId(run_id), "implementer", Purpose.IMPLEMENT, f"T{os.getpid()}", 1)
    marks = dict(labels(What.SANDBOX, owner, agent=agent))
    container = client.containers.create(
        IMAGE, ["sleep", "600"], entrypoint="", name=sandbox_name(agent), labels=marks, network_mode="none"
    )
    container.start()
    return str(container.name)


def _remove_all(client: docker.DockerClient, *owners: str) -> None:
    for owner in owners:
        chosen: Filters = {"label": f"codexteam.owner={owner}"}
        for container in client.containers.list(all=True, filters=chosen):
            container.remove(force=True)
        for volume in client.volumes.list(filters=chosen):
            volume.remove(force=True)


@contextmanager
def _killed_in_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


async def _record(world: World, *run_ids: str) -> None:
    world.state.mkdir(mode=0o700, exist_ok=True)
    store = SqliteStore(world.state / "state.sqlite")
    for number, run_id in enumerate(run_ids):
        await store.create_run(RunRecord(RunId(run_id), "goal", "0" * 40, "running", float(number), {}))
    await store.close()


async def test_clean_takes_a_dead_runs_container_and_no_other(tmp_path: Path, client: docker.DockerClient) -> None:
    with machine(tmp_path, settings=SETTINGS) as (world, _):
        owner, other = str(world.state), str(tmp_path / "another repository")
        dead, older = "20260101-0000-dead", "20250101-0000-dead"
        await _record(world, older, dead)
        users = client.containers.create(IMAGE, ["sleep", "600"], entrypoint="", network_mode="none")
        try:
            gone = {_make(client, owner, dead), _make(client, owner, older)}
            stays = _make(client, other, "20260101-0001-live")

            looked = world.run("clean", "--dry-run")
            assert looked.code == 0, looked.err
            assert _names(client, owner) == gone, "a look removes nothing"

            named = world.run("clean", dead, "--json")
            assert named.code == 0, named.err
            assert len(_names(client, owner)) == 1, "only the named run's"

            cleaned = world.run("clean", "--json")
            assert cleaned.code == 0, cleaned.err
            assert _names(client, owner) == set()
            assert {name for name in gone if name in named.out + cleaned.out} == gone, "each is named"
            assert _names(client, other) == {stays}
            assert client.containers.get(str(users.id)).status == "created"
        finally:
            users.remove(force=True)
            _remove_all(client, owner, other)


def test_clean_sweeps_a_killed_runs_sandboxes_and_no_live_ones(tmp_path: Path, client: docker.DockerClient) -> None:
    held = True

    def play(call: Call) -> Played:
        played = three_tasks.play(call)
        if held and call.purpose == "implement" and call.turn == 2 and isinstance(played, list):
            return Reply(items=played, latency_seconds=120.0)
        return played

    with machine(tmp_path, play, settings=SETTINGS) as (world, _):
        owner = str(world.state)
        try:
            with _killed_in_the_end(world.start("run", three_tasks.GOAL, "--json")) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if '"agent.turn"' in line and '"implement"' in line:
                        break
                # Each implementer is held in its second turn. What checks the base may end at any moment.
                while not (at_work := _implementers(client, owner)) and process.poll() is None:
                    time.sleep(0.1)  # they start with the first command
                assert at_work, process.stderr and process.stderr.read()  # it has ended: why
                refused = world.run("clean", "--all")
                assert refused.code == 6, refused.out
                assert "another codexteam process works on this repository" in refused.err
                assert _names(client, owner) >= at_work, "a live run keeps its own"
            held = False
            assert _names(client, owner), "kill -9 leaves them"

            cleaned = world.run("clean")
            assert cleaned.code == 0, cleaned.err
            assert re.search(r": removed \d+ sandboxes or checkouts\n", cleaned.out)
            assert _names(client, owner) == set()
            assert processes_of(world) == []

            resumed = world.run("resume")
            assert resumed.code == 0, resumed.err
            assert _names(client, owner) == set()
        finally:
            _remove_all(client, owner)
