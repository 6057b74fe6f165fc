"""A sandbox's network: none; allowed hosts through the proxy; or the engine's default network.

Not by a network of the engine without a way out: engines before 25.0.5 answer name lookups on such a network from the
outside (CVE-2024-29018), and the machine itself is reachable at its gateway. Here the container has no interface but
loopback; a relay in it carries connections over its standard streams to the proxy in this process. That works with an
engine anywhere, and no secret is ever on an engine.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

from docker.models.containers import Container

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, adopt, let_go
from codexteam.adapters.sandbox.docker.containers import ContainerStartError
from codexteam.adapters.sandbox.docker.hardening import UID
from codexteam.adapters.sandbox.network import RELAY_FILE
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.network.relay import PORT, Mux
from codexteam.config.settings import NetworkKind, NetworkPolicy
from codexteam.core.ids import JSONObject
from codexteam.system.cancellation import stopped

_RELAY = RELAY_FILE.read_text("utf-8")
_LOG = logging.getLogger(__name__)
_READY_SECONDS = 30.0
#: A relay that was killed with everything else in its sandbox is started again, this often in a row.
_TRIES = 5
_PAUSE_SECONDS = 0.2
#: Between two starts of a relay at least, since commands may kill it as often as they like.
_APART_SECONDS = 1.0


def network_of(policy: NetworkPolicy) -> str:
    """Return the engine's network mode."""
    return "bridge" if policy.kind is NetworkKind.OPEN else "none"


def unlimited_network(policy: NetworkPolicy) -> Sequence[str]:
    """Return what the receipt says of the network."""
    return ("network",) if policy.kind is NetworkKind.OPEN else ()


class Connection:
    """A sandbox's way to its proxy. Owned by the sandbox's start, which closes it."""

    url = f"http://127.0.0.1:{PORT}"

    def __init__(self, client: EngineClient, container: Container, proxy: Proxy) -> None:
        self.proxy = proxy
        self._client = client
        self._container = container
        self._ready = asyncio.Event()
        self._failure = ""
        self._task = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Wait until commands reach the proxy.

        Raises:
            StartFailedError: the relay does not start.
        """
        waiting = asyncio.create_task(self._ready.wait())
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            self._failure = "it took too long"
        finally:
            waiting.cancel()
        if not self._ready.is_set():
            raise ContainerStartError(f"the network relay did not start: {self._failure}")

    async def close(self) -> None:
        """End it. May be repeated."""
        await stopped(self._task)

    async def _keep(self) -> None:
        failed = 0
        clock = asyncio.get_running_loop().time
        while failed < _TRIES:
            began = clock()
            try:
                failed = 0 if await self._serve_once() else failed + 1
            except ENGINE_ERRORS as error:
                self._failure = str(error)
                failed += 1
            await asyncio.sleep(_PAUSE_SECONDS * failed or began + _APART_SECONDS - clock())

    async def _serve_once(self) -> bool:
        """Serve through one relay; whether it came up."""
        api = (await self._client.connect()).api
        settings = json.dumps({"port": PORT, "socket": None})
        argv = ["python3", "-I", "-c", _RELAY, settings]
        made = await self._client.call(
            api.exec_create,
            self._container.id,
            argv,
            stdin=True,
            stdout=True,
            stderr=True,
            user=f"{UID}:{UID}",
            workdir="/",
        )
        reader, writer = await adopt(
            await self._client.make(lambda: api.exec_start(made["Id"], socket=True), undo=let_go)
        )
        try:
            try:
                await reader.readexactly(9)  # its first frame says that it listens
            except asyncio.IncompleteReadError:
                self._failure = bytes(reader.errors[-500:]).decode("utf-8", "replace")
                return False
            self._ready.set()
            await Mux(reader, writer, self.proxy.serve).run()
        finally:
            writer.close()
        return True


async def connect_network(
    client: EngineClient, container: Container, proxy: Proxy, before: Connection | None
) -> Connection:
    """Return a container its way to the proxy; counts continue from `before`, of an earlier start."""
    if before is not None:
        await before.close()
        proxy = before.proxy
    connection = Connection(client, container, proxy)
    try:
        await connection.ready()
    except BaseException:
        await connection.close()
        raise
    return connection


def log_denial(denial: JSONObject) -> None:
    """Log a denial as a line of JSON."""
    _LOG.info("%s", json.dumps({"event": "network.denied", **denial}))
