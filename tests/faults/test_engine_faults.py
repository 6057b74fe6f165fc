"""What is under a run fails: the Docker engine, its containers, its images, its disk; each through a whole run.

The complete check tries the quickest rows. All of them, with a table printed:
`CODEXTEAM_FAULTS=all pytest -s --complete tests/faults/test_engine_faults.py`.
Engines that are stopped or filled up are the test's own.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from tests.demo.script import run
from tests.faults import own_engine as engines
from tests.faults.own_engine import OwnEngine, client_of, left_on, own_engine
from tests.faults.strikes import AT_WORK, FORKS, full, in_background, no_large_request, small_disk, told, when_at_work
from tests.faults.table import ALL, LONG, Fault, Stage, endure

pytestmark = [pytest.mark.complete, pytest.mark.timeout(900)]


def _state(folder: Path) -> Path:
    return folder / "machine" / "tally" / ".git" / "codexteam"


# docker


def _client(stage: Stage) -> AbstractContextManager[docker.DockerClient]:
    return client_of(stage.environment.get("DOCKER_HOST"))


def _to_each(stage: Stage, label: str, action: Callable[[Container], object]) -> None:
    """Do something to the run's containers with a label, and to nobody else's."""
    with _client(stage) as client:
        ours = [label, f"codexteam.owner={stage.world.state}"]
        for container in client.containers.list(ignore_removed=True, filters={"label": ours}):
            action(container)


def _kill_container(stage: Stage) -> None:
    _to_each(stage, "codexteam.task=T4", lambda container: container.kill())


def _remove_container(stage: Stage) -> None:
    _to_each(stage, "codexteam.task=T4", lambda container: container.remove(force=True))


def _kill_slots(stage: Stage) -> None:
    _to_each(stage, "codexteam.what=slots", lambda container: container.kill())


def _image_without(program: str) -> Callable[[Stage], AbstractContextManager[None]]:
    """Give the engine an image that lacks a program."""

    @contextmanager
    def given(stage: Stage) -> Iterator[None]:
        tag = f"codexteam-without-{program}:test"
        with _client(stage) as client:
            lines = f"FROM {engines.IMAGE}\nRUN rm -f /usr/bin/{program} /usr/bin/{program}3*\n"
            folder = stage.world.folder / "image"
            folder.mkdir()
            (folder / "Dockerfile").write_text(lines)
            client.images.build(path=str(folder), tag=tag, rm=True, network_mode="none")
            try:
                yield
            finally:
                client.images.remove(tag, force=True)

    return given


def _image(name: str) -> tuple[str, ...]:
    return ("-c", f"codexteam.sandbox.image={name}")


@contextmanager
def _elsewhere(stage: Stage) -> Iterator[None]:
    kept = stage.environment.get("DOCKER_HOST")
    stage.environment["DOCKER_HOST"] = f"unix://{stage.world.folder}/nobody.sock"
    yield
    if kept:
        stage.environment["DOCKER_HOST"] = kept


DOCKER = (
    Fault(name="a container is killed under its command", answer=[AT_WORK], strike=when_at_work(_kill_container),
          also=told("started again"), short=True),
    Fault(name="a container is removed under its command", answer=[AT_WORK], strike=when_at_work(_remove_container)),
    Fault(name="the container that holds the workspaces is killed", strike=_kill_slots),
    Fault(name="no engine at the socket", around=_elsewhere, code=6, free=True,
          mend=lambda stage: stage.environment.pop("DOCKER_HOST"), says="no docker engine answers"),
    Fault(name="no such image", options=_image("codexteam-sandbox:never-made"), code=6, later=_image(engines.IMAGE), free=True,
          says="cannot be pulled"),
    Fault(name="an image without Python", around=_image_without("python"), options=_image("codexteam-without-python:test"),
          later=_image(engines.IMAGE), code=6, free=True, says="python"),
    Fault(name="an image without git", around=_image_without("git"), options=_image("codexteam-without-git:test"),
          later=_image(engines.IMAGE), code=6, free=True, says="git"),
    Fault(name="a command that takes all memory", answer=[run("head -c 3G /dev/zero | tail >/dev/null; echo ended $?")],
          always=("-c", "codexteam.sandbox.limits.memory_size=512MiB"), also=told("ended 137")),
    Fault(name="a command that forks without end", answer=[run(FORKS)], also=told("forked"),
          always=("-c", "codexteam.sandbox.limits.max_processes=64")),
    Fault(name="a command that ignores SIGTERM", answer=[run("trap '' TERM INT HUP; echo deaf; sleep 86392")],
          options=("-c", "codexteam.limits.command_seconds=3"), also=told("deaf")),
    Fault(name="a command that prints without end", answer=[run("yes 'all work and no play'")],
          also=no_large_request),
    Fault(name="a workspace that is filled up", answer=[run("head -c 8G /dev/zero > out/big; ls out; rm out/big")]),
)  # fmt: skip


@pytest.mark.docker
@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in DOCKER if ALL or fault.short])
def test_a_fault_in_docker_is_outlived_or_one_clear_error(tmp_path: Path, fault: Fault) -> None:
    outcome = endure(tmp_path, fault, kind="docker")
    with client_of(None) as client:
        left = left_on(client, _state(tmp_path))
    assert outcome.found + left == []


# an engine of the test's own


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """An engine that may be stopped."""
    if engines.problem():
        pytest.skip(engines.problem())
    with own_engine(tmp_path_factory.mktemp("engine")) as found:
        yield found


def _stall_a_while(engine: OwnEngine, stage: Stage) -> None:
    def stall() -> None:
        engine.stall()
        stage.mended.wait(5)
        engine.go_on()

    in_background(stage, stall)


def _engine_faults(engine: OwnEngine) -> dict[str, Fault]:
    faults = (
        Fault(name="the engine is stopped between commands", strike=lambda _: engine.stop(), code=6,
              mend=lambda _: engine.start(), says="engine"),
        Fault(name="the engine is stopped under a command", answer=[AT_WORK],
              strike=when_at_work(lambda _: engine.stop()), code=6, mend=lambda _: engine.start(), says="engine"),
        Fault(name="the engine is restarted between commands", strike=lambda _: engine.restart(), or_code=6,
              mend=lambda _: engine.start()),
        Fault(name="the engine is restarted under a command", answer=[AT_WORK],
              strike=when_at_work(lambda _: engine.restart()), or_code=6,
              mend=lambda _: engine.start()),
        Fault(name="the engine stalls for five seconds", strike=lambda stage: _stall_a_while(engine, stage),
              call=("T1", 1)),
        Fault(name="the engine's containerd is killed", strike=lambda _: _kill_containerd(engine)),
    )  # fmt: skip
    return {fault.name: fault for fault in faults}


def _kill_containerd(engine: OwnEngine) -> None:
    pid = int((engine.sockets / "exec" / "containerd" / "containerd.pid").read_text())
    os.kill(pid, signal.SIGKILL)


_NAMES = tuple(_engine_faults(OwnEngine(Path(), Path(), Path())))


@pytest.mark.docker
@LONG
@pytest.mark.parametrize("name", _NAMES)
def test_an_engine_that_fails_is_outlived_or_one_clear_error(tmp_path: Path, engine: OwnEngine, name: str) -> None:
    engine.start()
    fault = _engine_faults(engine)[name]
    outcome = endure(tmp_path, _on(engine, fault), kind="docker")
    with client_of(engine.host) as client:
        assert outcome.found + left_on(client, _state(tmp_path)) == []


def _on(engine: OwnEngine, fault: Fault) -> Fault:
    def around(stage: Stage) -> AbstractContextManager[object]:
        stage.environment["DOCKER_HOST"] = engine.host
        return fault.around(stage)

    return replace(fault, around=around)


@pytest.mark.docker
@LONG
def test_an_engine_without_room_is_one_clear_error(tmp_path: Path) -> None:
    if engines.problem():
        pytest.skip(engines.problem())
    with small_disk(tmp_path / "disk", "size=700m") as disk, own_engine(tmp_path / "engine", disk) as engine:
        ballast = disk / "ballast"
        fault = Fault(
            name="the engine's disk is full from the start",
            around=lambda _: full(ballast),
            mend=lambda _: ballast.unlink(),
            code=6,
            says="space",
        )
        outcome = endure(tmp_path, _on(engine, fault), kind="docker")
        with client_of(engine.host) as client:
            assert outcome.found + left_on(client, _state(tmp_path)) == []
