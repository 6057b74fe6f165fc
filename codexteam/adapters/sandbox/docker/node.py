"""One engine of the pool: its image, its bases, its slots, and the sandboxes on it."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from docker.models.containers import Container
from docker.types import Mount

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.docker.bases import Base, DockerBases
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, HINT, EngineClient, clearing_up, said_by
from codexteam.adapters.sandbox.docker.containers import (
    BASE,
    TREE,
    ContainerStartError,
    Image,
    Live,
    create,
    end_of,
    remove,
    runtime_of,
    server_command,
    start,
)
from codexteam.adapters.sandbox.docker.hardening import (
    HOME,
    ROOT_ENVIRONMENT,
    RUNTIME_HINT,
    What,
    as_root,
    command_environment,
    container_options,
    differences,
    interfaces_in,
    labels,
    lacks_runtime,
    memory_shares,
    sandbox_name,
)
from codexteam.adapters.sandbox.docker.network import (
    connect_network,
    log_denial,
    network_of,
    unlimited_network,
)
from codexteam.adapters.sandbox.docker.pool import silence_of
from codexteam.adapters.sandbox.docker.services import ServiceSet, host_names, prepare_services, wants_services
from codexteam.adapters.sandbox.docker.tmpfs_pool import COPY, Lease, Slots, WorkspaceVolumes
from codexteam.adapters.sandbox.environment_variables import of_environment
from codexteam.adapters.sandbox.network.connection import Connection
from codexteam.adapters.sandbox.network.proxy import Proxy, ProxyPolicy
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError, Hello
from codexteam.config.settings import EngineSettings, NetworkKind, NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.text import clean, clean_line
from codexteam.environment.plan import Service
from codexteam.errors import HostLost, ProgramsUnavailable, SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment
from codexteam.ports.sandbox import PROGRAMS, WORKSPACE, Command, Sandbox, SandboxFacts, SandboxSpec
from codexteam.system.cancellation import to_its_end

_FAILURES = (ContainerStartError, ChannelClosedError, GitInSandboxError, *ENGINE_ERRORS)


class Node:
    """One engine. Owned by the pool."""

    def __init__(
        self,
        client: EngineClient,
        owner: str,
        *,
        runtime: str | None,
        policy: Callable[[NetworkPolicy], ProxyPolicy],
        only_for: AgentKey | None = None,
    ) -> None:
        self.client = client
        self.owner = owner
        self.runtime = runtime
        self.policy = policy
        self.bases = DockerBases(client, owner)
        self.slots = Slots(client, owner, "" if only_for is None else sandbox_name(only_for))
        self.on_denied: Callable[[JSONObject], None] | None = None
        """Gets every connection that the proxy refused."""
        self.is_named = False
        """Whether the user's configuration names it."""
        self.on_silence: Callable[[Node, str], None] | None = None
        """Is told that the engine does not answer, and what it said last."""
        self.is_down: Callable[[], bool] = lambda: False
        """Says whether the pool knows that the engine does not answer: then nothing is asked of it that can wait."""
        self.layers: bool | None = None
        """Whether the engine lays workspaces over a base; None until one was started."""
        self.unlimited: tuple[str, ...] = ()

    @property
    def name_shown(self) -> str:
        """Return its name in receipts; empty where nobody configured one."""
        return self.settings.name if self.is_named else ""

    @property
    def settings(self) -> EngineSettings:
        """Return what the configuration says of it."""
        return self.client.settings

    async def refuse_silence(self, sandbox: str) -> None:
        """See that the engine under a sandbox answers.

        Raises:
            HostLost: it does not; the pool knows from now on.
        """
        why = await silence_of(self)
        if why is None:
            return
        if self.on_silence is not None:
            self.on_silence(self, why)
        raise HostLost(f"host {self.settings.name}, where {sandbox} was, does not answer: {clean(why)}")

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
        self._check_runtime(facts.get("Runtimes") or {})
        known = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cpu"}
        self.unlimited = tuple(what for key, what in known.items() if facts.get(key) is False)
        return str(facts.get("ServerVersion", ""))

    def _check_runtime(self, there: Mapping[str, object]) -> None:
        if not lacks_runtime(there.keys(), self.runtime):
            return
        names = ", ".join(clean_line(name) for name in sorted(there)) or "none"
        raise SandboxUnavailable(
            f"{self.client.settings.name} has no runtime {self.runtime!r}; it has {names}", hint=RUNTIME_HINT
        )

    async def see_network(
        self,
        channel: Channel,
        image: Image,
        network: NetworkPolicy,
        hello: Hello | None = None,
        *,
        root: bool = False,
    ) -> None:
        """See that the engine confined a container as it was asked to: its interfaces, and all else that `hello` says.

        Raises:
            ContainerStartError: it did not.
        """
        line = Command(("sh", "-c", f"mkdir -p {HOME} && cat /proc/net/dev"), cwd="/", timeout_seconds=30.0)
        looked = await channel.run(line, {"PATH": image.commands["PATH"]})
        interfaces = interfaces_in(looked.output.decode("utf-8", "replace"))
        wrong = differences(hello, interfaces, network=network.kind is NetworkKind.OPEN, root=root)
        if not looked.ok or wrong:
            what = "; ".join(wrong) or looked.output.decode("utf-8", "replace")
            raise ContainerStartError(f"the engine did not confine it as asked: {what}")

    def denied(self, denial: JSONObject, sandbox: str, agent: AgentKey) -> None:
        """Report a connection that a sandbox's proxy refused."""
        record: JSONObject = {**denial, "sandbox": sandbox, "agent": str(agent)}
        log_denial(record)
        if self.on_denied is not None:
            self.on_denied(record)

    async def start(
        self, spec: SandboxSpec, image: Image, environment: Environment | None, released: Callable[[], None]
    ) -> Sandbox:
        """Start a sandbox, in an environment if one is given; `released` is called once it is gone.

        Raises:
            ProgramsUnavailable: it is to show programs that the engine's machine does not have.
            SandboxUnavailable: it did not start.
        """
        base = await self.bases.get(spec.base, image)
        for layered in (True, False) if self.layers is None else (self.layers,):
            attempt = _ContainerStart(self, spec, image, environment, base, layered=layered)
            try:
                channel = await attempt.first()
            except _FAILURES as error:
                await attempt.put_away()
                if spec.programs is not None and str(spec.programs) in said_by(error):
                    raise ProgramsUnavailable(
                        f"{self.client.settings.name} has no {spec.programs}, where your Codex is: it is on another machine",
                        hint="use an engine on this machine or bubblewrap ([codexteam.sandbox] kind), or --engine codexteam",
                    ) from error
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
        """Remove what sandboxes shared, and let go of the engine; what a silent one has is swept when it is back."""
        if self.is_down():
            await self.client.close()
            return
        try:
            with clearing_up(f"what sandboxes shared on {self.client.settings.name}"):
                await self.slots.close()
        finally:
            await self.client.close()


@dataclass(slots=True)
class _ContainerStart:
    """The life of one sandbox: its first start, its later ones, its end."""

    node: Node
    spec: SandboxSpec
    image: Image
    environment: Environment | None
    base: Base
    layered: bool
    container: Container | None = None
    lease: Lease | None = None
    workspace: WorkspaceVolumes | None = None
    connection: Connection | None = None
    services: ServiceSet | None = None
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
        await WorkspaceVolumes(self.name, self.base, None, size, marks).remove(node.client)
        if self.layered:
            self.lease = await node.slots.lease(spec.agent.run_id, self.name, size, self.image, self.base)
        self.workspace = WorkspaceVolumes(self.name, self.base, self.lease, size, marks)
        read_only = spec.mode is SandboxMode.READ_ONLY
        to_change = spec.base.commit != spec.base.root_commit or spec.restore is not None or not self.layered
        channel = await self._create_and_start(writable=not read_only or to_change)
        if not self.layered:
            copied = await channel.run(Command(COPY, timeout_seconds=300.0), {"PATH": self.image.commands["PATH"]})
            if not copied.ok:
                raise ContainerStartError(copied.output.decode("utf-8", "replace"))
        await channel.populate(spec.base, root=False)
        if spec.restore is not None:
            await channel.restore(spec.restore)
        if read_only and to_change and self.layered:
            await self._stop()
            channel = await self._create_and_start(writable=False)
        await self._start_services(channel)
        return channel

    @property
    def wanted_services(self) -> tuple[Service, ...]:
        if self.environment is None or not wants_services(self.spec.agent):
            return ()
        return self.environment.services

    async def _start_services(self, channel: Channel) -> None:
        """Start them beside the container that runs now: they live in its network namespace."""
        if self.services is not None:
            await self.services.close()
        if not self.wanted_services:
            return
        assert self.container is not None
        node, spec = self.node, self.spec
        self.services = ServiceSet(
            node.client,
            node.owner,
            spec.agent,
            self.container,
            self.image,
            self.wanted_services,
            spec.limits,
            node.runtime,
        )
        await self.services.start(channel)
        if self.environment is not None:
            await prepare_services(channel, self.environment.service_commands, self._command_environment())

    def _command_environment(self) -> dict[str, str]:
        """Return what every command finds set."""
        proxy = self.connection.url if self.connection is not None else None
        found = command_environment(self.image.commands, proxy)
        if self.environment is not None:
            found = of_environment(self.environment, self.spec.network.kind, found)
        return found | ROOT_ENVIRONMENT if self.as_root else found

    @property
    def as_root(self) -> bool:
        """Whether commands are root's: with full access."""
        return self.spec.mode is SandboxMode.DANGER_FULL_ACCESS

    async def _create_and_start(self, *, writable: bool) -> Channel:
        node, spec = self.node, self.spec
        assert self.workspace is not None
        options = container_options(
            spec.limits, network=network_of(spec.network), runtime=node.runtime, environment=self.image.environment
        )
        if self.as_root:
            as_root(options)
        options["mounts"] = self.workspace.mounts(writable=writable, repositories=spec.repositories)
        if self.spec.programs is not None:
            # an engine on another machine refuses the mount by its path
            options["mounts"].append(Mount(PROGRAMS, str(self.spec.programs), type="bind", read_only=True))
        options["working_dir"] = WORKSPACE
        if self.wanted_services:
            options["extra_hosts"] = {**options["extra_hosts"], **host_names(self.wanted_services)}
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
        try:
            await self.node.see_network(channel, self.image, self.spec.network, self.live.hello, root=self.as_root)
        except BaseException:
            await channel.close()
            raise
        if self.spec.network.kind is NetworkKind.ALLOWLIST:
            proxy = Proxy(self.node.policy(self.spec.network), on_denied=self._denied)
            self.connection = await connect_network(self.node.client, self.container, proxy, self.connection)
        return channel

    def _denied(self, denial: JSONObject) -> None:
        self.node.denied(denial, self.name, self.spec.agent)

    async def again(self) -> Channel:
        """Start it once more, over the same workspace."""
        client = self.node.client
        assert self.container is not None
        await self.node.refuse_silence(self.name)
        why = await end_of(client, self.container)
        if not self.layered:
            raise SandboxLost(f"{why}; its workspace went with it")
        try:
            with contextlib.suppress(*ENGINE_ERRORS):
                await client.call(self.container.kill)
            channel = await self._start()
            await self._start_services(channel)
        except (SandboxUnavailable, *_FAILURES) as error:
            await self.node.refuse_silence(self.name)
            raise SandboxLost(f"{why}; it could not be started again: {clean(said_by(error))}") from error
        return channel

    async def _stop(self) -> None:
        if self.services is not None:
            await self.services.close()
        if self.connection is not None:
            await self.connection.close()
        if self.live is not None:
            await self.live.channel.close()
            self.live = None
        await remove(self.node.client, self.name)

    async def shut(self) -> None:
        """Remove it with all that is in it; its slot is given back even where the engine removes nothing.

        On an engine that is known not to answer it is let go of: its agent goes on elsewhere and is not to wait for that,
        which may take minutes where packets are dropped. A later sweep removes it.
        """
        if self.node.is_down():
            await self._let_go()
            return
        try:
            await self._stop()
            if self.workspace is not None:
                await self.workspace.remove(self.node.client)
        finally:
            if self.lease is not None:
                lease, self.lease = self.lease, None
                await self.node.slots.release(lease)

    async def _let_go(self) -> None:
        """End what is here of it."""
        if self.connection is not None:
            await self.connection.close()
        if self.live is not None:
            await self.live.channel.close()
            self.live = None

    async def put_away(self) -> None:
        """Remove it as far as the engine lets us: why it ends counts, not what is left of it."""
        with clearing_up(self.name):
            await to_its_end(self.shut())

    def sandbox(self, channel: Channel, released: Callable[[], None]) -> Sandbox:
        """Return the port's view of it."""

        async def shut() -> None:
            try:
                await self.put_away()
            finally:
                released()

        unlimited = (*self.node.unlimited, *unlimited_network(self.spec.network))
        facts = SandboxFacts(
            "docker",
            self.name,
            self.image.reference,
            self.spec.mode,
            self.spec.network,
            unlimited=unlimited,
            runtime=runtime_of(self.container) if self.container is not None else "",
            host=self.node.name_shown,
        )
        return ChannelSandbox(
            facts=facts,
            spec=self.spec,
            environment=self._command_environment(),
            channel=channel,
            respawn=self.again,
            shut=shut,
        )
