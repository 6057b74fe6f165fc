"""How sandboxes are started on this machine: which program, which limits, found by trying."""

import asyncio
import errno
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.cgroups import CONTROLLERS, Group, Groups, find_groups
from codexteam.adapters.sandbox.bubblewrap.launch_plan import (
    INSTALL_HINT,
    Binary,
    Interpreter,
    Launch,
    command_environment,
    find_binaries,
    find_interpreter,
)
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapStartError, launch
from codexteam.adapters.sandbox.bubblewrap.seccomp import filter_program
from codexteam.adapters.sandbox.program import PROGRAM_NAME, compile_command, server_program
from codexteam.adapters.sandbox.protocol import ChannelClosedError
from codexteam.config.settings import NetworkKind, SandboxLimits
from codexteam.core.text import clean
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import Command
from codexteam.system.cancellation import to_its_end

#: The first bubblewrap with `--overlay-src`.
_FIRST_WITH_LAYERS = (0, 11)
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
_FILES_HINT = "allow more open files (ulimit -n 4096)"
_NAMESPACES_HINT = (
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0), or use docker"
)


@dataclass(slots=True)
class Way:
    """How sandboxes are started on this machine: found once, by trying."""

    binary: Binary
    version: str
    groups: Groups | None
    scope: bool
    """Each sandbox gets a scope of the user's systemd."""
    plain: bool = False
    """Only bubblewrap itself may make namespaces here (AppArmor allows it to that program alone)."""
    own_layers: bool = False
    program: bytes = field(default_factory=server_program)
    """What runs inside, with compiled code for the interpreter there."""

    def unlimited(self) -> tuple[str, ...]:
        """Return what cannot be limited."""
        limited = self.groups.limited() if self.groups else frozenset()
        found = [what for what in CONTROLLERS if what not in limited and not self.scope]
        if self.own_layers:
            found.append("disk")
        if filter_program(platform.machine()) is None:
            found.append("system calls")
        return tuple(found)


def plan_of(way: Way, limits: SandboxLimits, network: NetworkKind, tree: Path, group: Group | None) -> Launch:
    """Return the plan of a start this way; what is special about it is set afterwards."""
    limited = way.scope or (way.groups is not None and "processes" in way.groups.limited())
    return Launch(
        binary=way.binary,
        interpreter=find_interpreter(),
        limits=limits,
        network=network,
        writable=True,
        tree=tree,
        cgroup_procs=tuple(group.procs) if group is not None else (),
        nproc=None if limited else limits.max_processes,
        plain=way.plain,
        own_layers=way.own_layers,
        program=way.program,
    )


async def find_way(folder: Path, given: Sequence[Binary] | None, *, plain: bool | None) -> Way:
    """Try what there is, in the order of trust, by starting a sandbox over an empty checkout.

    Raises:
        SandboxUnavailable: nothing works; says why and what to do.
    """
    problems = []
    crowded = False
    binaries = find_binaries() if given is None else given
    if not binaries:
        raise SandboxUnavailable("bubblewrap is not installed", hint=INSTALL_HINT)
    groups = find_groups()
    scope = groups is None and await _scope_works()
    probe = folder / f".new-probe-{os.getpid()}"
    (probe / "tree" / ".git").mkdir(parents=True, exist_ok=True)
    try:
        for way in await _ways(binaries, groups, scope=scope, plain=plain):
            plan = plan_of(way, SandboxLimits(), NetworkKind.NONE, probe / "tree", None)
            try:
                await _prove(plan)
            except (BubblewrapStartError, ChannelClosedError, OSError) as error:
                problems.append(f"{way.binary.path}: {error}")
                crowded = crowded or (isinstance(error, OSError) and error.errno in _TOO_MANY_FILES)
            else:
                # a thread cannot be stopped: it is waited for, so that it leaves no process and no file behind
                way.program = await to_its_end(asyncio.to_thread(_compiled, plan.interpreter))
                return way
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    raise SandboxUnavailable(
        f"bubblewrap does not work here: {'; '.join(problems)}",
        hint=_FILES_HINT if crowded else _NAMESPACES_HINT,
    )


async def _ways(binaries: Sequence[Binary], groups: Groups | None, *, scope: bool, plain: bool | None) -> list[Way]:
    """Return the ways to try, best first; a user who is not root may have to leave namespaces to bubblewrap alone."""
    found = []
    for simple in (False, True) if plain is None else (plain,):
        for binary in binaries if not (simple and os.getuid() == 0) else ():
            version = await _version(binary)
            layers = simple and _numbers(version) >= _FIRST_WITH_LAYERS
            found.append(Way(binary, version, groups, scope, plain=simple, own_layers=layers))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in version.split(".") if word.isdigit())


async def _prove(plan: Launch) -> None:
    """A copy-on-write layer must hold removed and replaced folders, which not every kernel lets a user do."""
    running = await launch(plan)
    line = 'touch f && rm -rf .git && mkdir .git && test -z "$(ls -A .git)" && git --version'
    try:
        result = await running.channel.run(Command(("sh", "-c", line), timeout_seconds=20.0), command_environment(None))
    finally:
        await running.stop()
    if not result.ok:
        raise BubblewrapStartError(result.output.decode("utf-8", "replace").strip())


def _compiled(interpreter: Interpreter) -> bytes:
    """Return the server with compiled code for the Python that sandboxes have: half of what a start takes in Python.

    Raises:
        OSError: there is no room for it.
        SandboxUnavailable: that Python cannot do it.
    """
    with tempfile.TemporaryDirectory(prefix="codexteam-") as folder:
        path = Path(folder, PROGRAM_NAME)
        path.write_bytes(server_program())
        done = subprocess.run(
            compile_command(interpreter.path, str(path), str(path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            check=False,
        )
        if done.returncode != 0:
            raise SandboxUnavailable(
                f"{interpreter.path} cannot compile the sandboxes' server: {clean(done.stdout.decode('utf-8', 'replace'))}",
                hint="install the whole standard library of Python (apt install python3), or use docker",
            )
        return path.read_bytes()


async def _version(binary: Binary) -> str:
    process = await asyncio.create_subprocess_exec(
        str(binary.path), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={}
    )
    said, _ = await process.communicate()
    return clean(said.decode("utf-8", "replace").strip().removeprefix("bubblewrap "))


def scope_of(way: Way, name: str, limits: SandboxLimits) -> tuple[str, ...]:
    """Return the words to start a sandbox with, where the user's service manager sets its limits."""
    if not way.scope:
        return ()
    properties = (
        f"MemoryMax={limits.memory_bytes}",
        "MemorySwapMax=0",
        f"TasksMax={limits.max_processes}",
        f"CPUQuota={int(limits.cpus * 100)}%",
    )
    options = [word for value in properties for word in ("-p", value)]
    return ("systemd-run", "--user", "--scope", "--quiet", "--collect", "--unit", f"codexteam-{name}", *options, "--")


def _has_user_manager() -> bool:
    return shutil.which("systemd-run") is not None and Path(f"/run/user/{os.getuid()}/systemd/private").exists()


async def _scope_works() -> bool:
    if not _has_user_manager():
        return False
    process = await asyncio.create_subprocess_exec(
        *("systemd-run", "--user", "--scope", "--quiet", "--collect", "true"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", "PATH": "/usr/bin:/bin"},
    )
    return await process.wait() == 0
