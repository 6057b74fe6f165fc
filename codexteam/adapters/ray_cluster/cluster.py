"""The run's end of a Ray cluster: who has slots, which worker says what, and what becomes of one whose node dies."""

import asyncio
import hashlib
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexteam.adapters.ray_cluster.letters import Letters
from codexteam.adapters.ray_cluster.task import work
from codexteam.core.text import clean_line
from codexteam.errors import HostLost, SandboxUnavailable
from codexteam.ports.workers import Worker, WorkerNode
from codexteam.system.cancellation import stopped

#: What a node has as many of as it takes agents: `ray start --resources '{"sandbox_slots": 8}'`.
SLOTS = "sandbox_slots"
#: A cluster without one slot is waited for so long.
_OUTAGE_SECONDS = 90.0
#: How long a worker may take to put its things away after its last word.
_END_SECONDS = 5.0
#: A head that does not take a connection within this time is not there.
_ANSWER_SECONDS = 10.0
#: How often it is looked which nodes there are.
_LOOK_SECONDS = 2.0
_LOG = logging.getLogger(__name__)
_INSTALL = "pip install 'codexteam[ray]', in the same version on every node"
_AUTHENTICATION = (
    "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (`ray get-auth-token --generate`) where nodes and runs are started"
)


class RayWorkers:
    """A `Workers` over the cluster that this process joined. There can be one in a process."""

    def __init__(self, ray: Any, entry: str, version: str, report: Callable[[str], None]) -> None:
        """Take a module `ray` that is connected; see `connect`."""
        self._ray = ray
        self._entry = entry
        self._version = version
        self._report = report
        self._letters: Any = None
        self._shared: dict[str, asyncio.Task[str]] = {}
        self._nodes: dict[str, WorkerNode] = {}
        self._watch: asyncio.Task[None] | None = None
        self._last = 0

    @classmethod
    async def connect(
        cls,
        address: str,
        environment: Mapping[str, str],
        *,
        entry: str,
        version: str,
        report: Callable[[str], None] = lambda _: None,
    ) -> "RayWorkers":
        """Join a cluster as the driver of a run.

        Args:
            address: `auto`, or `HOST:PORT` of the head; this machine has to be a node of the cluster.
            environment: The process's.
            entry: The module that a worker's process runs an agent with.
            version: This codexteam's.
            report: Is told in words when a node goes or comes.

        Raises:
            SandboxUnavailable: it cannot be joined, or everybody can who reaches it; says what to do.
        """
        if environment.get("RAY_AUTH_MODE", "").lower() != "token":
            raise SandboxUnavailable(
                "Ray runs the code of whoever reaches it, and its token authentication is not on", hint=_AUTHENTICATION
            )
        try:
            ray = await asyncio.to_thread(_import)
        except ImportError as error:
            raise SandboxUnavailable(f"Ray is not installed: {error}", hint=_INSTALL) from error
        await _refuse_nobody(address)
        workers = cls(ray, entry, version, report)
        try:
            # not in the main thread: there Ray would take SIGTERM for itself
            await asyncio.to_thread(workers._join, address)
            await workers._look_once()
        except Exception as error:
            await workers.close()
            if isinstance(error, SandboxUnavailable):
                raise
            raise SandboxUnavailable(
                f"the Ray cluster {clean_line(address)} cannot be joined: {_said(error)}",
                hint="start this machine's node with `ray start --address HOST:PORT`, and see `ray status`",
            ) from error
        workers._watch = asyncio.ensure_future(workers._look_on())
        return workers

    def _join(self, address: str) -> None:
        ray = self._ray
        ray.init(
            address=address,
            namespace="codexteam",
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.CRITICAL,
        )
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        box = ray.remote(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)(Letters)
        self._letters = box.remote()

    @property
    def version(self) -> str:
        """Return Ray's version, as people are shown it."""
        return f"Ray {self._ray.__version__}"

    @property
    def places(self) -> int | None:
        """The slots of the nodes that are alive."""
        return sum(node.slots for node in self._nodes.values() if node.is_alive)

    async def look(self) -> Sequence[WorkerNode]:
        """Return the machines of the cluster."""
        await self._look_once()
        return tuple(self._nodes.values())

    async def _look_once(self) -> None:
        try:
            found = await asyncio.to_thread(self._ray.nodes)
        except Exception as error:
            raise SandboxUnavailable(
                f"the Ray cluster does not answer: {_said(error)}", hint="see `ray status` on its head"
            ) from error
        known, self._nodes = self._nodes, {node.name: node for node in map(_node, found)}
        for node in self._nodes.values():
            before = known.get(node.name)
            if before is not None and before.is_alive and not node.is_alive:
                self._report(f"host {node.name} is gone from the Ray cluster")
            elif known and before is None and node.is_alive and node.slots:
                self._report(f"host {node.name} has joined the Ray cluster")

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look_once()
            except SandboxUnavailable:
                continue  # whoever waits for a slot says so

    async def begin(self, name: str, order: object) -> Worker:
        """Begin a worker as soon as there is a slot for it."""
        self._last += 1
        box_name = f"{name} {self._last}"  # told from an earlier try of the same agent
        remote = self._ray.remote(
            num_cpus=0,
            resources={SLOTS: 1},
            max_retries=0,
            num_returns="streaming",
            scheduling_strategy="SPREAD",  # by itself it would fill one node after the other
        )(work)
        stream = remote.remote(self._version, self._entry, box_name, pickle.dumps(order), self._letters)
        return RayWorker(self, box_name, stream)

    async def share(self, file: Path) -> str:
        """Put a file's bytes into the object store, once; gives the digest that workers fetch it by."""
        state = await asyncio.to_thread(file.stat)
        name = f"{file} {state.st_mtime_ns} {state.st_size}"
        sharing = self._shared.get(name)
        if sharing is None or (sharing.done() and (sharing.cancelled() or sharing.exception() is not None)):
            sharing = self._shared[name] = asyncio.ensure_future(asyncio.to_thread(self._share, file))
        return await asyncio.shield(sharing)

    def _share(self, file: Path) -> str:
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self._ray.get(self._letters.share.remote(digest, [self._ray.put(data)]))
        return digest

    async def close(self) -> None:
        """Leave the cluster."""
        if self._watch is not None:
            await stopped(self._watch)
        for sharing in self._shared.values():
            await stopped(sharing)
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        if self._letters is not None:
            self._ray.kill(self._letters)
        self._ray.shutdown()

    # for its workers

    async def send(self, box_name: str, message: object) -> None:
        """Put a message into a worker's letter box.

        Raises:
            HostLost: the letter box is gone.
        """
        try:
            await asyncio.wrap_future(self._letters.put.remote(box_name, pickle.dumps(message)).future())
        except Exception as error:
            raise self.lost(box_name, "", error) from error

    async def end(self, box_name: str, stream: Any) -> None:
        """See that a worker is gone."""
        try:
            await asyncio.wrap_future(self._letters.end.remote(box_name).future())
        except Exception as error:  # noqa: BLE001 - gone with all that was in it, whatever Ray says of it
            _LOG.debug("the letter box is gone: %s", error)
        await asyncio.to_thread(self._cancel, stream)

    def _cancel(self, stream: Any) -> None:
        try:
            self._ray.cancel(stream, force=True)
        except ValueError:  # it has ended
            return

    def lost(self, name: str, host: str, error: BaseException) -> HostLost:
        """Say that a worker went away."""
        where = f" on {clean_line(host)}" if host else ""
        return HostLost(f"the worker of {clean_line(name)}{where} is gone: {_said(error)}")

    async def refuse_outage(self) -> None:
        """Return once the cluster has a slot at all, free or not.

        Raises:
            SandboxUnavailable: it has had none for long.
        """
        waited = 0.0
        while not self.places:
            if waited >= _OUTAGE_SECONDS:
                raise SandboxUnavailable(
                    f"no node of the Ray cluster has had a {SLOTS} for {_OUTAGE_SECONDS:.0f} seconds",
                    hint=f"start nodes with `ray start --address HOST:PORT --resources '{{\"{SLOTS}\": 8}}'`",
                )
            await asyncio.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS


@dataclass(slots=True)
class RayWorker:
    """A `Worker`: one task of Ray."""

    cluster: RayWorkers
    name: str
    stream: Any
    host: str = ""
    _next: "asyncio.Task[bytes] | None" = None
    _has_ended: bool = field(default=False)

    async def send(self, message: object) -> None:
        """Send it a message; nothing happens where it has ended."""
        await self.cluster.send(self.name, message)

    async def receive(self) -> object:
        """Return its next message, in order."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        data = await asyncio.shield(self._next)
        self._next = None
        message = pickle.loads(data)  # noqa: S301 - of our own code on a machine of the user's
        host = getattr(message, "host", None)
        if isinstance(host, str) and not self.host:
            self.host = host
        return message

    async def _read(self) -> bytes:
        while True:
            reading = asyncio.ensure_future(anext(self.stream))
            try:
                while not reading.done() and not self.host:
                    await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
                    if not reading.done():
                        await self.cluster.refuse_outage()
                return bytes(await (await reading))
            except StopAsyncIteration as error:
                raise self.cluster.lost(self.name, self.host, error) from error
            except SandboxUnavailable:
                raise
            except Exception as error:
                raise self.cluster.lost(self.name, self.host, error) from error
            finally:
                if not reading.done():
                    await stopped(reading)

    async def close(self) -> None:
        """See that it is gone, whatever it does."""
        if self._has_ended:
            return
        self._has_ended = True
        if self.host:
            await self._let_end()
        if self._next is not None:
            await stopped(self._next)
        await self.cluster.end(self.name, self.stream)

    async def _let_end(self) -> None:
        """Give it a moment to end by itself: a process that is not killed is kept for the next agent."""
        with suppress(TimeoutError, HostLost, SandboxUnavailable):
            async with asyncio.timeout(_END_SECONDS):
                while True:
                    await self.receive()


async def _refuse_nobody(address: str) -> None:
    """See that somebody listens where the head is to be: Ray itself tries for minutes.

    Raises:
        SandboxUnavailable: nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # `auto`: Ray looks at what runs on this machine
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError) as error:
        raise SandboxUnavailable(
            f"the Ray cluster {clean_line(address)} cannot be joined: {_said(error)}",
            hint="start its head with `ray start --head`, or correct [codexteam.executor] address",
        ) from error
    writer.close()


def _import() -> Any:
    import ray

    # it has handlers of its own, and what it has to say that matters comes as an error
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
    return ray


def _node(found: Mapping[str, Any]) -> WorkerNode:
    name = f"{found.get('NodeManagerAddress', '')}-{str(found.get('NodeID', ''))[:8]}"
    resources = found.get("Resources") or {}
    return WorkerNode(clean_line(name), bool(found.get("Alive")), int(resources.get(SLOTS, 0)))


def _said(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return clean_line(f"{type(error).__name__}: {first}" if first else type(error).__name__)
