"""A Docker engine of the test's own: stopped, stalled and filled up without anybody else's noticing."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker

from tests.faults.strikes import wait_for

IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")


@dataclass
class OwnEngine:
    """One dockerd with its own socket, data and containerd. Owned by `own_engine`."""

    folder: Path
    data: Path
    sockets: Path
    """A folder with a short path: a socket's may have 107 bytes."""
    process: subprocess.Popen[bytes] | None = field(default=None)
    _one_at_a_time: threading.RLock = field(default_factory=threading.RLock)

    @property
    def host(self) -> str:
        """What `DOCKER_HOST` is set to."""
        return f"unix://{self.sockets}/docker.sock"

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens when it runs."""
        with self._one_at_a_time:
            self._start()

    def _start(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        options = {"data-root": self.data, "exec-root": self.sockets / "exec", "pidfile": self.folder / "docker.pid"}
        flags = [f"--{name}={value}" for name, value in options.items()]
        flags += ["--bridge=none", "--iptables=false", "--ip-masq=false", f"--host={self.host}"]
        with (self.folder / "log").open("ab") as log:
            # in a network of its own: without a bridge it would take the machine's engine its own away
            argv = ["unshare", "--net", "dockerd", *flags]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, f"an answer of dockerd; see {self.folder}/log")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"dockerd ended: {(self.folder / 'log').read_text()[-600:]}")
        # by hand: the client leaves its socket open where nobody listens
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(f"{self.sockets}/docker.sock")
            asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in asking.recv(64)
        return False

    def stop(self) -> None:
        """Stop it with all its containers."""
        with self._one_at_a_time:
            if self.process is not None:
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
                self.process.wait(60)

    def die(self) -> None:
        """Kill it with all that runs on it, at once, as when its machine loses power; nothing is told or cleaned up."""
        with self._one_at_a_time:
            if self.process is None:
                return
            # a container's shim has another parent, and names the engine's socket
            mark = f"{self.sockets}/".encode()
            shims = [pid for pid in _pids() if mark in _command_line(pid)]
            for pid in dict.fromkeys((self.process.pid, *shims, *(child for shim in shims for child in below(shim)))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(60)

    def restart(self) -> None:
        """Stop and start it, and let nobody in between."""
        with self._one_at_a_time:
            self.stop()
            self.start()

    def stall(self) -> None:
        """Let it take connections and say nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a stall."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def load(self) -> None:
        """Take the image over from the machine's engine."""
        with subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ["docker", "--host", self.host, "load"], stdin=saving.stdout, check=True, stdout=subprocess.DEVNULL
            )


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def below(pid: int) -> list[int]:
    """Return all processes that a process has started, and those that these have."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            found += [int(child), *below(int(child))]
    return found


@contextlib.contextmanager
def client_of(host: str | None) -> Iterator[docker.DockerClient]:
    """Talk to an engine; None is the machine's."""
    client = docker.DockerClient(base_url=host, timeout=30) if host else docker.from_env(timeout=30)
    try:
        yield client
    finally:
        client.close()


def problem() -> str:
    """Say why there can be no engine of our own here; empty when there can."""
    if os.geteuid() != 0:
        return "only root can start an engine"
    return "" if shutil.which("dockerd") else "dockerd is not installed"


@contextlib.contextmanager
def own_engine(folder: Path, data: Path | None = None) -> Iterator[OwnEngine]:
    """Start an engine that has the sandbox image, and remove all of it in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    sockets = Path(tempfile.mkdtemp(prefix="engine-"))
    engine = OwnEngine(folder, data or folder / "data", sockets)
    try:
        engine.start()
        engine.load()
        yield engine
    finally:
        engine.stop()
        mounts = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((name for name in mounts if name.startswith((f"{folder}/", f"{sockets}/"))), reverse=True):
            if data is None or mount != str(data):
                subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(sockets)


def left_on(client: docker.DockerClient, state: Path) -> list[str]:
    """Give what runs of a state folder left on an engine: containers, and volumes but for shared checkouts and caches."""
    ours: dict[str, str | list[str] | bool] = {"label": f"codexteam.owner={state}"}
    containers = [str(found.name) for found in client.containers.list(all=True, filters=ours)]
    volumes = [str(found.name) for found in client.volumes.list(filters=ours)]
    shared = ("codexteam-base-", "codexteam-cache-")
    return [name for name in (*containers, *volumes) if not name.startswith(shared)]
