"""One engine of the pool: its image, its bases, its slots, and the sandboxes on it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from docker.models.containers import Container

from codexteam.adapters.docker.bases import Base, Bases
from codexteam.adapters.docker.client import ENGINE_ERRORS, HINT, EngineClient, clearing_up, said_by
from codexteam.adapters.docker.containers import (
    BASE,
    TREE,
    Live,
    StartFailedError,
    create,
    end_of,
    remove,
    server_command,
    start,
)
from codexteam.adapters.docker.hardening import (
    HOME,
    command_environment,
    container_options,
    differences,
    interfaces_in,
    memory_shares,
)
from codexteam.adapters.docker.image import Image
from codexteam.adapters.docker.naming import What, labels, sandbox_name
from codexteam.adapters.docker.network import Connection, connect_network, log_denial, network_of, unlimited_network
from codexteam.adapters.docker.slots import Lease, Slots
from codexteam.adapters.docker.workspace import COPY, Workspace
from codexteam.adapters.network_proxy import Proxy, ProxyPolicy
from codexteam.adapters.sandbox_channel import Channel
from codexteam.adapters.sandbox_channel_protocol import ChannelClosedError, GitInSandboxError
from codexteam.adapters.sandbox_channel_sandbox import ChannelSandbox
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode
from codexteam.core.json_types import JSONObject
from codexteam.core.text import clean
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.endings import to_its_end
from codexteam.ports.sandbox import WORKSPACE, Command, Sandbox, SandboxFacts, SandboxSpec

_FAILURES = (StartFailedError, ChannelClosedError, GitInSandboxError, *ENGINE_ERRORS)


class Node:
    """One engine. Owned by the pool."""

    def __init__(
        self, client: EngineClient, owner: str, *, runtime: str | None, policy: Callable[[NetworkPolicy], ProxyPolicy]
    ) -> None:
        self.client = client
        self.owner = owner
        self.runtime = runtime
        self.policy = policy
        self.bases = Bases(client, owner)
        self.slots = Slots(client, owner)
        self.on_denied: Callable[[JSONObject], None] | None = None
        """Gets every connection that the proxy refused."""
        self.layers: bool | None = None
        """Whether the engine lays workspaces over a base; None until one was started."""
        self.unlimited: tuple[str, ...] = ()

    async def look(self) -> str:
        """Ask the engine what it is; give its version.

        Raises:
            SandboxUnavailable: it does not answer.
        """
        docker = await self.client.connect()
        try:
            facts = await self.client.call(docker.info)
        except ENGINE_ERRORS as error:
            raise SandboxUnavailable(f"{self.client.settings.name}: {said_by(error)}", hint=HINT) from error
        if facts.get("OSType", "linux") != "linux":
            raise SandboxUnavailable(
                f"{self.client.settings.name} runs {facts['OSType']} containers", hint="switch it to Linux containers"
            )
        known = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cpu"}
        self.unlimited = tuple(what for key, what in known.items() if facts.get(key) is False)
        return str(facts.get("ServerVersion", ""))

    async def start(self, spec: SandboxSpec, image: Image, released: Callable[[], None]) -> Sandbox:
        """Start a sandbox; `released` is called once it is gone.

        Raises:
            SandboxUnavailable: it did not start.
        """
        base = await self.bases.get(spec.base, image)
        for layered in (True, False) if self.layers is None else (self.layers,):
            attempt = _Start(self, spec, image, base, layered=layered)
            try:
                channel = await attempt.first()
            except _FAILURES as error:
                await attempt.put_away()
                if layered and self.layers is None and await self._refuses_layers(error):
                    continue
                raise SandboxUnavailable(
                    f"the sandbox for {spec.agent} did not start on {self.client.settings.name}: {clean(said_by(error))}",
                    hint="see `codexteam doctor`",
                ) from error
            except BaseException:
                await attempt.put_away()
                raise
            self.layers = layered
            return attempt.sandbox(channel, released)
        raise AssertionError("unreachable")

    @staticmethod
    async def _refuses_layers(error: BaseException) -> bool:
        text = said_by(error).lower()
        return any(word in text for word in ("mount", "overlay", "volume", "option"))

    async def close(self) -> None:
        """Remove what sandboxes shared, and let go of the engine."""
        try:
            with clearing_up(f"what sandboxes shared on {self.client.settings.name}"):
                await self.slots.close()
        finally:
            await self.client.close()


@dataclass(slots=True)
class _Start:
    """The life of one sandbox: its first start, its later ones, its end."""

    node: Node
    spec: SandboxSpec
    image: Image
    base: Base
    layered: bool
    container: Container | None = None
    lease: Lease | None = None
    workspace: Workspace | None = None
    connection: Connection | None = None
    live: Live | None = field(default=None)

    @property
    def name(self) -> str:
        return sandbox_name(self.spec.agent)

    async def first(self) -> Channel:
        """Start it and put the workspace in place."""
        node, spec = self.node, self.spec
        size = memory_shares(spec.limits)[0], spec.limits.workspace_files
        marks = dict(labels(What.SANDBOX, node.owner, agent=spec.agent))
        await remove(node.client, self.name)
        await Workspace(self.name, self.base, None, size, marks).remove(node.client)
        if self.layered:
            self.lease = await node.slots.lease(spec.agent.run_id, self.name, size, self.image, self.base)
        self.workspace = Workspace(self.name, self.base, self.lease, size, marks)
        read_only = spec.mode is SandboxMode.READ_ONLY
        to_change = spec.base.commit != spec.base.root_commit or spec.restore is not None or not self.layered
        channel = await self._create_and_start(writable=not read_only or to_change)
        if not self.layered:
            copied = await channel.run(Command(COPY, timeout_seconds=300.0), {"PATH": self.image.commands["PATH"]})
            if not copied.ok:
                raise StartFailedError(copied.output.decode("utf-8", "replace"))
        await channel.populate(spec.base, root=False)
        if spec.restore is not None:
            await channel.restore(spec.restore)
        if read_only and to_change and self.layered:
            await self._stop()
            channel = await self._create_and_start(writable=False)
        return channel

    async def _create_and_start(self, *, writable: bool) -> Channel:
        node, spec = self.node, self.spec
        assert self.workspace is not None
        options = container_options(
            spec.limits, network=network_of(spec.network), runtime=node.runtime, environment=self.image.environment
        )
        options["mounts"] = self.workspace.mounts(writable=writable)
        options["working_dir"] = WORKSPACE
        command = server_command(WORKSPACE, base_git=f"{BASE}/{TREE}/.git", output_cap_bytes=spec.limits.output_bytes)
        self.image.cover_volumes(options)
        options |= {"name": self.name, "labels": self.workspace.labels}
        self.container = await create(node.client, self.image.id, command, options)
        return await self._start()

    async def _start(self) -> Channel:
        """Start the container and see that it is as it was asked for."""
        assert self.container is not None
        self.live = await start(self.node.client, self.container)
        channel = self.live.channel
        line = Command(("sh", "-c", f"mkdir -p {HOME} && cat /proc/net/dev"), cwd="/", timeout_seconds=30.0)
        looked = await channel.run(line, {"PATH": self.image.commands["PATH"]})
        network = self.spec.network.kind is NetworkKind.OPEN
        interfaces = interfaces_in(looked.output.decode("utf-8", "replace"))
        wrong = differences(self.live.hello, interfaces, network=network)
        if not looked.ok or wrong:
            await channel.close()
            what = "; ".join(wrong) or looked.output.decode("utf-8", "replace")
            raise StartFailedError(f"the engine did not confine it as asked: {what}")
        if self.spec.network.kind is NetworkKind.ALLOWLIST:
            proxy = Proxy(self.node.policy(self.spec.network), on_denied=self._denied)
            self.connection = await connect_network(self.node.client, self.container, proxy, self.connection)
        return channel

    def _denied(self, denial: JSONObject) -> None:
        told: JSONObject = {**denial, "sandbox": self.name, "agent": str(self.spec.agent)}
        log_denial(told)
        if self.node.on_denied is not None:
            self.node.on_denied(told)

    async def again(self) -> Channel:
        """Start it once more, over the same workspace."""
        client = self.node.client
        assert self.container is not None
        why = await end_of(client, self.container)
        if not self.layered:
            raise SandboxLost(f"{why}; its workspace went with it")
        try:
            with contextlib.suppress(*ENGINE_ERRORS):
                await client.call(self.container.kill)
            return await self._start()
        except _FAILURES as error:
            raise SandboxLost(f"{why}; it could not be started again: {clean(said_by(error))}") from error

    async def _stop(self) -> None:
        if self.connection is not None:
            await self.connection.close()
        if self.live is not None:
            await self.live.channel.close()
            self.live = None
        await remove(self.node.client, self.name)

    async def shut(self) -> None:
        """Remove it with all that is in it; its slot is given back even where the engine removes nothing."""
        try:
            await self._stop()
            if self.workspace is not None:
                await self.workspace.remove(self.node.client)
        finally:
            if self.lease is not None:
                lease, self.lease = self.lease, None
                await self.node.slots.release(lease)

    async def put_away(self) -> None:
        """Remove it as far as the engine lets us: why it ends counts, not what is left of it."""
        with clearing_up(self.name):
            await to_its_end(self.shut())

    def sandbox(self, channel: Channel, released: Callable[[], None]) -> Sandbox:
        """Give the port's view of it."""
        proxy = self.connection.url if self.connection is not None else None

        async def shut() -> None:
            try:
                await self.put_away()
            finally:
                released()

        unlimited = (*self.node.unlimited, *unlimited_network(self.spec.network))
        facts = SandboxFacts(
            "docker", self.name, self.image.reference, self.spec.mode, self.spec.network, unlimited=unlimited
        )
        return ChannelSandbox(
            facts=facts,
            spec=self.spec,
            environment=command_environment(self.image.commands, proxy),
            channel=channel,
            respawn=self.again,
            shut=shut,
        )
