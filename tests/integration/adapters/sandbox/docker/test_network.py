"""The relay runs as the commands' own user: they may end it, and that is all."""

from pathlib import Path

import pytest

from codexteam.config.settings import NetworkKind, NetworkPolicy
from codexteam.ports.sandbox import Command
from tests.integration.adapters.sandbox.docker.support import rig

pytestmark = pytest.mark.docker

POLICY = NetworkPolicy(NetworkKind.ALLOWLIST, ("localhost:1",))

_FIND = """
import os, signal, socket, time
def relays():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
        except OSError:
            continue
        if b'{"port": 3128, "socket": null}' in words:
            yield int(pid)
"""

_LOOK = f"""{_FIND}
for pid in relays():
    for name in ("fd", "fd/1", "mem"):
        try:
            os.listdir(f"/proc/{{pid}}/{{name}}") if name == "fd" else open(f"/proc/{{pid}}/{{name}}", "wb")
            print(name, "open")
        except OSError as error:
            print(name, error.strerror)
"""

_KILL = f"""{_FIND}
killed, began = set(), time.monotonic()
while len(killed) < 6 and time.monotonic() < began + 90:
    try:
        socket.create_connection(("127.0.0.1", 3128), 1).close()
    except OSError:
        time.sleep(0.01)
        continue
    for pid in relays():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # of the blow before
        killed.add(pid)
print(len(killed), time.monotonic() - began)
"""


async def test_commands_cannot_speak_in_the_relays_name(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start(network=POLICY)
        looked = await sandbox.run(Command(("python3", "-c", _LOOK)))
        denied = "Permission denied"
        assert looked.output.decode().splitlines() == [f"fd {denied}", f"fd/1 {denied}", f"mem {denied}"]


async def test_a_relay_killed_repeatedly_is_restarted_with_a_pause(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        sandbox = await found.start(network=POLICY)
        killed = await sandbox.run(Command(("python3", "-c", _KILL), timeout_seconds=120))
        count, seconds = killed.output.split()
        assert int(count) >= 6, killed
        # the second was started a second after the first, whenever that was, and so on
        assert float(seconds) > int(count) - 2, killed
