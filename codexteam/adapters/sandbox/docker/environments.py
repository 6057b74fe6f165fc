"""What a pool of engines keeps of set-ups: the port `Environments` over Docker.

An environment is made on one engine. Another one of the pool gets a copy of it before the first sandbox on it starts.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from codexteam.adapters.sandbox.claims import Claims
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, HINT, clearing_up, said_by
from codexteam.adapters.sandbox.docker.containers import remove_volume
from codexteam.adapters.sandbox.docker.environment_images import (
    EnvironmentImage,
    carry,
    load,
    look,
    look_for_all,
    remove_images,
    save,
)
from codexteam.adapters.sandbox.docker.hardening import What, chosen
from codexteam.adapters.sandbox.docker.images import Images
from codexteam.adapters.sandbox.docker.node import Node
from codexteam.adapters.sandbox.docker.setup_sandbox import DockerSetupSandbox, start_set_up
from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder
from codexteam.ports.sandbox import BaseSource
from codexteam.system.cancellation import stopped


class DockerEnvironments:
    """The environments of one owner on all engines of a pool."""

    starts_services = True
    uses_images = True

    def __init__(self, nodes: Callable[[], Sequence[Node]], images: Images, *, owner: str, claims: Claims) -> None:
        """Take where they are.

        Args:
            nodes: gives the engines that count as up, in the order in which they are asked.
            images: what set-ups start from.
            owner: distinguishes our environments from another repository's.
            claims: who builds what, and when what was used.
        """
        self._nodes = nodes
        self._images = images
        self._owner = owner
        self._claims = claims
        self._carrying: dict[tuple[int, str], asyncio.Lock] = {}
        self._copying: set[asyncio.Task[None]] = set()

    async def identity(self, base: BaseSource) -> str:
        """Return the id of the image that set-ups start from."""
        return (await self._images.get(await self._first(), base)).id

    async def find(self, key: str) -> Environment | None:
        """Return the environment of that key and mark it as used; None when there is none that is whole."""
        for node in await self._answering():
            kept = await look(node.client, self._owner, key)
            if kept is not None:
                self._claims.use(key)
                return kept.environment
        return None

    def claim(self, key: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else builds that key, here or in another process of this machine."""
        return self._claims.claim(key)

    async def set_up(self, order: SetupOrder) -> DockerSetupSandbox:
        """Start the sandbox of a set-up, on the first engine that answers. Owned by the caller."""
        node = await self._first()
        image = await self._images.get(node, order.base)
        return await start_set_up(node, image, order, lambda: self._kept(node, order.key))

    async def _kept(self, node: Node, key: str) -> None:
        """Remove what a new environment replaces, wherever it is."""
        self._claims.use(key)
        new = await look(node.client, self._owner, key)
        for each in await self._answering():
            with clearing_up(f"an older environment {key}"):
                await remove_images(each.client, self._owner, key, but=new.image.id if new else "")
                await each.bases.prune(environment_key=key)
            if each is not node:  # so that it does not die with the host that made it
                task = asyncio.create_task(self._copy(each, key))
                self._copying.add(task)
                task.add_done_callback(self._copying.discard)

    async def _copy(self, node: Node, key: str) -> None:
        with clearing_up(f"a copy of the environment {key} on {node.client.settings.name}", "is not made"):
            await self.on(node, key)

    async def close(self) -> None:
        """End what is being copied; it is copied when it is needed."""
        for task in tuple(self._copying):
            await stopped(task)

    async def on(self, node: Node, key: str) -> EnvironmentImage:
        """Return an environment for sandboxes on an engine; one that only another engine has is brought there.

        Raises:
            SandboxUnavailable: no engine has it.
        """
        async with self._carrying.setdefault((id(node), key), asyncio.Lock()):
            kept = await look(node.client, self._owner, key)
            if kept is None:
                kept = await self._brought(node, key)
        if kept is None:
            raise SandboxUnavailable(
                f"there is no environment {clean_line(key)} on {node.client.settings.name}: it was never built, or was "
                "removed",
                hint="build it: `codexteam env build`",
            )
        self._claims.use(key)
        return kept

    async def _brought(self, node: Node, key: str) -> EnvironmentImage | None:
        for other in await self._answering():
            if other is not node and await look(other.client, self._owner, key) is not None:
                names = f"from {other.client.settings.name} to {node.client.settings.name}"
                try:
                    await carry(other.client, node.client, self._owner, key)
                except ENGINE_ERRORS as error:
                    raise SandboxUnavailable(
                        f"the environment {clean_line(key)} could not be brought {names}: {said_by(error)}",
                        hint="see that both engines answer and have room on their disks",
                    ) from error
                return await look(node.client, self._owner, key)
        return None

    async def list(self) -> Sequence[tuple[Environment, int]]:
        """Return all that are kept and when each was last used, in seconds since the epoch; last used first."""
        found: dict[str, Environment] = {}
        for node in await self._answering():
            try:
                for each in await look_for_all(node.client, self._owner):
                    found.setdefault(each.key, each)
            except ENGINE_ERRORS as error:
                raise _silence(node, error) from error
        used = {key: self._claims.last_used_at_seconds(key) or each.made_at_seconds for key, each in found.items()}
        return [(found[key], used[key]) for key in sorted(found, key=lambda key: used[key], reverse=True)]

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove environments that nobody uses and that no claim holds; return the keys of those that are gone."""
        nodes = await self._answering()
        gone = []
        for key in keys:
            with self._claims.claimed_at_once(key) as is_ours:
                if is_ours and await self._remove(nodes, key):
                    self._claims.forget(key)
                    gone.append(key)
        for node in nodes:
            await self.tidy(node)
        return gone

    async def _remove(self, nodes: Sequence[Node], key: str) -> bool:
        removed = False
        for node in nodes:
            try:
                kept = await look(node.client, self._owner, key)
                if kept is not None:
                    for each in nodes:  # two of a pool may be one engine
                        await each.slots.let_go(kept.image.id)
                found = await remove_images(node.client, self._owner, key)
                if kept is not None and not found:
                    return False
                await node.bases.prune(environment_key=key)
            except ENGINE_ERRORS as error:
                raise _silence(node, error) from error
            removed = removed or found
        return removed

    async def pack(self, key: str, destination: Path) -> None:
        """Write a copy of an environment into a file, for an engine on another machine."""
        for node in await self._answering():
            if await look(node.client, self._owner, key) is None:
                continue
            try:
                return await save(node.client, self._owner, key, destination)
            except (*ENGINE_ERRORS, OSError) as error:
                raise SandboxUnavailable(
                    f"the environment {clean_line(key)} could not be copied from {node.client.settings.name}: {said_by(error)}",
                    hint="see that the engine answers, and that there is room on the disk",
                ) from error
        raise SandboxUnavailable(
            f"there is no environment {clean_line(key)} to copy", hint="`codexteam env build` builds it"
        )

    async def unpack(self, key: str, source: Path) -> Environment:
        """Take in what `pack` wrote, under a claim of its key."""
        node = await self._first()
        kept = await look(node.client, self._owner, key)
        if kept is None:
            try:
                await load(node.client, source)
            except (*ENGINE_ERRORS, OSError) as error:
                raise SandboxUnavailable(
                    f"a copy of the environment {clean_line(key)} cannot be taken in: {said_by(error)}",
                    hint=f"see that {node.client.settings.name} answers and has room on its disk",
                ) from error
            kept = await look(node.client, self._owner, key)
        if kept is None:
            raise SandboxUnavailable(
                f"the copy is not of the environment {clean_line(key)}",
                hint="codexteam of one version has to run on both machines",
            )
        self._claims.use(key)
        return kept.environment

    async def tidy(self, node: Node) -> None:
        """Remove the caches of set-ups from an engine that has no environment left."""
        if await look_for_all(node.client, self._owner):
            return
        docker = await node.client.connect()
        filters = {"label": chosen(What.CACHE, self._owner)}
        for volume in await node.client.call(docker.volumes.list, filters=filters):
            await remove_volume(node.client, str(volume.name))

    async def _first(self) -> Node:
        return (await self._answering())[0]

    async def _answering(self) -> Sequence[Node]:
        """Return the engines that answer.

        Raises:
            SandboxUnavailable: none does; as the first one said.
        """
        found: list[Node] = []
        silent: list[SandboxUnavailable] = []
        for node in self._nodes():
            try:
                await node.client.connect()
            except SandboxUnavailable as error:
                silent.append(error)
            else:
                found.append(node)
        if not found:
            raise silent[0]
        return found


def _silence(node: Node, error: BaseException) -> SandboxUnavailable:
    where = node.client.settings.name
    return SandboxUnavailable(f"the Docker engine does not answer ({where}): {said_by(error)}", hint=HINT)
