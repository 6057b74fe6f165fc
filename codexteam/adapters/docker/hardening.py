"""What every container of ours is created with, and the check that the engine really did it."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from docker.types import LogConfig, Ulimit

from codexteam.adapters.sandbox_channel_protocol import Hello
from codexteam.config.settings import SandboxLimits

#: The user that commands run as; no account of the image, so that nothing in it belongs to them.
UID = 10001
#: Inside: what belongs to the server.
INSIDE = "/run/codexteam"
HOME = "/tmp/home"  # noqa: S108 - the sandbox's own
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHARED_MEMORY_BYTES = 64 << 20
#: Of the memory limit, what the file systems in memory must leave to programs.
_KEPT_BYTES = 256 << 20
_TMP_FILES = 200_000
_EMPTY_WORDS = re.compile(
    r"LD_|DYLD_|GIT_|PYTHON(PATH|HOME|STARTUP|INSPECT|WARNINGS|BREAKPOINT|USERBASE|EXECUTABLE)|BASH_ENV$|ENV$"
    r"|BASH_FUNC|PROMPT_COMMAND$|SHELLOPTS$|BASHOPTS$|IFS$|NODE_OPTIONS$|PERL5|RUBYOPT$|RUBYLIB$|JAVA_TOOL_OPTIONS$"
    r"|_JAVA_OPTIONS$|JDK_JAVA_OPTIONS$|OPENAI_|CODEX|ANTHROPIC_|DOCKER_|SSH_|HOME$|USER$|LOGNAME$|SHELL$|TMPDIR$"
    r"|TERM$|CI$|LANG$|.*PROXY$|.*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)",
    re.IGNORECASE,
)


def seccomp_profile() -> str:
    """Give the system call filter as the engine takes it."""
    return files("codexteam.adapters.docker").joinpath("seccomp.json").read_text("utf-8")


def memory_shares(limits: SandboxLimits) -> tuple[int, int]:
    """Give the bytes of the workspace's layer and of /tmp.

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


def command_environment(image: Mapping[str, str], proxy_url: str | None) -> dict[str, str]:
    """Give what every command finds set, before what the run adds."""
    fixed = {"HOME": HOME, "LANG": "C.UTF-8", "TERM": "dumb", "CI": "1", "USER": "agent", "TMPDIR": "/tmp"}  # noqa: S108
    found = {**image, **fixed}
    if proxy_url is not None:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy_url)
        found |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1")
    return found


# docker-py's own arguments are not typed; what leaves here goes to it and nowhere else
def container_options(
    limits: SandboxLimits, *, network: str, runtime: str | None, environment: Mapping[str, str | None]
) -> dict[str, Any]:
    """Give `containers.create`'s arguments for a confined container, but for image, command, name and volumes."""
    tmp = f"rw,exec,nosuid,nodev,size={memory_shares(limits)[1]},nr_inodes={_TMP_FILES},uid={UID},gid={UID},mode=1777"
    options: dict[str, Any] = {
        "entrypoint": [],
        "user": f"{UID}:{UID}",
        "hostname": "sandbox",
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


def differences(hello: Hello, interfaces: Sequence[str], *, network: bool) -> list[str]:
    """Give what is not as it was asked for; an engine may accept an option and ignore it."""
    found = []
    if hello.uid != UID:
        found.append(f"user {hello.uid} instead of {UID}")
    if hello.capabilities:
        found.append(f"capabilities {hello.capabilities:#x} instead of none")
    if not hello.no_new_privileges:
        found.append("no_new_privileges is off")
    if not hello.filtered:
        found.append("no system call filter")
    if not hello.alone or hello.pid != 1:
        found.append("no PID namespace of its own")
    if not network and set(interfaces) - {"lo"}:
        found.append(f"network interfaces {', '.join(sorted(interfaces))} instead of lo alone")
    return found


def interfaces_in(text: str) -> list[str]:
    """Give the interfaces that /proc/net/dev names; tunnels that every namespace has and nobody set up left out."""
    names = [line.split(":")[0].strip() for line in text.splitlines() if ":" in line]
    return [name for name in names if name not in {"sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0"}]
