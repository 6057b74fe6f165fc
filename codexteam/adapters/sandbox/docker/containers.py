"""Containers whose main process is the sandbox's server: their image, their start with the channel, their end, the sweep."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.docker.client import (
    ENGINE_ERRORS,
    APIError,
    EngineClient,
    NotFound,
    adopt,
    let_go,
    said_by,
)
from codexteam.adapters.sandbox.docker.hardening import (
    BESIDE,
    INSIDE,
    OURS,
    RUN,
    UID,
    What,
    sandbox_name,
    split_environment,
    what_of,
)
from codexteam.adapters.sandbox.program import PROGRAM_NAME, server_program, server_settings, start_command
from codexteam.adapters.sandbox.protocol import ChannelClosedError, Hello
from codexteam.core.ids import AgentKey

#: What an image declares as a volume would be room on the engine's disk, without a limit.
_DECLARED_VOLUME = "rw,nosuid,nodev,noexec,size=64k,nr_inodes=16"
_OURS = ("/work", "/tmp", "/run/codexteam")  # noqa: S108
#: Inside every container: the volume with the server, and in it the checkout.
BASE = f"{INSIDE}/base"
PRIVATE = f"{INSIDE}/private"
TREE = "tree"
#: What is behind a base's name in that of the empty volume that says it is whole.
MARK = "-whole"
#: The folder of the server's program, which is written once more when it is compiled.
_PROGRAM_FOLDER = "program"
#: Where an environment's image has the layer of its set-up's checkout.
LAYER = "/var/lib/codexteam/layer"
PROGRAM = f"{BASE}/{_PROGRAM_FOLDER}/{PROGRAM_NAME}"
_KILLED = 137
#: What the engine answers when a name is taken, or something is in use.
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on an engine. Its entry point, user, health check and labels never count."""

    reference: str
    """What people call it."""
    id: str
    environment: Mapping[str, str | None]
    """What containers are created with; None takes a variable of the image away."""
    commands: Mapping[str, str]
    """What commands see."""
    volumes: tuple[str, ...] = ()
    """What it declares as volumes."""
    environment_key: str = ""
    """Of the environment that it is; empty for one of somebody else's."""

    @classmethod
    def of(cls, reference: str, attrs: Mapping[str, Any], *, environment_key: str = "") -> "Image":
        """Read what the engine says of an image."""
        config = attrs.get("Config") or {}
        environment, commands = split_environment(config.get("Env") or [])
        volumes = tuple(config.get("Volumes") or ())
        return cls(reference, str(attrs["Id"]), environment, commands, volumes, environment_key)

    def cover_volumes(self, options: dict[str, Any]) -> None:
        """Have a container's options put next to nothing where the image declares volumes."""
        covers = {path: _DECLARED_VOLUME for path in self.volumes if path.rstrip("/") not in _OURS}
        options["tmpfs"] = {**covers, **options["tmpfs"]}


class ContainerStartError(Exception):
    """A container did not become what it should; the message has hostile text."""


@dataclass(frozen=True, slots=True)
class Live:
    """A container that runs, and the channel to its server."""

    container: Container
    channel: Channel
    hello: Hello


def server_command(
    workspace: str, *, base_git: str | None, private: str = PRIVATE, output_cap_bytes: int = 16 << 20
) -> Sequence[str]:
    """Return the command of a container's main process."""
    settings = server_settings(
        workspace=workspace, private=private, base_git=base_git, alone=True, output_cap_bytes=output_cap_bytes
    )
    return start_command("python3", PROGRAM, settings)


def base_archive() -> bytes:
    """Return what a new base holds, as a tar: the server, and a folder for the checkout; the agents' user fills them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in (TREE, _PROGRAM_FOLDER):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, UID, UID
            archive.addfile(folder)
        file = tarfile.TarInfo(f"{_PROGRAM_FOLDER}/{PROGRAM_NAME}")
        file.size, file.mode = len(server_program()), 0o644
        archive.addfile(file, io.BytesIO(server_program()))
    return stream.getvalue()


async def create(client: EngineClient, image: str, command: Sequence[str], options: dict[str, Any]) -> Container:
    """Create a container; what an earlier try left under the name in `options` is removed.

    Raises:
        ContainerStartError: the engine gave it another runtime than `options` ask for.
    """
    docker = await client.connect()

    def make() -> Container:
        return docker.containers.create(image, list(command), **options)

    try:
        container = await client.make(make, undo=unmake)
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
        await remove(client, str(options["name"]))
        container = await client.make(make, undo=unmake)
    wanted = options.get("runtime")
    if wanted is not None and (found := runtime_of(container)) != wanted:  # an engine that does not know the field
        await remove(client, str(options["name"]))
        raise ContainerStartError(f"it would run under {found or 'a runtime that is not named'}, not under {wanted}")
    return container


def runtime_of(container: Container) -> str:
    """Return what runs a container, as the engine said when it was created; empty where it did not."""
    return str(container.attrs.get("HostConfig", {}).get("Runtime") or "")


def unmake(container: Container) -> None:
    """Remove a container that was just made."""
    container.remove(force=True, v=True)


async def start(client: EngineClient, container: Container) -> Live:
    """Start a container and wait for its server.

    Raises:
        StartFailedError: it did not come up.
    """
    try:
        # attached before it starts: nothing it says is missed
        docker = await client.connect()
        params: Any = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        found = await client.make(lambda: docker.api.attach_socket(str(container.id), params), undo=let_go)
        reader, writer = await adopt(found)
    except ENGINE_ERRORS as error:
        raise ContainerStartError(said_by(error)) from error
    channel = Channel(reader, writer)
    try:
        await client.call(container.start)
        hello = await channel.ready()
    except ENGINE_ERRORS as error:
        await channel.close()
        raise ContainerStartError(said_by(error)) from error
    except ChannelClosedError as error:
        await channel.close()
        said = bytes(reader.errors).decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise ContainerStartError(f"{error}; {said}" if said else str(error)) from error
    except BaseException:
        await channel.close()
        raise
    return Live(container, channel, hello)


async def run_inside(client: EngineClient, container: Container, argv: Sequence[str], *, user: str = "0:0") -> str:
    """Run a short command beside the server, as root unless a user is named; give what it printed.

    Raises:
        ContainerStartError: it failed; the message is what it printed.
    """
    code, output = await client.call(container.exec_run, list(argv), user=user, workdir="/")
    assert isinstance(output, bytes)
    said = output.decode("utf-8", "replace").strip()
    if code:
        raise ContainerStartError(said[-2000:] or f"{argv[0]} ended with {code}")
    return said


async def end_of(client: EngineClient, container: Container) -> str:
    """Say why a container ended, as far as the engine knows."""

    def look() -> str:
        container.reload()
        state = container.attrs["State"]
        if state.get("OOMKilled"):
            return "it ran out of memory"
        if state.get("ExitCode") == _KILLED and not state.get("Running"):
            return "it was killed from outside, or ran out of memory"
        return f"it is {state.get('Status')}, exit code {state.get('ExitCode')}"

    try:
        return await client.call(look)
    except NotFound:
        return "its container was removed"
    except ENGINE_ERRORS as error:
        return said_by(error)


async def remove(client: EngineClient, name: str) -> bool:
    """Kill and remove a container with its own volumes; whether there was one."""
    docker = await client.connect()
    try:
        await client.call(docker.api.remove_container, name, force=True, v=True)
    except NotFound:
        return False
    except APIError as error:
        if error.status_code == CONFLICT:  # somebody else is at it
            return True
        raise
    return True


async def remove_volume(client: EngineClient, name: str) -> bool:
    """Remove a volume; False when there was none or something still uses it."""
    docker = await client.connect()
    try:
        await client.call(docker.api.remove_volume, name)
    except (NotFound, APIError) as error:
        if isinstance(error, NotFound) or error.status_code == CONFLICT:
            return False
        raise
    return True


async def remove_base(client: EngineClient, name: str) -> bool:
    """Remove a checkout, then its mark; False when it is in use."""
    docker = await client.connect()
    if not await remove_volume(client, name):
        try:
            await client.call(docker.volumes.get, name)
        except NotFound:
            pass
        else:
            return False
    await remove_volume(client, name + MARK)
    return True


async def sweep(client: EngineClient, owner: str, run_id: str | None, keep: Sequence[AgentKey]) -> list[str]:
    """Remove the containers and volumes of a run (None: of every run of this owner); give their names.

    Checkouts stay, and so do helpers that are at work for another process; the rows of slots stay while a kept
    sandbox may lie in one.
    """
    docker = await client.connect()
    kept = {sandbox_name(agent) for agent in keep}
    chosen = [f"{OURS}=1", f"codexteam.owner={owner}"]
    removed = []
    containers = await client.call(docker.containers.list, all=True, ignore_removed=True, filters={"label": chosen})
    for container in containers:
        name, marks = str(container.name), container.labels
        what = what_of(marks)
        if what == What.SETUP and run_id is None and container.status == "running":
            continue  # it ends with its process, which therefore lives
        if what == What.HELPER:
            if container.status != "running" and await remove(client, name):
                removed.append(name)
                if name.endswith("-helper"):  # its checkout was never finished
                    await remove_base(client, name.removesuffix("-helper"))
            continue
        spared = (
            {name, marks.get(BESIDE)} & kept
            or (kept and what == What.SLOTS and BESIDE not in marks)
            or (run_id is not None and marks.get(RUN) != run_id)
        )
        if not spared and await remove(client, name):
            removed.append(name)
    volumes = await client.call(docker.volumes.list, filters={"label": chosen})
    for volume in volumes:
        name, marks = str(volume.name), volume.attrs.get("Labels") or {}
        of_run = RUN in marks and (run_id is None or marks[RUN] == run_id)
        # a volume that a kept container uses cannot be removed, and says so
        if of_run and await remove_volume(client, name):
            removed.append(name)
    return removed
