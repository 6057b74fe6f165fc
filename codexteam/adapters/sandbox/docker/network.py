"""A sandbox's network: none; allowed hosts through the proxy; or the engine's default network.

Not by a network of the engine without a way out: engines before 25.0.5 answer name lookups on such a network from the
outside (CVE-2024-29018), and the machine itself is reachable at its gateway. Here the container has no interface but
loopback; a relay in it carries connections over its standard streams to the proxy in this process. That works with an
engine anywhere, and no secret is ever on an engine.
"""

import json
import logging
from collections.abc import Sequence

from docker.models.containers import Container

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, adopt, let_go
from codexteam.adapters.sandbox.docker.containers import ContainerStartError
from codexteam.adapters.sandbox.docker.hardening import UID
from codexteam.adapters.sandbox.network.connection import (
    RELAY_COMMAND,
    Connection,
    RelayNotStartedError,
    RelayReader,
    RelayWriter,
)
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.config.settings import NetworkKind, NetworkPolicy
from codexteam.core.ids import JSONObject

_LOG = logging.getLogger(__name__)


def network_of(policy: NetworkPolicy) -> str:
    """Return the engine's network mode."""
    return "bridge" if policy.kind is NetworkKind.OPEN else "none"


def unlimited_network(policy: NetworkPolicy) -> Sequence[str]:
    """Return what the receipt says of the network."""
    return ("network",) if policy.kind is NetworkKind.OPEN else ()


async def connect_network(
    client: EngineClient, container: Container, proxy: Proxy, before: Connection | None
) -> Connection:
    """Return a container its way to the proxy; counts continue from `before`, of an earlier start."""
    if before is not None:
        await before.close()
        proxy = before.proxy

    async def start() -> tuple[RelayReader, RelayWriter]:
        api = (await client.connect()).api
        made = await client.call(
            api.exec_create,
            container.id,
            list(RELAY_COMMAND),
            stdin=True,
            stdout=True,
            stderr=True,
            user=f"{UID}:{UID}",
            workdir="/",
        )
        return await adopt(await client.make(lambda: api.exec_start(made["Id"], socket=True), undo=let_go))

    connection = Connection(start, proxy, ENGINE_ERRORS)
    try:
        await connection.ready()
    except RelayNotStartedError as error:
        await connection.close()
        raise ContainerStartError(str(error)) from error
    except BaseException:
        await connection.close()
        raise
    return connection


def log_denial(denial: JSONObject) -> None:
    """Log a denial as a line of JSON."""
    _LOG.info("%s", json.dumps({"event": "network.denied", **denial}))
