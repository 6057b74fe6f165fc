"""What every container of ours is named and created with, and the check that the engine really did it."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Any

from docker.types import LogConfig, Ulimit

from codexteam.adapters.sandbox.protocol import Hello
from codexteam.config.settings import SandboxLimits
from codexteam.core.ids import AgentKey

#: Every container and volume of ours has this label.
OURS = "codexteam"
RUN = "codexteam.run"
_WHAT = "codexteam.what"
OWNER = "codexteam.owner"
#: Of an image and the checkouts made with it: the key of the environment.
KEY = "codexteam.key"
#: Of a server: the sandbox that it is beside.
BESIDE = "codexteam.beside"
#: The user that commands run as; no account of the image, so that nothing in it belongs to them.
UID = 10001
#: Inside: what belongs to the server.
INSIDE = "/run/codexteam"
SECRETS = "/run/secrets"
HOME = "/tmp/home"  # noqa: S108 - the sandbox's own
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHARED_MEMORY_BYTES = 64 << 20
#: Of the memory limit, what the file systems in memory must leave to programs.
_KEPT_BYTES = 256 << 20
_TMP_FILES = 200_000
#: Of a set-up's own git data.
_PRIVATE_BYTES = 1 << 30
_EMPTY_WORDS = re.compile(
    r"LD_|DYLD_|GIT_|PYTHON(PATH|HOME|STARTUP|INSPECT|WARNINGS|BREAKPOINT|USERBASE|EXECUTABLE)|BASH_ENV$|ENV$"
    r"|BASH_FUNC|PROMPT_COMMAND$|SHELLOPTS$|BASHOPTS$|IFS$|NODE_OPTIONS$|PERL5|RUBYOPT$|RUBYLIB$|JAVA_TOOL_OPTIONS$"
    r"|_JAVA_OPTIONS$|JDK_JAVA_OPTIONS$|OPENAI_|CODEX|ANTHROPIC_|DOCKER_|SSH_|HOME$|USER$|LOGNAME$|SHELL$|TMPDIR$"
    r"|TERM$|CI$|LANG$|.*PROXY$|.*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)",
    re.IGNORECASE,
)


class What(StrEnum):
    """What a container or volume is for."""

    SANDBOX = "sandbox"
    SLOTS = "slots"
    """Holds the writable layers of sandboxes."""
    BASE = "base"
    """A read-only checkout, shared by runs."""
    HELPER = "helper"
    """Makes a base, an image, or looks at one; ends by itself."""
    SETUP = "setup"
    """Where an environment is made; ends with the process that started it."""
    ENVIRONMENT = "environment"
    """An image: what a set-up left."""
    CACHE = "cache"
    """Packages, for set-ups alone."""
    SERVICE = "service"
    """A server beside a sandbox."""


def sandbox_name(agent: AgentKey) -> str:
    """Return the name of an agent's container, the same each time and a different one for every agent."""
    fields = (agent.run_id, agent.role, agent.purpose.value, agent.task_id or "run", str(agent.attempt))
    return _name("-".join(fields), exact="\0".join(fields))


def base_name(key: str, owner: str) -> str:
    """Return the name of a base's volume."""
    return f"{OURS}-base-{digest(owner, key)}"


def slots_name(run_id: str, ordinal: int, owner: str, engine: str) -> str:
    """Return the name of the container that holds writable layers."""
    return f"{OURS}-slots-{digest(run_id, str(ordinal), owner, engine)}"


def setup_name(owner: str, key: str) -> str:
    """Return the name of the container that an environment is made in."""
    return f"{OURS}-setup-{digest(owner, key)}"


def digest(*parts: str) -> str:
    """Return 16 hexadecimal digits that stand for these texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def labels(what: What, owner: str, *, run_id: str = "", agent: AgentKey | None = None) -> Mapping[str, str]:
    """Return the labels of a container or volume."""
    found = {OURS: "1", _WHAT: what.value, OWNER: owner}
    if agent is not None:
        run_id = agent.run_id
        found |= {
            "codexteam.role": agent.role,
            "codexteam.purpose": agent.purpose.value,
            "codexteam.task": agent.task_id,
            "codexteam.attempt": str(agent.attempt),
        }
    if run_id:
        found[RUN] = run_id
    return found


def chosen(what: What, owner: str, *, key: str = "") -> list[str]:
    """Return filters by label: what is ours and for this, of one environment if its key is given."""
    found = [f"{OURS}=1", f"{_WHAT}={what.value}", f"{OWNER}={owner}"]
    return [*found, f"{KEY}={key}"] if key else found


def what_of(found: Mapping[str, str]) -> str:
    """Return what a labelled thing is for."""
    return found.get(_WHAT, "")


def _name(text: str, *, exact: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:180]
    # two roles may be the same but for characters that a container's name cannot have
    return f"{OURS}-{plain}" if plain == text else f"{OURS}-{plain}-{digest(exact)}"


def seccomp_profile() -> str:
    """Return the system call filter as the engine takes it."""
    return files("codexteam.adapters.sandbox.docker").joinpath("seccomp.json").read_text("utf-8")


def memory_shares(limits: SandboxLimits) -> tuple[int, int]:
    """Return the bytes of the workspace's layer and of /tmp.

    Both are memory and count against its limit: were they larger, a full one would leave no room to run even `rm`.
    """
    wanted = limits.workspace_bytes, limits.tmp_bytes
    room = max(limits.memory_bytes - _KEPT_BYTES - _SHARED_MEMORY_BYTES, limits.memory_bytes // 2)
    if sum(wanted) <= room:
        return wanted
    return wanted[0] * room // sum(wanted), wanted[1] * room // sum(wanted)


def split_environment(image: Sequence[str]) -> tuple[Mapping[str, str | None], Mapping[str, str]]:
    """Sort an image's ENV: what its container is created with, and what its commands see.

    The container gets nothing of the image's but PATH (None takes a variable away). Commands get what toolchains put
    there, and nothing that makes programs load or obey something, names a service, or looks like a secret.
    """
    container: dict[str, str | None] = {}
    commands = {}
    for entry in image:
        name, _, value = entry.partition("=")
        container[name] = None
        if not _EMPTY_WORDS.match(name):
            commands[name] = value
    commands.setdefault("PATH", _PATH)
    # the programs of the server itself are looked for in the system's folders first
    container |= {"PATH": f"{_PATH}:{commands['PATH']}", "LANG": "C.UTF-8"}
    return container, commands


def command_environment(image: Mapping[str, str], proxy_url: str | None, *, near: Sequence[str] = ()) -> dict[str, str]:
    """Return what every command finds set, before what the run adds.

    `near` has names of loopback that mean the host's: they are asked for through the proxy too.
    """
    fixed = {"HOME": HOME, "LANG": "C.UTF-8", "TERM": "dumb", "CI": "1", "USER": "agent", "TMPDIR": "/tmp"}  # noqa: S108
    found = {**image, **fixed}
    if proxy_url is not None:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy_url)
        direct = ",".join(name for name in ("localhost", "127.0.0.1", "::1") if name not in near)
        found |= dict.fromkeys(("NO_PROXY", "no_proxy"), direct)
    return found


# docker-py's own arguments are not typed; what leaves here goes to it and nowhere else
def container_options(
    limits: SandboxLimits, *, network: str, runtime: str | None, environment: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return `containers.create`'s arguments for a confined container, but for image, command, name and volumes."""
    tmp = f"rw,exec,nosuid,nodev,size={memory_shares(limits)[1]},nr_inodes={_TMP_FILES},uid={UID},gid={UID},mode=1777"
    options: dict[str, Any] = {
        "entrypoint": [],
        "user": f"{UID}:{UID}",
        "hostname": "sandbox",
        # without a name server whoever asks for its own name waits for seconds
        "extra_hosts": {"sandbox": "127.0.0.1"},
        "network_mode": network,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
        "read_only": True,
        # the server is process 1: it buries orphans, and nothing inside can kill it
        "init": False,
        "ipc_mode": "private",
        "shm_size": _SHARED_MEMORY_BYTES,
        "tmpfs": {"/tmp": tmp},  # noqa: S108
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "oom_score_adj": 500,
        "pids_limit": limits.max_processes,
        "nano_cpus": int(limits.cpus * 1e9),
        "ulimits": [
            Ulimit(name="nofile", soft=8192, hard=8192),
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=limits.max_file_bytes, hard=limits.max_file_bytes),
        ],
        # its main process talks to us, in binary: nothing of it belongs into the engine's logs
        "log_config": LogConfig(type="none"),
        "environment": dict(environment),
        "healthcheck": {"test": ["NONE"]},
        "stop_signal": "SIGKILL",
        "stdin_open": True,
        "detach": False,
    }
    if runtime is not None:
        options["runtime"] = runtime
    return options


#: What root may do in a sandbox with full access. None of it reaches beyond the container, whose system stays read-only:
#: what it could write there would be the engine's disk, without a limit.
_ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
#: The same, as the kernel counts them.
_ROOT_BITS = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 10))
#: What root's commands find set on top: git trusts the workspace, whose files belong to the other user.
ROOT_ENVIRONMENT = {
    "USER": "root",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def as_root(options: dict[str, Any]) -> None:
    """Let the commands of a confined container be root's."""
    options |= {"user": "0:0", "cap_add": list(_ROOT_CAPABILITIES)}


#: What installing takes: files of other owners, other users. None of it reaches beyond the container.
_SETUP_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    "AUDIT_WRITE",
)


def setup_options(
    limits: SandboxLimits, *, network: str, runtime: str | None, environment: Mapping[str, str | None], user: str
) -> dict[str, Any]:
    """Return `containers.create`'s arguments for a set-up: as root unless it names a user, over a system that it writes."""
    options = container_options(limits, network=network, runtime=runtime, environment=environment)
    # what is in memory is in no image; a user that is named may become root as on its own machine, by sudo
    options |= {
        "user": user or "0:0",
        "cap_add": list(_SETUP_CAPABILITIES),
        "security_opt": [] if user else ["no-new-privileges:true"],
        "read_only": False,
        "tmpfs": {
            SECRETS: "rw,noexec,nosuid,nodev,size=1m,mode=0700",
            f"{INSIDE}/private": f"rw,nosuid,nodev,size={_PRIVATE_BYTES},mode=0700",
        },
    }
    return options


#: Servers start as root, take over their folders and continue as users of their own.
_SERVICE_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
_SERVICE_MEMORY_BYTES = 2 << 30
_SERVICE_PROCESSES = 512


#: What to do about a runtime that an engine lacks.
RUNTIME_HINT = "install it and name it under `runtimes` in the engine's daemon.json, or change [codexteam.sandbox]"


def lacks_runtime(there: Collection[str], wanted: str | None) -> bool:
    """Return whether an engine certainly lacks a runtime: what has a dot or a slash it finds without listing it."""
    return wanted is not None and wanted not in there and "." not in wanted and "/" not in wanted


def service_options(limits: SandboxLimits, *, network: str, runtime: str | None) -> dict[str, Any]:
    """Return `containers.create`'s arguments for a server beside a sandbox."""
    options: dict[str, Any] = {
        "network_mode": network,
        "cap_drop": ["ALL"],
        "cap_add": list(_SERVICE_CAPABILITIES),
        "security_opt": ["no-new-privileges:true"],
        "ipc_mode": "private",
        "shm_size": 4 * _SHARED_MEMORY_BYTES,
        "mem_limit": _SERVICE_MEMORY_BYTES,
        "memswap_limit": _SERVICE_MEMORY_BYTES,
        "oom_score_adj": 500,
        "pids_limit": _SERVICE_PROCESSES,
        "nano_cpus": int(limits.cpus * 1e9),
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        # for the message when it does not come up, and for nothing else
        "log_config": LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
        "healthcheck": {"test": ["NONE"]},
        "detach": False,
    }
    if runtime is not None:
        options["runtime"] = runtime
    return options


def differences(hello: Hello | None, interfaces: Sequence[str], *, network: bool, root: bool = False) -> list[str]:
    """Return what is not as it was asked for; an engine may accept an option and ignore it."""
    found = _loose(hello, root=root) if hello is not None else []
    if not network and set(interfaces) - {"lo"}:
        found.append(f"network interfaces {', '.join(sorted(interfaces))} instead of lo alone")
    return found


def _loose(hello: Hello, *, root: bool) -> list[str]:
    found = []
    user, allowed = (0, _ROOT_BITS) if root else (UID, 0)
    if hello.uid != user:
        found.append(f"user {hello.uid} instead of {user}")
    if hello.capabilities & ~allowed:
        found.append(f"capabilities {hello.capabilities:#x} instead of {f'{allowed:#x}' if root else 'none'}")
    if not hello.no_new_privileges:
        found.append("no_new_privileges is off")
    if not hello.filtered:
        found.append("no system call filter")
    if not hello.alone or hello.pid != 1:
        found.append("no PID namespace of its own")
    return found


def interfaces_in(text: str) -> list[str]:
    """Return the interfaces that /proc/net/dev names; tunnels that every namespace has and nobody set up left out."""
    names = [line.split(":")[0].strip() for line in text.splitlines() if ":" in line]
    return [name for name in names if name not in {"sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0"}]
