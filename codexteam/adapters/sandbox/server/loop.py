"""The loop over the host's requests and the output of everything that runs."""

from __future__ import annotations

import os
import selectors
import signal
import sys

from .base_checkout import BaseCheckout
from .commands import RunningCommands
from .files import read_file
from .git import Git
from .host import HostLink
from .layer import SetupLayer
from .processes import prctl
from .protocol import PROTOCOL, RequestRefused, refusal
from .snapshot import Snapshots
from .workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .protocol import Json

#: The inode of the machine's own PID namespace, the same on every Linux.
MACHINE_PID_NAMESPACE = "pid:[4026531836]"
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def jobs_of(git: Git, snapshots: Snapshots) -> dict[str, Callable[[Json], Json]]:
    """Return the jobs that the host can ask for, by name."""
    checkout, layer = BaseCheckout(git), SetupLayer(git)
    return {
        "root": checkout.root,
        "extra": checkout.extra,
        "seal": checkout.seal,
        "delta": checkout.delta,
        "begin": checkout.begin,
        "restore": checkout.restore,
        "take_layer": layer.take,
        "lay_layer": layer.lay,
        "snapshot": snapshots.take,
    }


class Server:
    """One loop; nothing in it waits for anything but the next event."""

    def __init__(self, settings: Json) -> None:
        self.workspace = Workspace(settings["workspace"])
        self.private = settings["private"]
        self.alone = bool(settings.get("alone")) and os.readlink("/proc/self/ns/pid") != MACHINE_PID_NAMESPACE
        git = Git(settings["workspace"], settings["private"], settings.get("base_git"))
        self.snapshots = Snapshots(git)
        self.jobs = jobs_of(git, self.snapshots)
        self.selector = selectors.DefaultSelector()
        self.host = HostLink(self.selector)
        output_cap = int(settings.get("output_cap_bytes", 16 << 20))
        self.commands = RunningCommands(self.host, self.selector, output_cap=output_cap, alone=self.alone)
        self.wake_read, self.wake_write = os.pipe()

    def start(self) -> None:
        for descriptor in (0, 1, self.wake_read, self.wake_write):
            os.set_blocking(descriptor, False)
        os.set_inheritable(0, False)  # noqa: FBT003
        os.set_inheritable(1, False)  # noqa: FBT003
        prctl(PR_SET_DUMPABLE, 0)
        if os.getpid() != 1:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        # a handler, not "ignore": what is ignored stays so in the commands
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, lambda *_: None)
            except (OSError, ValueError):
                continue
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        self.selector.register(self.wake_read, selectors.EVENT_READ, "wake")
        self.selector.register(0, selectors.EVENT_READ, "host")
        os.makedirs(self.private, exist_ok=True)
        hello = {"kind": "hello", "protocol": PROTOCOL, "pid": os.getpid(), "alone": self.alone, "uid": os.getuid()}
        for line in read_file("/proc/self/status").decode().splitlines():
            name, _, value = line.partition(":")
            if name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"):
                hello[name] = int(value, 16)
        self.host.send(dict(hello, python=".".join(map(str, sys.version_info[:3]))))

    def loop(self) -> None:
        while self.host.listening or self.host.outgoing:
            for key, mask in self.selector.select(self.commands.next_timeout()):
                what = key.data
                if what == "host":
                    if mask & selectors.EVENT_READ:
                        self.read_host()
                elif what == "host-out":
                    self.host.flush()
                elif what == "wake":
                    os.read(self.wake_read, 4096)
                elif what.number in self.commands.running:
                    if key.fd == what.stdin:
                        self.commands.feed(what)
                    else:
                        self.commands.read_output(what)
            self.commands.reap()
            self.commands.check_deadlines()

    def read_host(self) -> None:
        if not self.host.receive():
            self.commands.kill_all()
            return
        for header, body in self.host.requests():
            try:
                self.handle(header, body)
            except Exception as error:  # whatever it was, other requests continue
                self.host.send(dict(refusal(error, header.get("path", "")), id=header.get("id")))

    def handle(self, header: Json, body: bytes) -> None:
        what, number = header["op"], header["id"]
        if what == "run":
            self.commands.start_command(number, header, body)
        elif what == "job":
            if header["name"] == "snapshot":
                self.snapshots.prepare()
            self.commands.start_job(number, header, self.jobs[header["name"]])
        elif what == "write":
            self.commands.write_stdin(number, header, body)
        elif what == "kill":
            self.commands.kill(number)
        elif what == "read_file":
            data = self.workspace.read(header["path"], header["limit"])
            self.host.send({"id": number, "kind": "reply", "found": data is not None}, data or b"")
        elif what == "write_file":
            if header["delete"]:
                self.workspace.delete(header["path"])
            else:
                self.workspace.write(header["path"], body, executable=header["executable"])
            self.host.send({"id": number, "kind": "reply"})
        else:
            raise RequestRefused("internal", f"no such request: {what}")
