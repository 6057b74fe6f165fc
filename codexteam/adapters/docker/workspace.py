"""One sandbox's workspace on an engine: a layer of its own over a base, or a copy where layers are refused."""

from dataclasses import dataclass
from typing import Any

from docker.types import DriverConfig, Mount

from codexteam.adapters.docker.bases import Base
from codexteam.adapters.docker.client import EngineClient
from codexteam.adapters.docker.containers import BASE, PRIVATE, TREE, remove_volume
from codexteam.adapters.docker.slots import Lease, tmpfs_options
from codexteam.ports.sandbox import WORKSPACE

#: For git's own data, where there is no slot to keep it in.
_PRIVATE_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Workspace:
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

    def mounts(self, *, writable: bool) -> list[Any]:
        """Give the mounts of the sandbox's container."""
        work, private = self.volumes
        return [
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
        return {"type": "overlay", "device": "overlay", "o": f"{layers},nosuid,nodev"}

    def _private(self) -> dict[str, str]:
        if self.lease is None:
            return {"type": "tmpfs", "device": "tmpfs", "o": tmpfs_options(self.size[0], _PRIVATE_FILES)}
        return {"type": "none", "device": f"{self.lease.folder}/private", "o": "bind,nosuid,nodev"}

    async def remove(self, client: EngineClient) -> None:
        """Remove the volumes; the container is gone already."""
        for volume in self.volumes:
            await remove_volume(client, volume)


#: Fills a copied workspace; run as the agents' user before the first command.
COPY = ("cp", "-a", f"{BASE}/{TREE}/.", f"{WORKSPACE}/")
