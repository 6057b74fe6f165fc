"""A sandbox's way to its proxy, wherever the sandbox is: a relay inside, started again when it is killed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from codexteam.adapters.sandbox.network import RELAY_FILE
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.network.relay import PORT, Mux
from codexteam.system.cancellation import stopped

#: The relay, as the program that it is.
RELAY = RELAY_FILE.read_text("utf-8")
_READY_SECONDS = 30.0
#: A relay that was killed with everything else in its sandbox is started again, this often in a row.
_TRIES = 5
_PAUSE_SECONDS = 0.2
#: Between two starts of a relay at least, since commands may kill it as often as they like.
_APART_SECONDS = 1.0
#: Its one argument.
RELAY_SETTINGS = json.dumps({"port": PORT, "socket": None})
#: The command of a relay.
RELAY_COMMAND: Sequence[str] = ("python3", "-I", "-c", RELAY, RELAY_SETTINGS)


class RelayReader(Protocol):
    """The standard output of a relay, and the end of what it wrote to its standard error."""

    @property
    def errors(self) -> bytearray:
        """What it said last."""
        ...

    async def readexactly(self, n: int, /) -> bytes:
        """Return exactly so many bytes."""
        ...


class RelayWriter(Protocol):
    """The standard input of a relay."""

    def write(self, data: bytes, /) -> None:
        """Take bytes to send."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    def close(self) -> None:
        """End the stream."""
        ...


class RelayNotStartedError(Exception):
    """The relay does not start; the message has foreign text."""


class Connection:
    """A sandbox's way to its proxy. Owned by the sandbox's start, which closes it."""

    url = f"http://127.0.0.1:{PORT}"

    def __init__(
        self,
        start: Callable[[], Awaitable[tuple[RelayReader, RelayWriter]]],
        proxy: Proxy,
        failures: tuple[type[Exception], ...],
    ) -> None:
        """Begin to start the relay.

        Args:
            start: Runs the relay in the sandbox, such as by `RELAY_COMMAND`.
            proxy: Serves what comes.
            failures: What `start` and the streams may raise.
        """
        self.proxy = proxy
        self._start = start
        self._failures = failures
        self._ready = asyncio.Event()
        self._failure = ""
        self._task = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Wait until commands reach the proxy.

        Raises:
            RelayNotStartedError: the relay does not start.
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
            raise RelayNotStartedError(f"the network relay did not start: {self._failure}")

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
            except self._failures as error:
                self._failure = str(error)
                failed += 1
            await asyncio.sleep(_PAUSE_SECONDS * failed or began + _APART_SECONDS - clock())

    async def _serve_once(self) -> bool:
        """Serve through one relay; whether it came up."""
        reader, writer = await self._start()
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
