"""The host's side of an attack: bait, and what must be as it was afterwards."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

#: A bait, which no output may hold.
SECRET = "canary-5f1d7c93"


@dataclass
class Witness:
    """The host's side: bait, and what must be as it was."""

    folder: Path
    listener: socket.socket = field(init=False)
    abstract: socket.socket = field(init=False)
    bystander: "asyncio.subprocess.Process" = field(init=False)

    async def set_up(self) -> None:
        """Lay the bait out."""
        self.canary.write_text(SECRET)
        self.folder.chmod(0o777)
        self.canary.chmod(0o666)
        self.shared.write_text(SECRET)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen()
        for each in (self.listener, self.abstract):
            each.setblocking(False)
        self.bystander = await asyncio.create_subprocess_exec("sleep", "3600")

    async def tear_down(self) -> None:
        """Take it away."""
        self.listener.close()
        self.abstract.close()
        self.shared.unlink(missing_ok=True)
        if self.bystander.returncode is None:
            self.bystander.kill()
        await self.bystander.wait()

    @property
    def canary(self) -> Path:
        """A file that anybody on the host could read and write."""
        return self.folder / "canary"

    @property
    def shared(self) -> Path:
        """A file in the host's shared memory."""
        return Path(f"/dev/shm/codexteam-canary-{os.getpid()}")

    @property
    def abstract_name(self) -> str:
        """A socket without a file."""
        return f"codexteam-canary-{os.getpid()}"

    def words(self) -> dict[str, str]:
        """What probes are told."""
        return {
            "canary": str(self.canary),
            "folder": str(self.folder),
            "shared": self.shared.name,
            "port": str(self.listener.getsockname()[1]),
            "abstract": self.abstract_name,
            "pid": str(self.bystander.pid),
        }

    def breaches(self, said: bytes) -> list[str]:
        """Give what went wrong, as seen from outside."""
        found = []
        if SECRET.encode() in said:
            found.append("a secret of the host was read")
        if self.canary.read_text() != SECRET or {path.name for path in self.folder.iterdir()} != {"canary"}:
            found.append("the host's folder was written")
        if not self.shared.exists() or self.shared.read_text() != SECRET:
            found.append("the host's shared memory was written")
        if self.bystander.returncode is not None:
            found.append("a process of the host was killed")
        for each, what in ((self.listener, "loopback"), (self.abstract, "an abstract socket")):
            try:
                each.accept()[0].close()
            except BlockingIOError:
                continue
            found.append(f"a connection came in over {what}")
        return found


@asynccontextmanager
async def witness_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Witness]:
    """Set a host up that is worth an attack, with a secret in its environment, and take it away."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    host = folder / "host"
    host.mkdir()
    found = Witness(host)
    await found.set_up()
    yield found
    await found.tear_down()
