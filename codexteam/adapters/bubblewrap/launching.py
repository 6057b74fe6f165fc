"""Plans one start: what `launch` prepares and the arguments that bubblewrap gets."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.bubblewrap.binary import Binary
from codexteam.adapters.sandbox_channel_protocol import server_settings
from codexteam.config.settings import NetworkKind, SandboxLimits
from codexteam.ports.sandbox import WORKSPACE

#: Every Linux has this folder; in its own mount namespace the launcher puts the sandbox's files there.
AREA = "/dev/shm"  # noqa: S108 - covered by a file system of our own
#: The user that commands run as, inside; also outside when codexteam runs as root.
SANDBOX_UID = 10001
#: Inside: what belongs to the server.
INSIDE = "/run/codexteam"
HOME = "/tmp/home"  # noqa: S108 - the sandbox's own
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD = f"root:x:0:0:root:/:/bin/sh\nagent:x:{SANDBOX_UID}:{SANDBOX_UID}:agent:{HOME}:/bin/bash\n"
_GROUP = f"root:x:0:\nagent:x:{SANDBOX_UID}:\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
#: What of /etc the programs in /usr need; never all of it.
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/certs", "ca-certificates", "pki/tls/certs")
_SHARED_MEMORY_BYTES = 64 << 20
#: Of the memory limit, what the file systems in memory must leave to programs.
_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that the server runs on, inside."""

    path: str
    prefix: str | None = None
    """A folder outside /usr that has to be shown for it."""


def find_interpreter() -> Interpreter:
    """Give the system's Python, else the one that runs us, without any virtual environment."""
    if Path("/usr/bin/python3").exists():
        return Interpreter("/usr/bin/python3")
    prefix = Path(sys.base_prefix).resolve()
    program = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(str(program), None if prefix.is_relative_to("/usr") else str(prefix))


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of bubblewrap."""

    binary: Binary
    interpreter: Interpreter
    limits: SandboxLimits
    network: NetworkKind
    writable: bool
    """Whether commands may change the workspace."""
    tree: Path
    """The checkout: read-only under the workspace, or the workspace itself when `in_place`."""
    in_place: bool = False
    """Work in `tree` itself: how a base is made."""
    proxy_socket: Path | None = None
    cgroup_procs: tuple[str, ...] = ()
    nproc: int | None = None
    """A limit of processes per user, where there is no control group."""
    join: tuple[int, ...] = ()
    """Descriptors of the namespaces of an earlier start, to work on in its workspace."""
    server_file: Path = field(default_factory=lambda: Path(__file__).parents[1] / "sandbox_server.py")

    def plan(self, *, filter_descriptor: int | None) -> str:
        """Give the launcher's argument."""
        root = os.getuid() == 0
        uid, gid = (SANDBOX_UID, SANDBOX_UID) if root else (os.getuid(), os.getgid())
        binds = {"base.git": str(self.tree / ".git")} if not self.in_place else {"work": str(self.tree)}
        if self.interpreter.prefix is not None:
            binds["python"] = self.interpreter.prefix
        copies = {"server.py": str(self.server_file)}
        if self.network is NetworkKind.OPEN and Path("/etc/resolv.conf").exists():
            copies["resolv.conf"] = "/etc/resolv.conf"
        if self.proxy_socket is not None:
            binds["proxy"] = str(self.proxy_socket.parent)
        plan = {
            "uid": uid,
            "gid": gid,
            "area": AREA,
            "join": list(self.join),
            "cgroups": list(self.cgroup_procs),
            "overlay": None if self.in_place else str(self.tree),
            "binds": binds,
            "copies": copies,
            "files": {"passwd": _PASSWD, "group": _GROUP, "hosts": _HOSTS},
            "programs": [{"from": str(folder), "to": f"bwrap/{folder.name}"} for folder in self.binary.folders],
            "workspace_bytes": self._sizes()[0],
            "workspace_files": self.limits.workspace_files,
            "rlimits": self._rlimits(),
            "keep": [] if filter_descriptor is None else [filter_descriptor],
            "argv": [self._program(), *self._arguments(filter_descriptor)],
            "env": {"PATH": PATH, "LANG": "C.UTF-8"},
        }
        return json.dumps(plan)

    def _program(self) -> str:
        if self.binary.folders:
            return f"{AREA}/bwrap/{self.binary.path.relative_to(self.binary.folders[0].parent)}"
        return str(self.binary.path)

    def _sizes(self) -> tuple[int, int]:
        """Give the bytes of the workspace and of /tmp: both are memory, and count against its limit."""
        wanted = self.limits.workspace_bytes, self.limits.tmp_bytes
        room = max(self.limits.memory_bytes - _KEPT_BYTES - _SHARED_MEMORY_BYTES, self.limits.memory_bytes // 2)
        if sum(wanted) <= room:
            return wanted
        return wanted[0] * room // sum(wanted), wanted[1] * room // sum(wanted)

    def _rlimits(self) -> Mapping[str, int]:
        limits = {"CORE": 0, "FSIZE": self.limits.max_file_bytes, "NOFILE": 8192}
        if self.nproc is not None:
            limits["NPROC"] = self.nproc
        return limits

    def _arguments(self, filter_descriptor: int | None) -> list[str]:
        argv = ["--unshare-all", "--unshare-user", "--disable-userns"]
        if self.network is NetworkKind.OPEN:
            argv += ["--share-net"]
        argv += ["--uid", str(SANDBOX_UID), "--gid", str(SANDBOX_UID), "--hostname", "sandbox"]
        argv += ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
        argv += _system()
        if self.interpreter.prefix is not None:
            argv += ["--ro-bind", f"{AREA}/python", self.interpreter.prefix]
        for name in ("passwd", "group", "hosts"):
            argv += ["--ro-bind", f"{AREA}/{name}", f"/etc/{name}"]
        argv += ["--ro-bind-try", f"{AREA}/resolv.conf", "/etc/resolv.conf"]
        argv += ["--proc", "/proc", "--dev", "/dev"]
        argv += ["--size", str(_SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
        argv += ["--size", str(self._sizes()[1]), "--perms", "1777", "--tmpfs", "/tmp", "--dir", HOME]  # noqa: S108
        argv += ["--symlink", "/tmp", "/var/tmp", "--dir", "/run"]  # noqa: S108
        argv += ["--ro-bind", f"{AREA}/server.py", f"{INSIDE}/server.py"]
        argv += ["--bind", f"{AREA}/private", f"{INSIDE}/private"]
        base_git = None
        if not self.in_place:
            base_git = f"{INSIDE}/base.git"
            argv += ["--ro-bind", f"{AREA}/base.git", base_git]
        if self.proxy_socket is not None:
            argv += ["--ro-bind", f"{AREA}/proxy", f"{INSIDE}/proxy"]
        argv += ["--bind" if self.writable else "--ro-bind", f"{AREA}/work", WORKSPACE]
        argv += ["--remount-ro", "/", "--chdir", WORKSPACE]
        if filter_descriptor is not None:
            argv += ["--seccomp", str(filter_descriptor)]
        settings = server_settings(
            workspace=WORKSPACE,
            private=f"{INSIDE}/private/server",
            base_git=base_git,
            alone=True,
            output_cap_bytes=self.limits.output_bytes,
        )
        return [*argv, "--", self.interpreter.path, "-I", "-S", f"{INSIDE}/server.py", settings]


def _system() -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        if Path("/etc", name).exists():
            argv += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    return argv


def command_environment(proxy_url: str | None) -> dict[str, str]:
    """Give what every command finds set, before what the run adds."""
    found = {
        "PATH": PATH,
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "CI": "1",
        "USER": "agent",
        "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
    }
    if proxy_url is not None:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy_url)
    return found
