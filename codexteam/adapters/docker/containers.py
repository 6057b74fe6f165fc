"""A container whose main process is the sandbox server, and the channel to it."""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container

from codexteam.adapters.docker.client import ENGINE_ERRORS, APIError, EngineClient, NotFound, said_by
from codexteam.adapters.docker.hardening import INSIDE, UID
from codexteam.adapters.docker.streams import adopt, let_go
from codexteam.adapters.sandbox_channel import Channel
from codexteam.adapters.sandbox_channel_protocol import ChannelClosedError, Hello, server_settings, server_source

#: Inside every container: the volume with the server, and in it the checkout.
BASE = f"{INSIDE}/base"
PRIVATE = f"{INSIDE}/private"
TREE = "tree"
#: What is behind a base's name in that of the empty volume that says it is whole.
MARK = "-whole"
_SERVER = "sandbox_server"
_COMPILED = "compiled"
# imported, not run, so that its compiled form is kept as well
_START = f"import sys; sys.path.insert(0, sys.argv.pop(1)); import {_SERVER}; {_SERVER}.main()"
_KILLED = 137
#: What the engine answers when a name is taken, or something is in use.
CONFLICT = 409


class StartFailedError(Exception):
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
    """Give the command of a container's main process."""
    settings = server_settings(
        workspace=workspace, private=private, base_git=base_git, alone=True, output_cap_bytes=output_cap_bytes
    )
    # what is compiled when a base is made is read by all that start over it: half of what a start takes in Python
    return ("python3", "-I", "-X", f"pycache_prefix={BASE}/{_COMPILED}", "-c", _START, BASE, settings)


def server_archive() -> bytes:
    """Give what a new base holds: the server, and an empty folder for the checkout that belongs to the agents' user."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in (TREE, _COMPILED):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, UID, UID
            archive.addfile(folder)
        source = server_source()
        file = tarfile.TarInfo(f"{_SERVER}.py")
        file.size, file.mode = len(source), 0o644
        archive.addfile(file, io.BytesIO(source))
    return stream.getvalue()


async def create(client: EngineClient, image: str, command: Sequence[str], options: dict[str, Any]) -> Container:
    """Create a container; what an earlier try left under the name in `options` is removed."""
    docker = await client.connect()

    def make() -> Container:
        return docker.containers.create(image, list(command), **options)

    try:
        return await client.make(make, undo=unmake)
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
    await remove(client, str(options["name"]))
    return await client.make(make, undo=unmake)


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
        raise StartFailedError(said_by(error)) from error
    channel = Channel(reader, writer)
    try:
        await client.call(container.start)
        hello = await channel.ready()
    except ENGINE_ERRORS as error:
        await channel.close()
        raise StartFailedError(said_by(error)) from error
    except ChannelClosedError as error:
        await channel.close()
        said = bytes(reader.errors).decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise StartFailedError(f"{error}; {said}" if said else str(error)) from error
    except BaseException:
        await channel.close()
        raise
    return Live(container, channel, hello)


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
