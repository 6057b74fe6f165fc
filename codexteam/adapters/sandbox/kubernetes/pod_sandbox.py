"""One sandbox on a cluster: its claim, the servers in its pod, its end."""

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.docker.hardening import HOME, command_environment, split_environment
from codexteam.adapters.sandbox.kubernetes.api import ApiError, ClusterApi
from codexteam.adapters.sandbox.kubernetes.claims import ClaimedPod, ClaimError, claim_of, pod_of, remove_of
from codexteam.adapters.sandbox.kubernetes.confinement import (
    INSIDE,
    READER,
    WRITER,
    loose_server,
    looseness,
    reached,
    unlimited,
)
from codexteam.adapters.sandbox.kubernetes.exec_stream import ExecStream
from codexteam.adapters.sandbox.network.connection import (
    RELAY,
    RELAY_SETTINGS,
    Connection,
    RelayNotStartedError,
    RelayReader,
    RelayWriter,
)
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.program import server_program, server_settings
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.config.settings import KubernetesSettings, NetworkKind, SandboxMode
from codexteam.core.text import clean, clean_line
from codexteam.errors import HostLost, SandboxLost
from codexteam.ports.sandbox import WORKSPACE, Command, Sandbox, SandboxFacts, SandboxSpec
from codexteam.system.cancellation import to_its_end

_PROGRAM = f"{INSIDE}/server.pyz"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How variables begin that the cluster puts into every container.
_CLUSTER = "KUBERNETES_"
_PRIVATE = f"{INSIDE}/private"
#: Takes a program from the first bytes of its standard input. It does not come as an argument: all of those are in one
#: line of a request, whose length whatever stands in front of the API server may limit.
_TAKE = """
import os, struct, sys
def take(n):
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more:
            sys.exit("the program did not come")
        data += more
    return data
size, = struct.unpack(">I", take(4))
program = take(size)
"""
#: Becomes the server.
_BECOME = f"""
new = {_PROGRAM!r} + ".%d" % os.getpid()
with open(new, "wb") as file:
    file.write(program)
os.rename(new, {_PROGRAM!r})
os.execv(sys.executable, [sys.executable, "-I", "-S", {_PROGRAM!r}, sys.argv[1]])
"""
#: Runs it as it is.
_RUN = "exec(compile(program, 'relay', 'exec'))\n"
#: Ends whatever an earlier server left; the container's first process is not touched.
_KILL_ALL = "import os, signal\ntry:\n    os.kill(-1, signal.SIGKILL)\nexcept OSError:\n    pass"
#: An API server that is away for so long takes its sandboxes with it, as far as their agents are concerned.
_OUTAGE_SECONDS = 90.0
_PAUSE_SECONDS = 2.0
_REFUSED = (403, 404, 410)


@dataclass(slots=True)
class PodStart:
    """The life of one sandbox. Owned by the engine until it has started, then by the sandbox."""

    api: ClusterApi
    spec: SandboxSpec
    owner: str
    pool: str
    settings: KubernetesSettings
    runtime: str | None
    proxy: Proxy | None
    name: str = ""
    """Of its claim; empty before there is one."""
    pod: ClaimedPod | None = None
    stream: ExecStream | None = None
    channel: Channel | None = None
    connection: Connection | None = None
    image: Mapping[str, str] = field(default_factory=dict)
    """What commands see of the image's variables."""

    @property
    def container(self) -> str:
        """Where commands run."""
        return READER if self.spec.mode is SandboxMode.READ_ONLY else WRITER

    async def first(self, now: datetime, released: Callable[[], None]) -> Sandbox:
        """Claim a pod, see that it is confined, and put the workspace in place.

        Raises:
            ApiError: the API server refuses.
            ClaimError: the pod is not there, or not as it must be.
        """
        api, spec = self.api, self.spec
        await remove_of(api, self.owner, spec.agent)
        self.name, claim = claim_of(spec.agent, self.owner, self.pool, now)
        if not await api.create(api.claims, claim):
            raise ClaimError("another process has just claimed the same sandbox")
        self.pod = await pod_of(api, self.name, seconds=self.settings.start_seconds)
        loose = [each for name in (WRITER, READER) for each in looseness(self.pod.manifest, name, self.runtime)]
        if loose:
            raise ClaimError(f"its pod is not confined as it must be: {'; '.join(dict.fromkeys(loose))}")
        try:
            channel = await self._serve(WRITER)
            await self._see(channel)
            await self._make_home(channel)
            await channel.populate(spec.base, root=True)
            if spec.restore is not None:
                await channel.restore(spec.restore)
            if self.container != WRITER:
                await self._end_server()
                channel = await self._serve(READER)
                await self._make_home(channel)
            await self._connect_network()
        except (ChannelClosedError, GitInSandboxError, RelayNotStartedError, ValueError, OSError) as error:
            said = bytes(self.stream.errors).decode("utf-8", "replace").strip() if self.stream is not None else ""
            raise ClaimError(clean(f"{error}; {said[-500:]}" if said else str(error))) from error
        return self._sandbox(channel, released)

    async def _serve(self, container: str) -> Channel:
        assert self.pod is not None
        settings = server_settings(
            workspace=WORKSPACE, private=_PRIVATE, alone=True, output_cap_bytes=self.spec.limits.output_bytes
        )
        boot = ("python3", "-I", "-S", "-c", f"{_TAKE}{_BECOME}", settings)
        self.stream = ExecStream(await self.api.execute(self.pod.name, container, boot))
        self.stream.write(_sized(server_program()))
        self.channel = Channel(self.stream, self.stream)
        hello = await self.channel.ready()
        loose = loose_server(hello)
        if loose:
            raise ClaimError(f"the cluster did not confine {container} as asked: {'; '.join(loose)}")
        return self.channel

    async def _make_home(self, channel: Channel) -> None:
        """Make the home of commands. The workspace is a volume that belongs to root, which git is to take all the same."""
        line = f'mkdir -p {HOME} && HOME={HOME} git config --global --replace-all safe.directory "*"'
        made = await channel.run(Command(("sh", "-c", line), cwd="/", timeout_seconds=30.0), self.image)
        if not made.ok:
            raise ClaimError(f"{HOME} cannot be made in its pod: {clean_line(made.output.decode('utf-8', 'replace'))}")

    async def _see(self, channel: Channel) -> None:
        """Learn what the image sets, and see that the network is what it is to be."""
        line = ("python3", "-I", "-S", "-c", "import sys; sys.stdout.write(open('/proc/1/environ').read())")
        read = await channel.run(Command(line, cwd="/", timeout_seconds=30.0), {"PATH": _PATH})
        found = [each for each in read.output.decode("utf-8", "replace").split("\0") if each]
        cluster = {
            name: value for name, _, value in (each.partition("=") for each in found) if name.startswith(_CLUSTER)
        }
        image = split_environment([each for each in found if not each.startswith(_CLUSTER)])[1]
        self.image = {"PATH": _PATH, **image}
        if self.spec.network.kind is NetworkKind.OPEN:
            return
        if not cluster:
            raise ClaimError(
                "its pod does not say where the cluster is, so that nobody knows whether it is kept from it"
            )
        where = await reached(channel, {**self.image, **cluster})
        if where:
            raise ClaimError(
                f"its pod is to have no network and reached {where}: the cluster does not enforce NetworkPolicy, or none is set"
            )

    async def _connect_network(self) -> None:
        if self.proxy is None:
            return
        assert self.pod is not None
        pod, container = self.pod.name, self.container

        async def start() -> tuple[RelayReader, RelayWriter]:
            argv = ("python3", "-I", "-S", "-c", f"{_TAKE}{_RUN}", RELAY_SETTINGS)
            stream = ExecStream(await self.api.execute(pod, container, argv))
            stream.write(_sized(RELAY.encode()))
            return stream, stream

        if self.connection is not None:
            await self.connection.close()
        self.connection = Connection(start, self.proxy, (ApiError, OSError))
        await self.connection.ready()

    async def again(self) -> Channel:
        """Start the server once more, over the same workspace.

        Raises:
            HostLost: the cluster or the node does not answer.
            SandboxLost: the pod is gone, or does not start one.
        """
        await self._end_server()
        failed = ""
        deadline = asyncio.get_running_loop().time() + _OUTAGE_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                await self._refuse_gone()
                await self._run(self.container, _KILL_ALL)
                channel = await self._serve(self.container)
                await self._connect_network()
                return channel
            except ApiError as error:
                failed = str(error)
                if error.status in _REFUSED:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    await self._refuse_gone()
            except (ChannelClosedError, ClaimError, RelayNotStartedError) as error:
                raise SandboxLost(f"{self.name} could not be started again: {clean(str(error))}") from error
            await asyncio.sleep(_PAUSE_SECONDS)
        raise HostLost(f"the cluster, where {self.name} was, does not answer: {clean(failed)}")

    async def _refuse_gone(self) -> None:
        """See that the pod is there, and its node.

        Raises:
            HostLost: its node is gone, or took it away.
            SandboxLost: it is gone.
            ApiError: nobody knows.
        """
        assert self.pod is not None
        pod = await self.api.get(f"{self.api.pods}/{self.pod.name}")
        if pod is None:
            raise SandboxLost(f"the pod of {self.name} was removed")
        status = pod.get("status") or {}
        reason = clean_line(str(status.get("reason") or ""))
        node = clean_line(str((pod.get("spec") or {}).get("nodeName") or ""))
        if reason in {"NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting", "Evicted"}:
            raise HostLost(f"node {node}, where {self.name} was, took it away: {reason}")
        if status.get("phase") in {"Failed", "Succeeded"} or (pod.get("metadata") or {}).get("deletionTimestamp"):
            raise SandboxLost(f"the pod of {self.name} has ended: {reason or status.get('phase')}")
        ready = [each for each in status.get("conditions") or [] if each.get("type") == "Ready"]
        if ready and ready[0].get("status") != "True" and ready[0].get("reason") in {None, "", "NodeNotReady"}:
            restarts = sum(int(each.get("restartCount") or 0) for each in status.get("containerStatuses") or [])
            if not restarts:
                raise HostLost(f"node {node}, where {self.name} was, does not answer")
        for each in status.get("containerStatuses") or []:
            if each.get("name") == self.container and int(each.get("restartCount") or 0):
                last = ((each.get("lastState") or {}).get("terminated") or {}).get("reason") or "it ended"
                why = "it ran out of memory" if last == "OOMKilled" else clean_line(str(last))
                raise SandboxLost(f"the container of {self.name} was started again by the cluster: {why}")

    async def _run(self, container: str, program: str) -> None:
        """Run a short program beside the server, and wait for its end."""
        assert self.pod is not None
        stream = ExecStream(await self.api.execute(self.pod.name, container, ("python3", "-I", "-S", "-c", program)))
        try:
            async with asyncio.timeout(30):
                await stream.readexactly(1)
        except (asyncio.IncompleteReadError, TimeoutError):
            return
        finally:
            stream.close()
            await stream.wait_closed()

    async def _end_server(self) -> None:
        if self.channel is not None:
            await self.channel.close()
        if self.stream is not None:
            self.stream.close()
            await self.stream.wait_closed()
        self.channel = self.stream = None

    async def put_away(self) -> None:
        """Delete the claim; its pod goes with it, which nobody waits for."""
        await to_its_end(self._put_away())

    async def _put_away(self) -> None:
        if self.connection is not None:
            await self.connection.close()
        await self._end_server()
        try:
            if self.name:
                await self.api.delete(f"{self.api.claims}/{self.name}")
        except ApiError:
            return  # it is swept by its labels later, and goes by itself in a day

    def _sandbox(self, channel: Channel, released: Callable[[], None]) -> Sandbox:
        assert self.pod is not None
        spec, manifest = self.spec, self.pod.manifest
        pod_spec = manifest.get("spec")
        of_pod: Mapping[str, object] = pod_spec if isinstance(pod_spec, dict) else {}
        images = of_pod.get("containers")
        image = next(
            (str(each.get("image")) for each in images if isinstance(each, dict))
            if isinstance(images, list)
            else iter(()),
            "",
        )
        network = ("network",) if spec.network.kind is NetworkKind.OPEN else ()
        facts = SandboxFacts(
            "kubernetes",
            self.pod.name,
            clean_line(image),
            spec.mode,
            spec.network,
            unlimited=(*unlimited(manifest, self.container), *network),
            runtime=clean_line(str(of_pod.get("runtimeClassName") or "the node's own")),
            host=clean_line(str(of_pod.get("nodeName") or "")),
        )

        async def shut() -> None:
            try:
                await self.put_away()
            finally:
                released()

        url = self.connection.url if self.connection is not None else None
        return ChannelSandbox(
            facts=facts,
            spec=spec,
            environment=command_environment(self.image, url),
            channel=channel,
            respawn=self.again,
            shut=shut,
        )


def _sized(program: bytes) -> bytes:
    return struct.pack(">I", len(program)) + program
