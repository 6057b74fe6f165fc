"""One bubblewrap process with a server in it, and a channel to it."""

import asyncio
import contextlib
import os
import platform
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.launch_plan import PATH, Launch
from codexteam.adapters.sandbox.bubblewrap.seccomp import filter_program
from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.protocol import ChannelClosedError, Hello
from codexteam.core.text import clean
from codexteam.system.cancellation import stopped, to_its_end

_READ_BUFFER_BYTES = 1 << 20
_SAID_BYTES = 4000


class BubblewrapStartError(Exception):
    """Bubblewrap or its server did not come up; the message says what was said."""


@dataclass(slots=True)
class BubblewrapProcess:
    """A started bubblewrap."""

    process: asyncio.subprocess.Process
    channel: Channel
    hello: Hello
    stderr: asyncio.Task[bytes]

    async def stop(self) -> None:
        """Kill it and wait; everything in its namespace dies with it."""
        await to_its_end(self._end())

    async def _end(self) -> None:
        await self.channel.close()
        _kill(self.process)
        await self.process.wait()
        await stopped(self.stderr)

    def namespaces(self) -> tuple[int, ...]:
        """Return descriptors of the namespaces its workspace lives in; they keep it when every process is gone."""
        names = ["mnt"] if os.getuid() == 0 else ["user", "mnt"]
        return tuple(os.open(f"/proc/{self.process.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names)


async def launch(
    plan: Launch,
    *,
    prefix: tuple[str, ...] = (),
    secrets: Mapping[str, str] | None = None,
    timeout_seconds: float = 30.0,
) -> BubblewrapProcess:
    """Start bubblewrap and wait until the server inside answers; `secrets` are files under /run/secrets, by name.

    Raises:
        StartFailedError: it did not come up, or is not as closed as it must be.
    """
    calls = filter_program(platform.machine())
    filter_descriptor = None if calls is None else _in_memory("filter", calls)
    program_descriptor = _in_memory("server", plan.program)
    given = {name: _in_memory("secret", text.encode()) for name, text in (secrets or {}).items()}
    ours = tuple(each for each in (filter_descriptor, program_descriptor, *given.values()) if each is not None)
    argv = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))]
    try:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *argv,
            plan.plan(program_descriptor=program_descriptor, filter_descriptor=filter_descriptor, secrets=given),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(*ours, *plan.join),
            # only a service manager in front would look at it; bubblewrap gets an environment of its own
            env={"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", "PATH": PATH},
            limit=_READ_BUFFER_BYTES,
            process_group=0,
        )
    finally:
        for descriptor in ours:
            os.close(descriptor)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(_keep_tail(process.stderr))
    channel = Channel(process.stdout, process.stdin)
    running: BubblewrapProcess | None = None
    try:
        hello = await channel.ready(timeout_seconds=timeout_seconds)
        running = BubblewrapProcess(process, channel, hello, said)
        _demand_closed(hello, filtered=calls is not None)
    except BaseException as error:
        text = (await to_its_end(_give_up(process, channel, said))).decode("utf-8", "replace").strip()
        if isinstance(error, (ChannelClosedError, BubblewrapStartError)):
            raise BubblewrapStartError(clean(text or str(error))) from error
        raise
    return running


async def _give_up(process: asyncio.subprocess.Process, channel: Channel, said: asyncio.Task[bytes]) -> bytes:
    """End a start; give the last that it said."""
    _kill(process)
    # the server inside, once it has a session of its own and until the kernel is asked to end it with bubblewrap,
    # outlives that kill; it ends when its input does, and `wait` waits for the pipes that it holds
    await channel.close()
    await process.wait()
    return await said


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill bubblewrap and what it has forked.

    Until its child has asked the kernel to die with it, the child would stay, wait for a parent that is gone, and hold
    the pipes that `wait` waits for.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _demand_closed(hello: Hello, *, filtered: bool) -> None:
    """Look at what the kernel really granted."""
    if hello.capabilities or not hello.no_new_privileges or hello.uid == 0 or (filtered and not hello.filtered):
        raise BubblewrapStartError(
            f"the sandbox is open: uid {hello.uid}, capabilities {hello.capabilities:x}, "
            f"no_new_privs {hello.no_new_privileges}, filter {hello.filtered}"
        )


def _in_memory(name: str, data: bytes) -> int:
    descriptor = os.memfd_create(f"codexteam-{name}", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _keep_tail(stream: asyncio.StreamReader) -> bytes:
    tail = b""
    while data := await stream.read(4096):
        tail = (tail + data)[-_SAID_BYTES:]
    return tail
