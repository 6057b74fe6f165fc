"""Limits on memory, processes and CPU of one sandbox: control groups made by hand, where the kernel and our rights allow it.

Where they do not, `watch_memory` looks at the size of the processes and ends a sandbox that takes too much.
"""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from codexteam.config.settings import SandboxLimits

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PERIOD_SECONDS = 1.0
_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "codexteam-"
_CPU_PERIOD_MICROSECONDS = 100_000
#: What a limit is called in `unlimited`, and the controller that sets it.
CONTROLLERS = {"memory": "memory", "processes": "pids", "cpu": "cpu"}


async def watch_memory(pid: int, limit_bytes: int) -> None:
    """Kill the largest process below `pid` whenever all together hold more than the limit; until cancelled."""
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        held = resident_bytes(pid)
        if sum(held.values()) > limit_bytes:
            # the first two are bubblewrap and the server: without them nothing could be reported
            commands = {process: size for process, size in held.items() if process not in list(held)[:2]}
            if commands:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(max(commands, key=lambda process: commands[process]), signal.SIGKILL)


def resident_bytes(pid: int) -> dict[int, int]:
    """Return the resident memory of a process and of each that descends from it, parents first."""
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        process = waiting.pop(0)
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
            tasks = list(Path(f"/proc/{process}/task").iterdir())
            children = [int(word) for task in tasks for word in (task / "children").read_text("ascii").split()]
        except (OSError, IndexError):
            continue  # it ended meanwhile
        found[process] = pages * _PAGE_BYTES
        waiting += children
    return found


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups can be made: one folder for all (version 2), or one per controller (version 1)."""

    folders: dict[str, Path]
    """Controller to the folder that groups are made in."""
    unified: bool

    def limited(self) -> frozenset[str]:
        """Return what can be limited: `memory`, `processes`, `cpu`."""
        return frozenset(what for what, controller in CONTROLLERS.items() if controller in self.folders)

    def make(self, name: str, limits: SandboxLimits) -> "Group":
        """Make a group; what an earlier one of that name holds is killed."""
        group = Group(tuple({folder / (_PREFIX + name) for folder in self.folders.values()}))
        if any(folder.exists() for folder in group.folders):
            group.kill()
            group.remove()
        for folder in group.folders:
            folder.mkdir(exist_ok=True)
        for controller, folder in self.folders.items():
            for file, value in _settings(controller, limits, unified=self.unified):
                target = folder / (_PREFIX + name) / file
                if target.exists():
                    target.write_text(value, encoding="ascii")
        return group

    def leftovers(self, prefix: str) -> "dict[str, Group]":
        """Return the groups that are there whose names begin so, by name."""
        found: dict[str, set[Path]] = {}
        for folder in set(self.folders.values()):
            for path in folder.glob(f"{_PREFIX}{prefix}*"):
                found.setdefault(path.name.removeprefix(_PREFIX), set()).add(path)
        return {name: Group(tuple(paths)) for name, paths in found.items()}


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one sandbox."""

    folders: tuple[Path, ...]

    @property
    def procs(self) -> list[str]:
        """The files that a process writes itself into."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def kill(self) -> None:
        for folder in self.folders:
            try:
                members = (folder / "cgroup.procs").read_text(encoding="ascii").split()
            except OSError:
                continue
            for member in members:
                if member == "0":  # of another process namespace; to `kill` it would mean our own process group
                    continue
                try:
                    os.kill(int(member), 9)
                except ProcessLookupError:
                    continue

    def remove(self) -> bool:
        """Remove it; False while something is still dying in it."""
        gone = True
        for folder in self.folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


def _settings(controller: str, limits: SandboxLimits, *, unified: bool) -> list[tuple[str, str]]:
    memory, quota = str(limits.memory_bytes), int(limits.cpus * _CPU_PERIOD_MICROSECONDS)
    match controller, unified:
        case "memory", True:
            return [("memory.max", memory), ("memory.swap.max", "0")]
        case "memory", False:
            return [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
        case "pids", _:
            return [("pids.max", str(limits.max_processes))]
        case "cpu", True:
            return [("cpu.max", f"{quota} {_CPU_PERIOD_MICROSECONDS}")]
        case _:
            return [("cpu.cfs_period_us", str(_CPU_PERIOD_MICROSECONDS)), ("cpu.cfs_quota_us", str(quota))]


def find_groups() -> Groups | None:
    """Return where groups can really be made on this machine; None where nowhere."""
    own = _own_paths()
    if (_ROOT / "cgroup.controllers").exists():
        found = _unified(own.get("", "/"))
    else:
        found = {}
        for controller in CONTROLLERS.values():
            folder = _ROOT / controller / own.get(controller, "/").lstrip("/")
            if _writable(folder):
                found[controller] = folder
    return Groups(found, unified=(_ROOT / "cgroup.controllers").exists()) if found else None


def _own_paths() -> dict[str, str]:
    """Return our own group per controller; the empty name is version 2's."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _unified(own: str) -> dict[str, Path]:
    """Version 2: a folder of our own below the root of what we may write, with the controllers handed down to it.

    A group that has processes can hand nothing down, so ours lies beside our own group, not below it.
    """
    parent = (_ROOT / own.lstrip("/")).parent if own != "/" else _ROOT
    for folder in (parent, _ROOT):
        try:
            there = set((folder / "cgroup.controllers").read_text(encoding="ascii").split())
            wanted = [name for name in CONTROLLERS.values() if name in there]
            enabled = set((folder / "cgroup.subtree_control").read_text(encoding="ascii").split())
            missing = [name for name in wanted if name not in enabled]
            if missing:
                text = " ".join(f"+{name}" for name in missing)
                (folder / "cgroup.subtree_control").write_text(text, encoding="ascii")
        except OSError:
            continue
        if wanted and _writable(folder):
            return dict.fromkeys(wanted, folder)
    return {}


def _writable(folder: Path) -> bool:
    probe = folder / f"{_PREFIX}probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return os.access(folder / "cgroup.procs", os.W_OK)
