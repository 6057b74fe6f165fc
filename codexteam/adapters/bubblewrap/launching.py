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
    cgroup_procs: tuple[str, ...] = ()
    nproc: int | None = None
    """A limit of processes per user, where there is no control group."""
    join: tuple[int, ...] = ()
    """Descriptors of the namespaces of an earlier start, to work on in its workspace."""
    plain: bool = False
    """Without a mount namespace of our own, where only bubblewrap itself may make one: its own layers, or a copy."""
    own_layers: bool = False
    """This bubblewrap can lay a workspace over a checkout (0.11 and later)."""
    server_file: Path = field(default_factory=lambda: Path(__file__).parents[1] / "sandbox_server.py")

    @property
    def to_copy(self) -> bool:
        """Whether the checkout has to be copied into the workspace once it is up."""
        return self.plain and self.writable and not self.in_place and not self.own_layers

    def plan(self, *, filter_descriptor: int | None) -> str:
        """Give the launcher's argument."""
        root = os.getuid() == 0
        uid, gid = (SANDBOX_UID, SANDBOX_UID) if root else (os.getuid(), os.getgid())
        plan = {
            "uid": uid,
            "gid": gid,
            "area": None if self.plain else AREA,
            "join": list(self.join),
            "cgroups": list(self.cgroup_procs),
            "overlay": None if self.in_place else str(self.tree),
            "binds": self._folders(),
            "copies": self._files(),
            "programs": [{"from": str(folder), "to": f"bwrap/{folder.name}"} for folder in self.binary.folders],
            "workspace_bytes": self._sizes()[0],
            "workspace_files": self.limits.workspace_files,
            "rlimits": self._rlimits(),
            "keep": [] if filter_descriptor is None else [filter_descriptor],
            "argv": [self._program(), *self._arguments(filter_descriptor)],
            "env": {"PATH": PATH, "LANG": "C.UTF-8"},
        }
        return json.dumps(plan)

    def _folders(self) -> dict[str, str]:
        found = {"work": str(self.tree)} if self.in_place else {"base.git": str(self.tree / ".git")}
        if self.interpreter.prefix is not None:
            found["python"] = self.interpreter.prefix
        return found

    def _files(self) -> dict[str, str]:
        found = {"server.py": str(self.server_file)}
        for name in ("passwd", "group", "hosts"):
            found[name] = str(Path(__file__).with_name("etc") / name)
        if self.network is NetworkKind.OPEN and Path("/etc/resolv.conf").exists():
            found["resolv.conf"] = "/etc/resolv.conf"
        return found

    def _source(self, name: str) -> str:
        """Give where bubblewrap finds something: put there by the launcher, or where it lies."""
        return {**self._folders(), **self._files()}[name] if self.plain else f"{AREA}/{name}"

    def _program(self) -> str:
        if self.binary.folders and not self.plain:
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
            argv += ["--ro-bind", self._source("python"), self.interpreter.prefix]
        for name in self._files().keys() - {"server.py"}:
            argv += ["--ro-bind", self._source(name), f"/etc/{name}"]
        argv += ["--proc", "/proc", "--dev", "/dev"]
        argv += ["--size", str(_SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
        argv += ["--size", str(self._sizes()[1]), "--perms", "1777", "--tmpfs", "/tmp", "--dir", HOME]  # noqa: S108
        argv += ["--symlink", "/tmp", "/var/tmp", "--dir", "/run"]  # noqa: S108
        argv += ["--ro-bind", self._source("server.py"), f"{INSIDE}/server.py"]
        base_git = None
        if not self.in_place:
            base_git = f"{INSIDE}/base.git"
            argv += ["--ro-bind", self._source("base.git"), base_git]
        argv += self._workspace()
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

    def _workspace(self) -> list[str]:
        size, private = str(self._sizes()[0]), f"{INSIDE}/private"
        if not self.plain:
            work = ["--bind" if self.writable else "--ro-bind", f"{AREA}/work", WORKSPACE]
            return ["--bind", f"{AREA}/private", private, *work]
        own = ["--size", size, "--perms", "0755", "--tmpfs", private]
        if self.in_place:
            return [*own, "--bind", str(self.tree), WORKSPACE]
        if not self.writable:
            return [*own, "--ro-bind", str(self.tree), WORKSPACE]
        if self.own_layers:
            return [*own, "--overlay-src", str(self.tree), "--tmp-overlay", WORKSPACE]
        copy = ["--ro-bind", str(self.tree), f"{INSIDE}/base"]
        return [*own, *copy, "--size", size, "--perms", "0755", "--tmpfs", WORKSPACE]


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
