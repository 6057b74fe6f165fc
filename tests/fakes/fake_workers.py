"""Workers in this process: their nodes die when a test says so, and what passes to and fro is pickled as on a real cluster."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.errors import HostLost, SandboxLost
from codexteam.ports.workers import RunLink, Worker, WorkerNode

#: Lets an agent work, by an order as it came: what `app.worker.serve_bytes` does on a real cluster.
Serve = Callable[[bytes, RunLink, str], Awaitable[None]]


class FakeLink:
    """The run, as a fake worker reaches it."""

    def __init__(self, worker: "FakeWorker") -> None:
        self._worker = worker
        self.heard: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, message: object) -> None:
        """Send the run a message; what a dead node says reaches nobody."""
        if self._worker.is_alive:
            self._worker.said.put_nowait(pickle.dumps(message))

    async def receive(self) -> object:
        """Return the next message of the run."""
        letter = await self.heard.get()
        if letter is None:
            self.heard.put_nowait(None)
            raise SandboxLost("the run has let go of this worker")
        return pickle.loads(letter)

    async def fetch(self, handle: object) -> Path:
        """Return a copy of a file that the run shares."""
        workers = self._worker.workers
        workers.fetched += 1
        path = workers.folder / f"fetched-{workers.fetched}"
        path.write_bytes(workers.shared[str(handle)])
        return path


@dataclass(eq=False)
class FakeWorker:
    """A worker that is a task of the test's loop."""

    workers: "FakeWorkers"
    name: str
    order: bytes
    host: str = ""
    said: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    link: FakeLink = field(init=False)
    serving: "asyncio.Task[None] | None" = None
    is_alive: bool = True

    def __post_init__(self) -> None:
        self.link = FakeLink(self)

    def begin(self, host: str) -> None:
        """Begin on a node."""
        self.host = host
        self.serving = asyncio.ensure_future(self.workers.serve(self.order, self.link, host))
        self.serving.add_done_callback(lambda _: self.said.put_nowait(None))

    async def send(self, message: object) -> None:
        """Send it a message."""
        self.link.heard.put_nowait(pickle.dumps(message))

    async def receive(self) -> object:
        """Return its next message."""
        message = await self.said.get()
        if message is None:
            self.said.put_nowait(None)
            raise HostLost(f"the worker of {self.name} on {self.host} is gone")
        return pickle.loads(message)

    async def close(self) -> None:
        """See that it is gone."""
        self.link.heard.put_nowait(None)
        if self.serving is not None:
            self.serving.cancel()
            with suppress(asyncio.CancelledError, SandboxLost):
                await self.serving
        self.workers.leaves(self)


class FakeWorkers:
    """Nodes of this process. `begun` has every worker in order."""

    def __init__(self, folder: Path, serve: Serve, *, nodes: int = 2, slots: int = 2) -> None:
        self.folder = folder
        self.serve = serve
        self.slots = slots
        self.nodes: dict[str, int] = {f"node{n}": 0 for n in range(1, nodes + 1)}
        """Agents on each that is alive."""
        self.dead: list[str] = []
        self.begun: list[FakeWorker] = []
        self.shared: dict[str, bytes] = {}
        self.fetched = 0
        self._waiting: list[FakeWorker] = []

    @property
    def places(self) -> int | None:
        """The slots of those that are alive."""
        return self.slots * len(self.nodes)

    async def begin(self, name: str, order: object) -> Worker:
        """Begin a worker as soon as there is a slot for it."""
        worker = FakeWorker(self, name, pickle.dumps(order))
        self.begun.append(worker)
        self._waiting.append(worker)
        self._let_in()
        return worker

    def _let_in(self) -> None:
        while self._waiting and self.nodes:
            name = min(self.nodes, key=lambda each: self.nodes[each])
            if self.nodes[name] >= self.slots:
                return
            self.nodes[name] += 1
            self._waiting.pop(0).begin(name)

    def leaves(self, worker: FakeWorker) -> None:
        """Take a worker's slot back."""
        if worker in self._waiting:
            self._waiting.remove(worker)
        elif worker.host in self.nodes and worker.is_alive:
            self.nodes[worker.host] -= 1
        worker.is_alive = False
        self._let_in()

    def die(self, node: str) -> None:
        """Let a node die with all that is on it."""
        del self.nodes[node]
        self.dead.append(node)
        for worker in self.begun:
            if worker.host == node and worker.is_alive and worker.serving is not None:
                worker.is_alive = False
                worker.serving.cancel()

    async def share(self, file: Path) -> object:
        """Keep a file's bytes."""
        data = await asyncio.to_thread(file.read_bytes)
        handle = f"{file.name}-{len(self.shared)}"
        self.shared[handle] = data
        return handle

    async def look(self) -> Sequence[WorkerNode]:
        """Return all nodes."""
        alive = [WorkerNode(name, is_alive=True, slots=self.slots) for name in self.nodes]
        return [*alive, *(WorkerNode(name, is_alive=False, slots=self.slots) for name in self.dead)]

    async def close(self) -> None:
        """Nothing to let go of."""
