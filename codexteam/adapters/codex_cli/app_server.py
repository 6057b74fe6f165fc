"""One `codex app-server`: JSON-RPC over its standard streams, started when it is first needed and again when it died."""

import asyncio
import itertools
import json
import logging
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from codexteam import __version__
from codexteam.adapters.machine.bound_start import bound_to_this_process
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.system.cancellation import kill, stopped, to_its_end

_LOG = logging.getLogger(__name__)
_START_SECONDS = 60.0
_REQUEST_SECONDS = 120.0
_END_SECONDS = 5.0
#: The longest line that it may send: an answer with a picture in it.
_LINE_BYTES = 64 << 20
_STDERR_LINES = 20
#: Nobody is there whom it could ask.
_NOBODY: Final[JSONObject] = {"code": -32601, "message": "codexteam answers no questions of a harness"}


class AppServerError(Exception):
    """It cannot be started, ended, or refused a request."""


@dataclass(slots=True)
class AppServer:
    """The process. `listen` gets each notification; `gone` is called when the process ended by itself.

    `answer` answers what it asks us; None: that is nothing we know.
    """

    program: str
    environment: Mapping[str, str]
    listen: Callable[[str, JSONObject], None]
    answer: Callable[[str, JSONObject], Awaitable[JSONObject | None]]
    gone: Callable[[str], None]
    said: str = ""
    """What it calls itself, with its version."""
    _process: asyncio.subprocess.Process | None = None
    _stamp: tuple[int, ...] = ()
    """Which file the process runs."""
    _reading: asyncio.Task[None] | None = None
    _logging: asyncio.Task[None] | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _answering: set["asyncio.Task[None]"] = field(default_factory=set)
    _waiting: dict[int, "asyncio.Future[JSONValue]"] = field(default_factory=dict)
    _errors: deque[str] = field(default_factory=lambda: deque(maxlen=_STDERR_LINES))
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def running(self) -> bool:
        """Whether there is a process that answers."""
        return self._process is not None and self._process.returncode is None

    async def request(self, method: str, params: JSONObject) -> JSONObject:
        """Ask for something and return the result; starts the process if there is none.

        Raises:
            AppServerError: it refused, ended, or did not answer in time.
        """
        await self.start()
        return await self._ask(method, params)

    async def _ask(self, method: str, params: JSONObject) -> JSONObject:
        number = next(self._numbers)
        answer: asyncio.Future[JSONValue] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send({"id": number, "method": method, "params": params})
            async with asyncio.timeout(_REQUEST_SECONDS):
                result = await answer
        except TimeoutError:
            raise AppServerError(f"codex app-server did not answer {method} within {_REQUEST_SECONDS:.0f} s") from None
        finally:
            self._waiting.pop(number, None)
        return result if isinstance(result, dict) else {}

    async def renew(self) -> None:
        """Start the process anew where its program was replaced since: sandboxes have the new one.

        Raises:
            AppServerError: it cannot be started.
        """
        stamp = _stamp_of(self.program)
        if self.running and stamp and stamp != self._stamp:
            async with self._starting:
                if stamp != self._stamp:
                    _LOG.info("%s was replaced: codex app-server is started anew", self.program)
                    await self._end()
        await self.start()

    async def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            AppServerError: it cannot be started.
        """
        async with self._starting:
            if self.running:
                return
            await self._end()
            self._errors.clear()
            self._stamp = _stamp_of(self.program)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    # it ends with this process, even where that is killed
                    *bound_to_this_process(signal.SIGKILL),
                    self.program,
                    "app-server",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=dict(self.environment),
                    # a folder that holds nothing of the user's: threads name their own
                    cwd=os.sep,
                    limit=_LINE_BYTES,
                    start_new_session=True,
                )
            except OSError as error:
                raise AppServerError(f"{self.program} app-server cannot be started: {error}") from error
            self._reading = asyncio.create_task(self._read(self._process))
            self._logging = asyncio.create_task(self._log(self._process))
            info: JSONObject = {"name": "codexteam", "title": "codexteam", "version": __version__}
            try:
                async with asyncio.timeout(_START_SECONDS):
                    hello = await self._ask(
                        "initialize", {"clientInfo": info, "capabilities": {"experimentalApi": True}}
                    )
                    await self._send({"method": "initialized"})
            except TimeoutError:
                await self._end()
                raise AppServerError(f"codex app-server was not ready within {_START_SECONDS:.0f} s") from None
            except BaseException:
                await to_its_end(self._end())
                raise
            self.said = str(hello.get("userAgent", ""))

    async def _send(self, message: JSONObject) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise AppServerError(f"codex app-server has ended{self._why()}")
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise AppServerError(f"codex app-server has ended{self._why()}") from error

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                try:
                    message = json.loads(line)
                except ValueError:
                    continue  # a line of a log that went astray
                if isinstance(message, dict):
                    await self._take(cast("JSONObject", message))
        except (ValueError, OSError) as error:  # a line over the limit
            _LOG.warning("codex app-server cannot be read: %s", error)
        finally:
            if process is self._process:
                kill(process)  # it has closed its output, unasked
            self._lost()

    async def _take(self, message: JSONObject) -> None:
        number, method, params = message.get("id"), message.get("method"), message.get("params")
        if isinstance(method, str):
            if number is not None:
                task = asyncio.create_task(self._respond(number, method, params if isinstance(params, dict) else {}))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            elif isinstance(params, dict):
                self.listen(method, params)
            return
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        if (error := message.get("error")) is not None:
            said = error.get("message") if isinstance(error, dict) else error
            answer.set_exception(AppServerError(f"codex app-server refused: {clean_line(str(said))}"))
        else:
            answer.set_result(message.get("result"))

    async def _respond(self, number: JSONValue, method: str, params: JSONObject) -> None:
        try:
            found = await self.answer(method, params)
            response: JSONObject = {"error": _NOBODY} if found is None else {"result": found}
            await self._send({"id": number, **response})
        except AppServerError as error:
            _LOG.debug("an answer came too late: %s", error)

    def _lost(self) -> None:
        why = f"codex app-server has ended{self._why()}"
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(AppServerError(why))
        self.gone(why)

    def _why(self) -> str:
        return f": {clean_line(self._errors[-1])}" if self._errors else ""

    async def _log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(1 << 16):
            lines = data.decode("utf-8", "replace").splitlines()
            self._errors.extend(line.strip() for line in lines if line.strip())

    async def close(self) -> None:
        """End the process."""
        await to_its_end(self._end())

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            except TimeoutError:
                kill(process)
                await process.wait()
        for task in (*self._answering, self._reading, self._logging):
            if task is not None and task is not asyncio.current_task():
                await stopped(task)
        self._reading = self._logging = None


def _stamp_of(program: str) -> tuple[int, ...]:
    """Return what tells a program from the one that an update puts in its place; nothing while there is none."""
    try:
        found = Path(program).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
