"""Servers beside a sandbox: databases and the like that tests expect to reach.

They live in the sandbox's own network namespace, so they listen on its loopback, nobody else's, and have no way out that
the sandbox has not. One set for each sandbox, removed with it.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from docker.types import Mount

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, NotFound, clearing_up, said_by
from codexteam.adapters.sandbox.docker.containers import (
    ContainerStartError,
    Image,
    create,
    remove,
    remove_volume,
    run_inside,
)
from codexteam.adapters.sandbox.docker.hardening import (
    BESIDE,
    UID,
    What,
    container_options,
    labels,
    service_options,
)
from codexteam.adapters.sandbox.docker.image_pull import pull_image
from codexteam.adapters.sandbox.network import forwarder
from codexteam.adapters.sandbox.protocol import ChannelClosedError
from codexteam.config.settings import SandboxLimits
from codexteam.core.ids import AgentKey, Purpose
from codexteam.core.text import clean_line
from codexteam.environment.plan import Service, ServiceCommand
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import SERVICES_LOG
from codexteam.ports.sandbox import WORKSPACE, Command

#: Agents that only read or write text: nothing they do asks a server.
_WITHOUT = frozenset(
    {
        *(
            Purpose.SCOUT,
            Purpose.LOOKUP,
            Purpose.PLAN,
            Purpose.REPLAN,
            Purpose.CLARIFY,
            Purpose.REVIEW,
            Purpose.SECURITY,
            Purpose.JUDGE,
        ),
        *(Purpose.RELEASE, Purpose.DOCUMENT, Purpose.COMPACT),
    }
)
_LONGEST_SECONDS = 300.0
_CHECK_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 0.1
_LOG_LINES = 5
_LOG = logging.getLogger(__name__)
_FORWARDER = Path(forwarder.__file__).read_text("utf-8")
#: In the containers that forward: where sockets lead from one network namespace into another.
_SOCKETS = "/run/codexteam-ports"
_FORWARDER_LIMITS = SandboxLimits(memory_bytes=128 << 20, cpus=1.0, max_processes=32, tmp_bytes=1 << 20)
#: What a command for a server changes of tracked files (the dump of a schema) is put back: it is nobody's work.
_PREPARE = """
before=$(mktemp) && git diff --name-only >"$before"
{ echo "\\$ $1"; (cd "$3" && bash -c "$1" </dev/null); code=$?; echo "[exit code $code]"; } >>"$2" 2>&1
git diff --name-only | grep -vxFf "$before" | tr '\\n' '\\0' | xargs -0r git checkout -q --
rm -f "$before"
exit "$code"
"""
#: Run in the sandbox: ends well as soon as all of these ports are open.
_PORTS_OPEN = """
import socket, sys, time
end = time.monotonic() + 1.0
for port in map(int, sys.argv[1:]):
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            break
        except OSError:
            if time.monotonic() > end:
                sys.exit(1)
            time.sleep(0.05)
"""


def wants_services(agent: AgentKey) -> bool:
    """Return whether an agent's sandbox gets servers: where acceptance and gate commands run, and those who write code."""
    return agent.purpose not in _WITHOUT


def host_names(services: Sequence[Service]) -> Mapping[str, str]:
    """Return what names of services mean inside the sandbox, as in the containers of a CI job."""
    return {each.name: "127.0.0.1" for each in services if each.name.replace("-", "").replace("_", "").isalnum()}


async def prepare_services(
    channel: Channel, commands: Sequence[ServiceCommand], environment: Mapping[str, str]
) -> None:
    """Run what fills a sandbox's servers, in order. One that fails does not end it: the tests say what they miss."""
    for each in commands:
        folder = f"{WORKSPACE}/{each.folder}" if each.folder else WORKSPACE
        argv = ("sh", "-c", _PREPARE, "sh", each.command, SERVICES_LOG, folder)
        done = await channel.run(
            Command(argv, cwd=WORKSPACE, timeout_seconds=_LONGEST_SECONDS), {**environment, **each.variables}
        )
        if not done.ok:
            _LOG.info("%s (%s) ended with %s", clean_line(each.command), clean_line(each.source), done.exit_code)


class _ServiceFailedError(Exception):
    """A service is not there; the message says why, in the service's own words too."""


_FAILURES = (_ServiceFailedError, ContainerStartError, ChannelClosedError, *ENGINE_ERRORS)


@dataclass(slots=True)
class ServiceSet:
    """The servers of one sandbox. Owned by the sandbox's start, which closes it before the sandbox."""

    client: EngineClient
    owner: str
    agent: AgentKey
    beside: Container
    """The sandbox's container."""
    image: Image
    """The sandbox's own: it has the Python that forwards ports."""
    services: tuple[Service, ...]
    limits: SandboxLimits
    runtime: str | None
    _started: list[str] = field(default_factory=list)
    _volumes: list[str] = field(default_factory=list)

    async def start(self, channel: Channel) -> None:
        """Start all, and wait until each is ready.

        Raises:
            SandboxUnavailable: one is not; says which, who asked for it and what it printed.
        """
        for service, problem in await self.attempt(channel):
            raise SandboxUnavailable(
                f"{described(service)} is not ready: {problem}",
                hint=f"try `docker run {clean_line(service.image)}` on {self.client.settings.name}, or take it out of "
                "what asks for it",
            )

    async def attempt(self, channel: Channel) -> list[tuple[Service, str]]:
        """Start all; return those that are not ready in their time, and why."""
        results = await asyncio.gather(
            *(self._start(number, service, channel) for number, service in enumerate(self.services))
        )
        return [(service, problem) for service, problem in zip(self.services, results, strict=True) if problem]

    async def _start(self, number: int, service: Service, channel: Channel) -> str:
        """Return why a service is not ready; empty when it is."""
        try:
            async with asyncio.timeout(min(service.health_interval_seconds * service.health_retries, _LONGEST_SECONDS)):
                if number in apart(self.services):
                    await self._start_apart(number, service)
                    return ""
                container = await self._run(number, service, f"container:{self.beside.id}")
                await self._until_ready(service, container, channel)
                if moved := _moved(service):
                    await self._forward(f"{self._name(number)}-ports", moved, str(self.beside.id))
        except TimeoutError:
            said = await self._last_words(self._name(number))
            return f"it takes too long{': ' + said if said else ''}"
        except SandboxUnavailable as error:
            return f"{error}; {error.hint}" if error.hint else str(error)
        except _FAILURES as error:
            return clean_line(said_by(error))
        return ""

    def _name(self, number: int) -> str:
        return f"{self.beside.name}-service-{number}"

    async def _start_apart(self, number: int, service: Service) -> None:
        """Start a service that listens where another one does, in a network namespace of its own.

        Two forwarders lead to it, one in each namespace, over sockets in a volume that they share.
        """
        container = await self._run(number, service, "none")
        name = self._name(number)
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"uid={UID},gid={UID},mode=0700,size=64k"}
        docker = await self.client.connect()
        self._volumes.append(name)
        await self.client.make(
            lambda: docker.volumes.create(name, driver_opts=options, labels=self._marks(name)["labels"]),
            undo=lambda volume: volume.remove(),
        )
        inside = [(f"{_SOCKETS}/{inner}", inner) for _, inner in service.ports]
        await self._forward(f"{name}-inside", inside, str(container.id), volume=name)
        if check := _check(service, container):
            await self._until_well(container, check, service.health_interval_seconds)
        outside = [(outer, f"{_SOCKETS}/{inner}") for outer, inner in service.ports]
        await self._forward(f"{name}-ports", outside, str(self.beside.id), volume=name)

    async def _run(self, number: int, service: Service, network: str) -> Container:
        image = await pull_image(self.client, service.image, clean_line(service.source), None)
        options = service_options(self.limits, network=network, runtime=self.runtime)
        options |= self._marks(self._name(number)) | {"environment": dict(service.environment)}
        self._started.append(self._name(number))
        container = await create(self.client, image.id, service.command, options)
        await self.client.call(container.start)
        return container

    def _marks(self, name: str) -> dict[str, Any]:
        marks = {**labels(What.SERVICE, self.owner, agent=self.agent), BESIDE: str(self.beside.name)}
        return {"name": name, "labels": marks}

    async def _until_ready(self, service: Service, container: Container, channel: Channel) -> None:
        """Wait for its ports, then for its health: a database that is being filled answers itself, and nobody else."""
        await self._until_open(container, [inner for _, inner in service.ports], channel)
        if check := _check(service, container):
            await self._until_well(container, check, service.health_interval_seconds)

    async def _until_well(self, container: Container, check: Sequence[str], longest_wait_seconds: float) -> None:
        """Wait until a command succeeds inside a container."""
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await run_inside(self.client, container, check, user="")
                return
            except (ContainerStartError, TimeoutError, *ENGINE_ERRORS):
                await self._see_running(container)
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, longest_wait_seconds)

    async def _until_open(self, container: Container, ports: Sequence[int], channel: Channel) -> None:
        argv = ("python3", "-I", "-S", "-c", _PORTS_OPEN, *map(str, ports))
        while ports:
            done = await channel.run(Command(argv, cwd="/"), {"PATH": str(self.image.commands["PATH"])})
            await self._see_running(container)
            if done.ok:
                return

    async def _see_running(self, container: Container) -> None:
        try:
            await self.client.call(container.reload)
        except NotFound:
            raise _ServiceFailedError("its container was removed") from None
        state = container.attrs["State"]
        if state.get("Running"):
            return
        said = await self._last_words(str(container.name))
        how = "it ran out of memory" if state.get("OOMKilled") else f"it ended with exit code {state.get('ExitCode')}"
        raise _ServiceFailedError(f"{how}{': ' + said if said else ''}")

    async def _last_words(self, name: str) -> str:
        docker = await self.client.connect()

        def look() -> bytes:
            return bytes(docker.containers.get(name).logs(tail=_LOG_LINES))

        with suppress(*ENGINE_ERRORS):  # what it printed only helps to understand
            text = (await self.client.call(look)).decode("utf-8", "replace")
            return clean_line(" / ".join(line.strip() for line in text.splitlines() if line.strip()))[-500:]
        return ""

    async def _forward(
        self, name: str, pairs: Sequence[tuple[int | str, int | str]], beside: str, *, volume: str = ""
    ) -> None:
        """Start what forwards connections in the network namespace of a container, and wait until it does."""
        options = container_options(
            _FORWARDER_LIMITS,
            network=f"container:{beside}",
            runtime=self.runtime,
            environment=self.image.environment,
        )
        for theirs in ("hostname", "extra_hosts"):  # they are the sandbox's
            del options[theirs]
        if volume:
            options["mounts"] = [Mount(_SOCKETS, volume, type="volume", no_copy=True)]
        self.image.cover_volumes(options)
        options |= self._marks(name) | {"stdin_open": False}
        argv = ("python3", "-I", "-S", "-c", _FORWARDER, json.dumps(pairs))
        self._started.append(name)
        container = await create(self.client, self.image.id, argv, options)
        await self.client.call(container.start)
        try:
            await self._until_well(container, ("test", "-e", forwarder.LISTENING), _FIRST_WAIT_SECONDS)
        except _ServiceFailedError as error:
            ports = ", ".join(str(outer) for outer, _ in pairs if isinstance(outer, int))
            raise _ServiceFailedError(f"another service listens where tests expect it: {ports}") from error

    async def close(self) -> None:
        """Remove them with all that they hold. May be repeated."""
        names, self._started = self._started, []
        for name in names:
            with clearing_up(name):
                await remove(self.client, name)
        volumes, self._volumes = self._volumes, []
        for name in volumes:
            with clearing_up(name):
                await remove_volume(self.client, name)


def _moved(service: Service) -> list[tuple[int, int]]:
    """Return the ports at which tests expect a service, and those on which it listens instead."""
    return [(outer, inner) for outer, inner in service.ports if outer != inner]


def apart(services: Sequence[Service]) -> frozenset[int]:
    """Return the places of services that cannot share a network namespace with those before them: their ports are taken."""
    taken: set[int] = set()
    found = set()
    for number, service in enumerate(services):
        inner = {port for _, port in service.ports}
        if inner & taken:
            found.add(number)
        else:
            taken |= inner
    return frozenset(found)


def described(service: Service) -> str:
    """Return what a service is, and who asks for it."""
    name, image, source = map(clean_line, (service.name, service.image, service.source))
    return f"the service {name} (image {image}, asked for by {source})"


def _check(service: Service, container: Container) -> Sequence[str]:
    """Return the command that succeeds once a service is ready: as it was asked for, else as its image says."""
    if service.health:
        return ("sh", "-c", service.health)
    image: Mapping[str, Any] = container.image.attrs if container.image is not None else {}
    match ((image.get("Config") or {}).get("Healthcheck") or {}).get("Test"):
        case ["CMD-SHELL", str(line)]:
            return ("sh", "-c", line)
        case ["CMD", *words]:
            return tuple(map(str, words))
        case _:
            return ()
