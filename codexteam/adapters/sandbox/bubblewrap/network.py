"""A sandbox's way to the hosts it may reach: a relay in its network, the proxy in this process."""

import asyncio
import fcntl
import json
import logging
import os
import sys
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.launch_plan import SANDBOX_UID
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapProcess, BubblewrapStartError
from codexteam.adapters.sandbox.network import RELAY_FILE
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.network.relay import PORT, Mux
from codexteam.core.ids import JSONObject
from codexteam.system.cancellation import kill, stopped, to_its_end

_LOG = logging.getLogger(__name__)
_READY_SECONDS = 20.0
#: Gives a descriptor of the user namespace that owns a namespace.
_NS_GET_USERNS = 0xB701
#: What commands see.
PROXY_URL = f"http://127.0.0.1:{PORT}"


class Relay:
    """A relay at work. Owned by the sandbox's start, which closes it."""

    def __init__(self, process: asyncio.subprocess.Process, task: "asyncio.Task[None]") -> None:
        self._process = process
        self._task = task

    async def close(self) -> None:
        """End it. May be repeated."""
        await to_its_end(self._end())

    async def _end(self) -> None:
        await stopped(self._task)
        kill(self._process)
        await self._process.wait()


async def connect(running: BubblewrapProcess, proxy: Proxy) -> Relay:
    """Let the commands of a started sandbox reach the proxy.

    Raises:
        StartFailedError: the relay does not start.
    """
    descriptors = _namespaces(running.process.pid)
    root = os.getuid() == 0
    settings = {
        "namespaces": list(descriptors),
        "uid": SANDBOX_UID if root else None,
        "gid": SANDBOX_UID if root else None,
        "relay": str(RELAY_FILE),
        "port": PORT,
    }
    program = str(Path(__file__).with_name("relay.py"))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", program, json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            env={},
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await process.stdout.readexactly(9)  # its first frame says that it listens
    except BaseException as error:
        kill(process)
        _, errors = await to_its_end(process.communicate())
        if isinstance(error, asyncio.IncompleteReadError | TimeoutError):
            said = errors[:2000].decode("utf-8", "replace").strip()
            raise BubblewrapStartError(f"the network relay did not start: {said or error}") from error
        raise
    mux = Mux(process.stdout, process.stdin, proxy.serve)
    return Relay(process, asyncio.create_task(mux.run()))


def _namespaces(pid: int) -> tuple[int, ...]:
    """Open the network that bubblewrap made; an ordinary user comes in through the user namespace that owns it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    if not children:
        raise BubblewrapStartError("the sandbox ended before its network was there")
    network = os.open(f"/proc/{children[0]}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if os.getuid() == 0:
        return (network,)
    return (fcntl.ioctl(network, _NS_GET_USERNS), network)


def log_denial(denial: JSONObject) -> None:
    """Log a denial as a line of JSON."""
    _LOG.info("%s", json.dumps({"event": "network.denied", **denial}))
