"""The container that an environment is made in, and how its result is kept as an image.

Its file system is what is kept. What must not be kept is mounted into it: the checkout's base, secrets (in memory),
package caches, the host's files of the order, /tmp. The checkout itself is in the file system, so that what git does
not track can be put aside without being copied; the rest of it is removed before the end.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from docker.models.containers import Container
from docker.types import Mount

from codexteam.adapters.sandbox import environment_variables
from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.docker.bases import Base
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, NotFound, clearing_up, said_by
from codexteam.adapters.sandbox.docker.containers import (
    BASE,
    LAYER,
    TREE,
    ContainerStartError,
    Image,
    Live,
    create,
    end_of,
    remove,
    remove_volume,
    run_inside,
    runtime_of,
    server_command,
    start,
)
from codexteam.adapters.sandbox.docker.environment_images import commit
from codexteam.adapters.sandbox.docker.hardening import (
    SECRETS,
    What,
    command_environment,
    digest,
    labels,
    setup_name,
    setup_options,
)
from codexteam.adapters.sandbox.docker.network import connect_network, network_of, unlimited_network
from codexteam.adapters.sandbox.docker.node import Node
from codexteam.adapters.sandbox.docker.order_folders import LINK, UNLINK, OrderFolders
from codexteam.adapters.sandbox.docker.services import ServiceSet, described, host_names
from codexteam.adapters.sandbox.network.connection import Connection
from codexteam.adapters.sandbox.network.policy import split_port
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.config.settings import NetworkKind, SandboxMode
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean, clean_line
from codexteam.environment.plan import BIN, CACHE, HOME, SETUP_USER_HOME, Service
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder
from codexteam.ports.sandbox import WORKSPACE, Command, CommandResult, SandboxFacts, SandboxSpec
from codexteam.system.cancellation import stopped, to_its_end

_FAILURES = (ContainerStartError, ChannelClosedError, GitInSandboxError, *ENGINE_ERRORS)
_ROOTS = frozenset({"", "root", "0", "0:0"})
_SECONDS = 900.0
#: One that its process left ends by itself, since nobody holds its standard input any more.
_LEFT_SECONDS = 20
#: How often the engine's disk is looked at, and what must stay free on it.
_LOOK_SECONDS = 3.0
_LEAST_FREE_BYTES = 1 << 30
_READY = f"""
set -e
umask 022
rm -rf {HOME} {LAYER} {WORKSPACE}
mkdir -p {BIN} {LAYER} {WORKSPACE} {CACHE} {SETUP_USER_HOME}
chmod 1777 /tmp
if [ "$1" != 0:0 ]; then
  chown "$1" {HOME} {BIN} {LAYER} {WORKSPACE} {CACHE} {SECRETS} {SETUP_USER_HOME} /run/codexteam/private
fi
shift
"""
_CHECKOUT = f'cp -a {BASE}/{TREE}/. {WORKSPACE}/ && if [ "$(id -u)" = 0 ]; then chown -R 0:0 {WORKSPACE}; fi'
_CLEAR = f"rm -rf {WORKSPACE} && mkdir -p {WORKSPACE}\n"
#: What agents get is plain: no pipes, no repositories inside, nothing with another user's rights, all of it readable.
_TIDY = f"""
import os, shutil, stat
for top in ({HOME!r}, {LAYER!r}):
    for parent, folders, files in os.walk(top):
        if top == {LAYER!r} and ".git" in folders:
            folders.remove(".git")
            shutil.rmtree(os.path.join(parent, ".git"))
        for path in [parent, *(os.path.join(parent, name) for name in files)]:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or (top == {LAYER!r} and os.path.basename(path) == ".git"):
                os.unlink(path)
                continue
            wanted = 0o555 if mode & 0o111 or stat.S_ISDIR(mode) else 0o444
            plain = (stat.S_IMODE(mode) | wanted) & 0o1777
            if plain != stat.S_IMODE(mode):
                os.chmod(path, plain)
"""
_DISK = "import os; found = os.statvfs('/'); print(found.f_frsize * found.f_bavail)"


class DockerSetupSandbox(ChannelSandbox):
    """A sandbox over a file system that becomes an image."""

    def __init__(self, life: "_SetupLife", channel: Channel) -> None:
        order = life.order
        proxy = life.connection.url if life.connection is not None else None
        plain = command_environment(life.image.commands, proxy, near=_near(order) if proxy else ())
        spec = SandboxSpec(order.agent, order.base, SandboxMode.WORKSPACE_WRITE, order.network, order.limits)
        unlimited = (*life.node.unlimited, *unlimited_network(order.network))
        super().__init__(
            facts=SandboxFacts(
                "docker",
                life.name,
                life.image.reference,
                spec.mode,
                order.network,
                unlimited,
                runtime_of(life.container) if life.container is not None else "",
            ),
            spec=spec,
            environment=environment_variables.of_setup(order, plain),
            channel=channel,
            respawn=life.again,
            shut=life.put_away,
        )
        self._life = life

    @property
    def has_root(self) -> bool:
        """Whether it runs as root, which is who installs packages of the distribution."""
        return self._life.order.user in _ROOTS

    async def run(self, command: Command, *, on_output: Callable[[bytes], None] | None = None) -> CommandResult:
        """Run a command to its end, unless it fills the engine's disk."""
        running = asyncio.ensure_future(super().run(command, on_output=on_output))
        watching = asyncio.ensure_future(self._life.until_full())
        try:
            await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            why = watching.result()
        finally:
            await stopped(watching)
            await stopped(running)
        return CommandResult(None, 9, timed_out=False, output=b"", output_bytes=0, wall_seconds=0.0, note=why)

    async def keep(self, made: Environment) -> Environment:
        """Keep what the steps left as an image, under the order's key."""
        try:
            return await self._life.keep(made)
        except ChannelClosedError as error:
            await self._life.node.refuse_silence(self.facts.name)
            raise SandboxLost(f"the sandbox {self.facts.name} is gone: {clean(str(error))}") from error
        except (ContainerStartError, GitInSandboxError, ValueError, *ENGINE_ERRORS) as error:
            await self._life.node.refuse_silence(self.facts.name)
            raise SandboxUnavailable(
                f"the environment {made.key} cannot be kept on {self._life.client.settings.name}: {clean(said_by(error))}",
                hint="see that the engine answers and has room on its disk (`docker system df`)",
            ) from error


def _near(order: SetupOrder) -> list[str]:
    """Return names of this machine that mean the host's: a mirror of packages there is asked for through the proxy."""
    return [split_port(host)[0] for host in order.network.hosts]


async def start_set_up(
    node: Node, image: Image, order: SetupOrder, kept: Callable[[], Awaitable[None]]
) -> DockerSetupSandbox:
    """Start the sandbox of a set-up; `kept` is called when its result was kept.

    Raises:
        SandboxUnavailable: it did not start, or another machine makes the same environment on this engine.
    """
    life = _SetupLife(node, image, order, kept)
    try:
        await life.remove_left()
        return DockerSetupSandbox(life, await life.first())
    except _FAILURES as error:
        await life.put_away()
        raise SandboxUnavailable(
            f"the sandbox of the set-up did not start on {node.client.settings.name}: {clean(said_by(error))}",
            hint="see `codexteam doctor`",
        ) from error
    except BaseException:
        await life.put_away()
        raise


@dataclass(slots=True)
class _SetupLife:
    """The life of one set-up's container."""

    node: Node
    image: Image
    order: SetupOrder
    kept: Callable[[], Awaitable[None]]
    container: Container | None = None
    connection: Connection | None = None
    live: Live | None = None
    services: ServiceSet | None = None
    failed_services: list[tuple[Service, str]] = field(default_factory=list)
    """Those that did not come up, and why: each would hold every sandbox up, so they are left out."""
    free_bytes: int = 0
    """On the engine's disk when it began."""
    folders: OrderFolders = field(init=False)

    def __post_init__(self) -> None:
        run_id = self.order.agent.run_id
        self.folders = OrderFolders.of(self.client, self.name, self.node.owner, run_id, self.order.folders)

    @property
    def client(self) -> EngineClient:
        return self.node.client

    @property
    def name(self) -> str:
        return setup_name(self.node.owner, self.order.key)

    @property
    def user(self) -> str:
        return "0:0" if self.order.user in _ROOTS else self.order.user

    async def remove_left(self) -> None:
        """Remove what a process left that was killed over the same set-up."""
        docker = await self.client.connect()
        for _ in range(_LEFT_SECONDS):
            try:
                left = await self.client.call(docker.containers.get, self.name)
            except NotFound:
                break
            if left.status != "running":
                break
            await asyncio.sleep(1)
        else:
            raise SandboxUnavailable(
                f"another machine makes the same environment on {self.client.settings.name}: {self.name} runs there",
                hint="wait until it is done, or remove that container if nobody does",
            )
        await self._remove()

    async def first(self) -> Channel:
        """Start it and put the checkout in place."""
        order, base = self.order, await self.node.bases.get(self.order.base, self.image)
        await self.folders.fill(self.image.id)
        self.container = await create(self.client, self.image.id, self._command(), self._options(base))
        self.live = await start(self.client, self.container)
        channel = self.live.channel
        await run_inside(
            self.client, self.container, ("sh", "-c", _READY + LINK, "sh", self.user, *self.folders.singles)
        )
        await self.node.see_network(channel, self.image, order.network)
        await self._checked(channel, Command(("sh", "-c", _CHECKOUT), cwd="/", timeout_seconds=_SECONDS))
        await channel.populate(order.base, root=False)
        for name, value in order.secrets.items():
            if "/" in name or name.startswith("."):
                raise ContainerStartError(f"{name!r} is not the name of a file for a secret")
            line = f'umask 077; cat >{SECRETS}/"$0"'
            await self._checked(channel, Command(("sh", "-c", line, name), cwd="/", stdin=value.encode()))
        if order.network.kind is NetworkKind.ALLOWLIST:
            proxy = Proxy(self.node.policy(order.network), on_denied=self._denied)
            self.connection = await connect_network(self.client, self.container, proxy, None)
        if order.services:
            self.services = self._service_set()
            self.failed_services = await self.services.attempt(channel)
        self.free_bytes = await self._free_bytes(channel)
        return channel

    def _command(self) -> Any:
        limit = self.order.limits.output_bytes
        return server_command(WORKSPACE, base_git=f"{BASE}/{TREE}/.git", output_cap_bytes=limit)

    def _options(self, base: Base) -> dict[str, Any]:
        order, node = self.order, self.node
        network = network_of(order.network)
        options = setup_options(
            order.limits, network=network, runtime=node.runtime, environment=self.image.environment, user=order.user
        )
        marks = dict(labels(What.SETUP, node.owner, agent=order.agent))
        # not shared between users inside: what one wrote the other could not
        cache = f"codexteam-cache-{digest(node.owner, self.user)}"
        options["mounts"] = [
            Mount(BASE, base.volume, type="volume", read_only=True, no_copy=True),
            Mount("/tmp", f"{self.name}-tmp", type="volume", no_copy=True, labels=marks),  # noqa: S108 - the container's own
            Mount(CACHE, cache, type="volume", no_copy=True, labels=dict(labels(What.CACHE, node.owner))),
            *self.folders.mounts(),
        ]
        options["extra_hosts"] = {**options["extra_hosts"], **host_names(order.services)}
        self.image.cover_volumes(options)
        return options | {"name": self.name, "labels": marks, "working_dir": "/"}

    async def _checked(self, channel: Channel, command: Command) -> None:
        done = await channel.run(command, {"PATH": self.image.commands["PATH"]})
        if not done.ok:
            raise ContainerStartError(done.output.decode("utf-8", "replace"))

    def _denied(self, denial: JSONObject) -> None:
        self.node.denied(denial, self.name, self.order.agent)

    async def _free_bytes(self, channel: Channel) -> int:
        """Return what is free on the engine's disk, as the container sees it."""
        argv = ("python3", "-I", "-S", "-c", _DISK)
        done = await channel.run(Command(argv, cwd="/"), {"PATH": self.image.commands["PATH"]})
        text = done.output.decode("utf-8", "replace").strip()
        if not text.isdigit():
            raise ContainerStartError(f"python3 said {clean_line(text)[:200]}")
        return int(text)

    async def until_full(self) -> str:
        """Wait until the set-up has written all that it may, and say so; for ever if it never does."""
        limit = self.order.limits.workspace_bytes
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.live is None:
                continue
            try:
                free = await self._free_bytes(self.live.channel)
            except (ChannelClosedError, ContainerStartError, BlockingIOError):
                continue  # the command's own end says more
            if self.free_bytes - free > limit:
                return f"It was ended: the set-up has written more than the {limit >> 20} MiB that it may."
            if free < _LEAST_FREE_BYTES:
                return f"It was ended: the engine's disk is full but for {free >> 20} MiB."

    async def keep(self, made: Environment) -> Environment:
        """Take the layer out of the checkout, end the container and make an image of it."""
        assert self.container is not None
        assert self.live is not None
        channel = self.live.channel
        if self.connection is not None:  # nothing is installed any more
            await self.connection.close()
        await self._close_services()
        made = self._with_services(made)
        await channel.job("take_layer", {"target": LAYER}, timeout_seconds=_SECONDS)
        await run_inside(self.client, self.container, ("sh", "-c", UNLINK + _CLEAR, "sh", *self.folders.singles))
        await run_inside(self.client, self.container, ("python3", "-I", "-S", "-c", _TIDY))
        await self._end()
        found = await commit(self.client, self.node.owner, self.container, self.image, made)
        await self.kept()
        return found

    def _service_set(self) -> ServiceSet:
        """Return servers in the set-up's own network: like its steps, they reach registries through the proxy, and no more."""
        assert self.container is not None
        node, order = self.node, self.order
        return ServiceSet(
            node.client,
            node.owner,
            order.agent,
            self.container,
            self.image,
            order.services,
            order.limits,
            node.runtime,
        )

    async def _close_services(self) -> None:
        if self.services is not None:
            await to_its_end(self.services.close())
            self.services = None

    def _with_services(self, made: Environment) -> Environment:
        notices = [
            f"{described(service)} is left out, since it does not start: {problem}; once it does, "
            "`codexteam env build --rebuild`"
            for service, problem in self.failed_services
        ]
        out = [service for service, _ in self.failed_services]
        services = tuple(service for service in made.services if service not in out)
        return replace(made, services=services, notices=(*made.notices, *notices))

    async def again(self) -> Channel:
        """Say why it is not started again: what its commands were doing is lost."""
        assert self.container is not None
        await self.node.refuse_silence(self.name)
        raise SandboxLost(await end_of(self.client, self.container))

    async def _end(self) -> None:
        await self._close_services()
        if self.connection is not None:
            await self.connection.close()
        if self.live is not None:
            await self.live.channel.close()
            self.live = None
        if self.container is not None:
            with contextlib.suppress(NotFound):
                await self.client.call(self.container.stop, timeout=5)

    async def _remove(self) -> None:
        await remove(self.client, self.name)
        await remove_volume(self.client, f"{self.name}-tmp")
        await self.folders.remove()

    async def put_away(self) -> None:
        """Remove it as far as the engine lets us; a sweep finds the rest by its label."""
        with clearing_up(self.name):
            await to_its_end(self._shut())

    async def _shut(self) -> None:
        try:
            await self._end()
        finally:
            await self._remove()
