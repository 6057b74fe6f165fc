"""Processes as /proc shows them, and the end of all that a command started, wherever it went."""

from __future__ import annotations

import ctypes
import os
import re
import signal

from .files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .running import Running


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children, zombies included."""
    try:
        found: list[int] = []
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, read_file(f"/proc/{pid}/task/{task}/children").split())
        return found
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{pid}"):
            return []
    except OSError:
        return []
    return [child for child in every_process() if process_state(child)[1] == pid]


def every_process() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_state(pid: int) -> tuple[str, int, int]:
    """Return a process's state letter, parent and session; ("", 0, 0) when it is gone."""
    try:
        fields = read_file(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return ("", 0, 0)
    return (fields[0].decode(), int(fields[1]), int(fields[3]))


def tree_of(roots: list[int]) -> list[int]:
    """Return these processes and all that descend from them."""
    found = list(roots)
    for pid in found:  # grows while it is walked
        found += [child for child in children_of(pid) if child not in found]
    return found


def signal_quietly(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def marker_of(pid: int) -> int | None:
    """Return the number of the command that a process belongs to, as its environment says; None when it does not."""
    try:
        found = re.search(rb"(?:^|\0)CODEXTEAM_COMMAND=(\d+)\0", read_file(f"/proc/{pid}/environ"))
    except OSError:
        return None
    return int(found.group(1)) if found else None


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Killer:
    """Ends process trees. Whatever outlives its parent becomes a child of this program, so that nothing is out of reach."""

    def __init__(self, running: dict[int, Running], by_pid: dict[int, Running], *, alone: bool) -> None:
        self.running = running
        self.by_pid = by_pid
        self.alone = alone

    def kill_tree(self, run: Running, *, ended: bool) -> int:
        """Kill all that a command started, wherever it went; give how many there were.

        Whatever outlives its parent becomes a child of this program, so that nothing is out of reach.
        """
        others = [other for other in self.running.values() if other is not run]
        mains = {other.pid for other in others if other.status is None}
        if ended and not set(children_of(os.getpid())) - mains:
            return 0
        killed: set[int] = set()
        for _ in range(64):
            strays = self.strays_of(run, mains, last=not others)
            roots = strays if ended else [run.pid, *strays]
            alive = [pid for pid in tree_of(roots) if process_state(pid)[0] not in ("", "Z", "X")]
            if not alive:
                break
            killed.update(alive)
            if self.alone and not others:
                os.kill(-1, signal.SIGKILL)  # at once, however quickly they multiply
            else:
                for pid in alive:
                    signal_quietly(pid, signal.SIGSTOP)
                for pid in alive:
                    signal_quietly(pid, signal.SIGKILL)
            self.collect_orphans()
        return len(killed)

    def strays_of(self, run: Running, mains: set[int], *, last: bool) -> list[int]:
        found = []
        for pid in children_of(os.getpid()):
            if pid in mains or pid == run.pid:
                continue
            marker = marker_of(pid)
            if (
                marker == run.number
                or process_state(pid)[2] == run.pid
                or (last and marker is None)
                or (marker is not None and marker not in self.running)
            ):
                found.append(pid)
        return found

    def collect_orphans(self) -> None:
        """Bury dead children that are not commands; those are for `reap`."""
        for pid in children_of(os.getpid()):
            if pid not in self.by_pid:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue
