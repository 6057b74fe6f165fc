"""A Ray cluster of several nodes on this machine, each with processes of its own: one can die as if it lost its power."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

_STORE_BYTES = 80 << 20
_START_SECONDS = 90.0
#: Of all clusters of this process: Ray reads one once, and keeps it.
_TOKEN = secrets.token_hex(32)


def problem() -> str:
    """Say why there can be no cluster here; empty where there can."""
    return "" if find_spec("ray") else "ray is not installed (pip install 'codexteam[ray]')"


@dataclass
class RayCluster:
    """A head without places for agents, and nodes with some. Owned by `ray_cluster`."""

    folder: Path
    address: str
    environment: dict[str, str]
    """Of its nodes, and of whoever joins them."""
    slots: int
    nodes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """By their numbers; the head is 0."""

    def start(self, number: int, *, slots: int) -> None:
        """Start a node and wait until it has joined."""
        head = number == 0
        argv = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
        argv += [
            f"--object-store-memory={_STORE_BYTES}",
            f'--resources={{"sandbox_slots": {slots}, "node{number}": 1}}',
        ]
        if head:
            port = self.address.rpartition(":")[2]
            argv += ["--head", f"--port={port}", "--include-dashboard=false", "--node-ip-address=127.0.0.1"]
            argv += [f"--temp-dir={self.folder}"]
        else:
            argv += [f"--address={self.address}", "--node-ip-address=127.0.0.1"]
        log = self.folder / f"node{number}.log"
        # a home of its own: what a node keeps is not there for the others
        home = self.folder / f"home{number}"
        home.mkdir(exist_ok=True)
        environment = {**self.environment, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        with log.open("wb") as file:
            self.nodes[number] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        _wait(lambda: "Ray runtime started." in log.read_text(errors="replace"), self.nodes[number], log)

    def die(self, number: int) -> None:
        """Kill all of a node's processes at once."""
        process = self.nodes.pop(number)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
        for pid in _session_of(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)

    def close(self) -> None:
        """End what is left of it."""
        for number in sorted(self.nodes, reverse=True):
            self.die(number)


def _session_of(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(path.name))
    return found


def _wait(is_so: "object", process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while not is_so():  # type: ignore[operator]
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"a node of Ray did not start: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


@contextmanager
def ray_cluster(nodes: int = 2, *, slots: int = 4, more: Mapping[str, str] | None = None) -> Iterator[RayCluster]:
    """Start a cluster; `more` is in the environment of its nodes, such as the model's key."""
    with tempfile.TemporaryDirectory(prefix="codexteam-ray-", dir="/tmp") as folder:
        environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": _TOKEN,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            # a node that is gone is noticed in two seconds instead of fifteen
            "RAY_health_check_initial_delay_ms": "500",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            **(more or {}),
        }
        cluster = RayCluster(Path(folder), f"127.0.0.1:{_free_port()}", environment, slots)
        try:
            cluster.start(0, slots=0)
            for number in range(1, nodes + 1):
                cluster.start(number, slots=slots)
            yield cluster
        finally:
            cluster.close()
