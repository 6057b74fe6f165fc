"""A real ssh server on loopback, with keys of its own, and the ssh command set up to reach it; nobody's ~/.ssh is touched."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.own_engine import below

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
#: Where a server that root starts locks its unprivileged half in.
_PRIVILEGES = Path("/run/sshd")


def problem() -> str:
    """Say why there can be no server here; empty when there can."""
    if _SSHD is None or shutil.which("ssh-keygen") is None or shutil.which("ssh") is None:
        return "openssh-server and openssh-client are not installed"
    return ""


@dataclass
class SshServer:
    """One sshd. Owned by `ssh_server`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def host(self) -> str:
        """What an engine's `host` is set to."""
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The user's, with an ssh command that has the test's own settings instead of theirs."""
        return {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    @property
    def connections(self) -> int:
        """Return how many there have been."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert _SSHD is not None
        with (self.folder / "log").open("ab") as log:
            argv = [_SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as asking:
                if asking.recv(4) == b"SSH-":
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"sshd does not listen: {(self.folder / 'log').read_text()[-600:]}")

    def stop(self) -> None:
        """Let it die as its machine would: with every connection, at once."""
        if self.process is None:
            return
        children = below(self.process.pid)
        for pid in (self.process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Have one for as long as the block lasts; its settings and keys are in a folder of the test."""
    folder.mkdir(parents=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    user = pwd.getpwuid(os.getuid()).pw_name
    settings = (
        *("ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host_key", "LogLevel VERBOSE", "PidFile none"),
        *(f"AuthorizedKeysFile {folder}/authorized_keys", f"AllowUsers {user}", "PasswordAuthentication no"),
        *("UsePAM no", "StrictModes no", "MaxStartups 200", "MaxSessions 200"),
    )
    (folder / "sshd_config").write_text("".join(f"{line}\n" for line in settings))
    public = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user_key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
        "GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
    )
    (folder / "bin").mkdir()
    program = folder / "bin" / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    program.chmod(0o755)
    made = os.geteuid() == 0 and not _PRIVILEGES.exists()
    if made:
        _PRIVILEGES.mkdir(mode=0o755)
    server = SshServer(folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        if made:
            _PRIVILEGES.rmdir()
