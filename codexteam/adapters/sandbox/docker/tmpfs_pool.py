"""Room for what sandboxes write: memory file systems of a fixed size, held by a container that does nothing else.

An engine empties such a file system when its last container stops. So one container per run holds a row of them, and
a sandbox gets a folder in one, as the upper layer of its workspace; the size then is the sandbox's quota. What a
sandbox writes counts against its own memory limit, and outlives its container until the slot is given back.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from docker.types import DriverConfig, Mount

from codexteam.adapters.sandbox.docker.bases import Base
from codexteam.adapters.sandbox.docker.client import EngineClient, clearing_up
from codexteam.adapters.sandbox.docker.containers import (
    BASE,
    PRIVATE,
    TREE,
    Image,
    Live,
    create,
    remove,
    remove_volume,
    server_command,
    start,
)
from codexteam.adapters.sandbox.docker.hardening import (
    BESIDE,
    UID,
    What,
    container_options,
    labels,
    slots_name,
)
from codexteam.adapters.sandbox.protocol import ChannelClosedError
from codexteam.config.settings import SandboxLimits
from codexteam.ports.sandbox import REPOSITORIES, WORKSPACE, Command

#: File systems per container; each costs nothing while it is empty.
_ROW = 16
_ROOM = "/slots"
_LIMITS = SandboxLimits(memory_bytes=256 << 20, cpus=2.0, max_processes=64, tmp_bytes=16 << 20)
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
#: For git's own data, where there is no slot to keep it in.
_PRIVATE_FILES = 100_000
#: Fills a copied workspace; run as the agents' user before the first command.
COPY = ("cp", "-a", f"{BASE}/{TREE}/.", f"{WORKSPACE}/")


@dataclass(frozen=True, slots=True)
class Lease:
    """A folder in a slot. `folder` is a path of the engine's machine; upper, work and private lie in it."""

    row: "Row"
    number: int
    name: str

    @property
    def folder(self) -> str:
        """Where the engine has it."""
        return f"{self.row.folders[self.number]}/{self.name}"


@dataclass(slots=True)
class Row:
    """One container and the slots that it holds."""

    size: tuple[int, int]
    """Bytes and files of each slot."""
    run_id: str
    live: Live
    volumes: list[str]
    folders: list[str]
    free: list[int]
    image: str
    """The id of the image that the container was made from."""


@dataclass(slots=True)
class Slots:
    """All rows on one engine."""

    client: EngineClient
    owner: str
    beside: str = ""
    """The only sandbox that they are for, where each process of a run has rows of its own."""
    _rows: list[Row] = field(default_factory=list)
    _made: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def lease(self, run_id: str, name: str, size: tuple[int, int], image: Image, base: Base) -> Lease:
        """Return an empty folder for a sandbox of that name."""
        async with self._lock:
            row = next((row for row in self._rows if self._fits(row, run_id, size)), None)
            if row is None:
                row = await self._make_row(run_id, size, image, base)
                self._rows.append(row)
            number = row.free.pop()
        lease = Lease(row, number, name)
        folder = f"{_ROOM}/{number}/{name}"
        line = 'rm -rf "$0" && mkdir -p "$0/upper" "$0/work" "$0/private" && chown "$1" "$0/upper" "$0/private"'
        try:
            await self._run(row, "sh", "-c", line, folder, f"{UID}:{UID}")
        except BaseException:
            row.free.append(number)  # it is emptied before its next use
            raise
        return lease

    async def release(self, lease: Lease) -> None:
        """Take a folder back. A container that the engine would not remove loses its files, and shares room at worst."""
        row = lease.row
        if row in self._rows and row.live.channel.closed is None:
            try:
                await self._run(row, "rm", "-rf", f"{_ROOM}/{lease.number}/{lease.name}")
            except ChannelClosedError:
                return  # the slot is not used again, and goes with its row
            row.free.append(lease.number)

    async def close(self) -> None:
        """Remove every row."""
        rows, self._rows = self._rows, []
        for row in rows:
            await self._remove(row)

    async def let_go(self, image: str) -> None:
        """Remove the rows that keep an image in use and hold nothing."""
        async with self._lock:
            idle = [row for row in self._rows if row.image == image and len(row.free) == _ROW]
            self._rows = [row for row in self._rows if row not in idle]
            for row in idle:
                await self._remove(row)

    async def _remove(self, row: Row) -> None:
        await row.live.channel.close()
        await remove(self.client, str(row.live.container.name))
        for volume in row.volumes:
            await remove_volume(self.client, volume)

    @staticmethod
    def _fits(row: Row, run_id: str, size: tuple[int, int]) -> bool:
        return bool(row.free) and row.run_id == run_id and row.size == size and row.live.channel.closed is None

    async def _run(self, row: Row, *argv: str) -> None:
        result = await row.live.channel.run(Command(argv, cwd="/", timeout_seconds=120.0), _ENVIRONMENT)
        if not result.ok:
            raise ChannelClosedError(result.output.decode("utf-8", "replace").strip() or "a slot cannot be used")

    async def _make_row(self, run_id: str, size: tuple[int, int], image: Image, base: Base) -> Row:
        self._made += 1
        name = slots_name(run_id, self._made, self.owner, f"{self.client.settings.name}{self.beside}")
        marks = dict(labels(What.SLOTS, self.owner, run_id=run_id))
        if self.beside:
            marks[BESIDE] = self.beside
        volumes = [f"{name}-{number}" for number in range(_ROW)]
        for volume in volumes:  # of another size, if an earlier try left one
            await remove_volume(self.client, volume)
        how = DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": tmpfs_options(*size)})
        options: dict[str, Any] = container_options(
            _LIMITS, network="none", runtime=None, environment=image.environment
        )
        options["mounts"] = [
            Mount(f"{_ROOM}/{number}", volume, type="volume", labels=marks, driver_config=how, no_copy=True)
            for number, volume in enumerate(volumes)
        ]
        options["mounts"].append(Mount(BASE, base.volume, type="volume", read_only=True, no_copy=True))
        # it makes and removes folders that belong to others; nothing of an agent's ever runs in it
        image.cover_volumes(options)
        options |= {"user": "0:0", "cap_add": ["DAC_OVERRIDE", "CHOWN", "FOWNER"], "oom_score_adj": 0}
        command = server_command("/tmp", base_git=None, private="/tmp/private")  # noqa: S108
        options |= {"name": name, "labels": marks}
        try:
            container = await create(self.client, image.id, command, options)
            live = await start(self.client, container)
            await self.client.call(container.reload)
        except BaseException:
            with clearing_up(name):
                await remove(self.client, name)
                for volume in volumes:
                    await remove_volume(self.client, volume)
            raise
        where = {mount["Name"]: str(mount["Source"]) for mount in container.attrs["Mounts"]}
        folders = [where[volume] for volume in volumes]
        return Row(size, run_id, live, volumes, folders, list(range(_ROW)), image.id)


def tmpfs_options(size_bytes: int, files: int) -> str:
    """Return the mount options of a memory file system with a quota."""
    return f"size={size_bytes},nr_inodes={files},nosuid,nodev,uid={UID},gid={UID},mode=0755"


@dataclass(frozen=True, slots=True)
class WorkspaceVolumes:
    """The volumes of one sandbox. Created with its container, removed by `remove`."""

    name: str
    base: Base
    lease: Lease | None
    """None: a memory file system that the base is copied into, and that is gone when the container stops."""
    size: tuple[int, int]
    labels: dict[str, str]

    @property
    def volumes(self) -> tuple[str, str]:
        """The workspace's volume, and that of the server's own data."""
        return f"{self.name}-work", f"{self.name}-private"

    def mounts(self, *, writable: bool, repositories: bool = False) -> list[Any]:
        """Return the mounts of the sandbox's container; with `repositories` the workspace is at their place too."""
        work, private = self.volumes
        return [
            *([self._mount(REPOSITORIES, work, self._work(), read_only=True)] if repositories else ()),
            Mount(BASE, self.base.volume, type="volume", read_only=True, no_copy=True),
            self._mount(WORKSPACE, work, self._work(), read_only=not writable),
            self._mount(PRIVATE, private, self._private(), read_only=False),
        ]

    def _mount(self, target: str, volume: str, options: dict[str, str], *, read_only: bool) -> Any:
        how = DriverConfig("local", options)
        return Mount(
            target, volume, type="volume", read_only=read_only, no_copy=True, labels=self.labels, driver_config=how
        )

    def _work(self) -> dict[str, str]:
        if self.lease is None:
            return {"type": "tmpfs", "device": "tmpfs", "o": tmpfs_options(*self.size)}
        folder = self.lease.folder
        layers = f"lowerdir={self.base.folder}/{TREE},upperdir={folder}/upper,workdir={folder}/work"
        # without redirects a folder of the checkout cannot be renamed (EXDEV)
        return {"type": "overlay", "device": "overlay", "o": f"{layers},redirect_dir=on,nosuid,nodev"}

    def _private(self) -> dict[str, str]:
        if self.lease is None:
            return {"type": "tmpfs", "device": "tmpfs", "o": tmpfs_options(self.size[0], _PRIVATE_FILES)}
        return {"type": "none", "device": f"{self.lease.folder}/private", "o": "bind,nosuid,nodev"}

    async def remove(self, client: EngineClient) -> None:
        """Remove the volumes; the container is gone already."""
        for volume in self.volumes:
            await remove_volume(client, volume)
