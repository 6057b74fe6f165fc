"""The read-only checkouts that workspaces are laid over: one volume per root commit and engine, made once."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from docker.models.containers import Container
from docker.types import Mount

from codexteam.adapters.sandbox.docker.client import (
    ENGINE_ERRORS,
    APIError,
    EngineClient,
    NotFound,
    clearing_up,
    said_by,
)
from codexteam.adapters.sandbox.docker.containers import (
    BASE,
    CONFLICT,
    LAYER,
    MARK,
    PROGRAM,
    TREE,
    ContainerStartError,
    Image,
    base_archive,
    remove,
    remove_base,
    remove_volume,
    server_command,
    start,
    unmake,
)
from codexteam.adapters.sandbox.docker.hardening import KEY, What, base_name, chosen, container_options, digest, labels
from codexteam.adapters.sandbox.program import compile_command, program_hash
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.config.settings import SandboxLimits
from codexteam.core.text import clean
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import BaseSource, Command
from codexteam.system.cancellation import to_its_end

_LEAST_PYTHON = (3, 7)
_NEEDS = "a sandbox image needs python3 (3.7 or later) and git: choose another image, or install them in a dockerfile"
#: Another process that makes the same base is waited for this long.
_PATIENCE_SECONDS = 600
#: How often, and at what distance, one that does not run is looked at before it counts as left behind.
_LOOKS, _LOOK_SECONDS = 60, 0.25
#: The whole checkout is one process's work.
_LIMITS = replace(SandboxLimits(), max_file_bytes=1 << 40)


@dataclass(frozen=True, slots=True)
class Base:
    """A checkout on an engine."""

    volume: str
    folder: str
    """Where the engine has it; a path of the engine's machine."""


@dataclass(slots=True)
class DockerBases:
    """The checkouts on one engine."""

    client: EngineClient
    owner: str
    _made: dict[str, Base] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def get(
        self,
        base: BaseSource,
        image: Image,
        on_progress: Callable[[str], None] | None = None,
    ) -> Base:
        """Return the checkout of a base's root commit.

        Raises:
            SandboxUnavailable: it could not be made; says what to do.
        """
        extra = await asyncio.to_thread(_hash, base.extra_files) if base.extra_files else ""
        # the image counts: whether it has what is needed shows when a base is made with it
        key = digest(base.root_commit, extra, image.id, program_hash())
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._made:
                name = base_name(key, self.owner)
                try:
                    self._made[key] = await self._get(name, base, image, on_progress)
                except (ContainerStartError, ChannelClosedError, GitInSandboxError, *ENGINE_ERRORS) as error:
                    raise SandboxUnavailable(
                        f"the checkout of {base.root_commit[:12]} could not be made in {clean(image.reference)}: "
                        f"{clean(said_by(error))}",
                        hint=_NEEDS,
                    ) from error
            return self._made[key]

    async def _get(
        self,
        name: str,
        base: BaseSource,
        image: Image,
        on_progress: Callable[[str], None] | None,
    ) -> Base:
        helper = f"{name}-helper"
        while True:
            # one helper at a time, by its name; what it made counts once its mark is there
            await self._wait_for_others(helper, name)
            found = await self._find(name)
            if found is not None:
                return found
            if on_progress is not None:
                on_progress(f"checking {base.root_commit[:12]} out on {self.client.settings.name}")
            await remove_base(self.client, name)
            container = await self._make_helper(helper, name, image)
            if container is None:
                continue
            try:
                await remove_volume(self.client, name + MARK)
                await self._fill(container, base, image)
                await self._mark(name, image.environment_key)
            except BaseException:
                with clearing_up(helper):
                    await remove(self.client, helper)
                    await remove_base(self.client, name)
                raise
            await to_its_end(remove(self.client, helper))

    async def _find(self, name: str) -> Base | None:
        """Return a checkout that was finished."""
        docker = await self.client.connect()
        try:
            await self.client.call(docker.volumes.get, name + MARK)
            found = await self.client.call(docker.volumes.get, name)
        except NotFound:
            return None
        return Base(name, str(found.attrs["Mountpoint"]))

    async def _mark(self, name: str, environment_key: str) -> None:
        docker = await self.client.connect()
        marks = {**labels(What.BASE, self.owner), KEY: environment_key}
        await self.client.make(
            lambda: docker.volumes.create(name + MARK, labels=marks), undo=lambda volume: volume.remove()
        )

    async def _wait_for_others(self, helper: str, volume: str) -> None:
        """Wait while another process makes the base; remove what one left that was killed over it."""
        docker = await self.client.connect()
        # not running is what it is just before it starts and just before it is removed, or for ever
        for _ in range(_LOOKS):
            try:
                other = await self.client.call(docker.containers.get, helper)
                if other.status == "running":
                    await self.client.call(other.wait, timeout=_PATIENCE_SECONDS)
            except NotFound:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        await remove(self.client, helper)
        await remove_base(self.client, volume)

    async def _make_helper(self, helper: str, volume: str, image: Image) -> Container | None:
        """Make the container, and with it the volume; None when another process was quicker.

        Cancelled, it leaves neither, and what another process made it leaves alone.
        """
        docker = await self.client.connect()
        options = container_options(_LIMITS, network="none", runtime=None, environment=image.environment)
        image.cover_volumes(options)
        marks = {**labels(What.BASE, self.owner), KEY: image.environment_key}
        options["mounts"] = [Mount(BASE, volume, type="volume", labels=marks, no_copy=True)]
        options |= {"name": helper, "labels": dict(labels(What.HELPER, self.owner))}
        command = server_command(f"{BASE}/{TREE}", base_git=None, private="/tmp/private")  # noqa: S108

        def make() -> Container:
            return docker.containers.create(image.id, list(command), **options)

        def undo(container: Container) -> None:
            unmake(container)
            docker.api.remove_volume(volume)

        try:
            return await self.client.make(make, undo)
        except APIError as error:
            if error.status_code == CONFLICT:
                return None
            raise

    async def _fill(self, container: Container, base: BaseSource, image: Image) -> None:
        await self.client.call(container.put_archive, BASE, base_archive())
        live = await start(self.client, container)
        try:
            check_python(live.hello.python)
            # what is compiled now is read by all that start over it: half of what a start takes in Python
            for argv in (("git", "--version"), compile_command("python3", PROGRAM, PROGRAM)):
                done = await live.channel.run(Command(argv, cwd="/"), {"PATH": str(image.environment["PATH"])})
                if not done.ok:
                    raise ContainerStartError(done.output.decode("utf-8", "replace"))
            await live.channel.populate_root(base)
            if image.environment_key:
                await live.channel.job("lay_layer", {"source": LAYER})
            await live.channel.job("seal", {"mtime_seconds": int(time.time()) - 60})
        finally:
            await live.channel.close()

    async def prune(self, *, environment_key: str = "") -> list[str]:
        """Remove the checkouts that no container uses, of one environment if its key is given; give their names."""
        docker = await self.client.connect()
        filters = {"label": chosen(What.BASE, self.owner, key=environment_key)}
        names = {str(volume.name) for volume in await self.client.call(docker.volumes.list, filters=filters)}
        found = {name.removesuffix(MARK) for name in names}
        removed = [name for name in sorted(found) if await remove_base(self.client, name) and name in names]
        self._made.clear()
        return removed


def check_python(version: str) -> None:
    """Refuse a Python that cannot run the server.

    Raises:
        StartFailedError: it is too old.
    """
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts < _LEAST_PYTHON:
        raise ContainerStartError(f"its python3 is {version}")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
