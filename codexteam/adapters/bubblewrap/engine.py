"""Starts bubblewrap sandboxes: the port `SandboxEngine`."""

import asyncio
import contextlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.adapters.bubblewrap.bases import Bases
from codexteam.adapters.bubblewrap.binary import INSTALL_HINT, Binary, find_binaries
from codexteam.adapters.bubblewrap.cgroups import CONTROLLERS, Group, Groups, find_groups
from codexteam.adapters.bubblewrap.launching import Launch, command_environment, find_interpreter
from codexteam.adapters.bubblewrap.processes import Running, StartFailedError, launch
from codexteam.adapters.bubblewrap.seccomp import filter_program
from codexteam.adapters.bubblewrap.watchdog import watch_memory
from codexteam.adapters.sandbox_channel import Channel
from codexteam.adapters.sandbox_channel_protocol import ChannelClosedError, GitInSandboxError
from codexteam.adapters.sandbox_channel_sandbox import ChannelSandbox
from codexteam.config.settings import NetworkKind, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey
from codexteam.core.text import clean
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.sandbox import BaseSource, Command, EngineReport, Sandbox, SandboxFacts, SandboxSpec

_NAME = "bubblewrap"
_GROUP_TRIES = 200


@dataclass(slots=True)
class _Way:
    """How sandboxes are started on this machine: found once, by trying."""

    binary: Binary
    version: str
    groups: Groups | None
    scope: bool
    """Each sandbox gets a scope of the user's systemd."""

    def unlimited(self) -> tuple[str, ...]:
        """Give what cannot be limited."""
        if self.scope:
            return ()
        limited = self.groups.limited() if self.groups else frozenset()
        found = [what for what in CONTROLLERS if what not in limited]
        if filter_program(platform.machine()) is None:
            found.append("system calls")
        return tuple(found)


class BubblewrapEngine:
    """The embedded engine. `folder` is its own: the read-only checkouts live there, nothing else outlives a sandbox.

    `binaries` are the programs to try, in order; None is what the machine has.
    """

    def __init__(self, folder: Path, *, binaries: Sequence[Binary] | None = None) -> None:
        self._bases = Bases(folder / "bases")
        self._binaries = binaries
        self._way: _Way | None = None
        self._way_lock = asyncio.Lock()

    @property
    def name(self) -> str:
        """`bubblewrap`."""
        return _NAME

    async def check(self) -> EngineReport:
        """Really start a sandbox and run a command in it."""
        try:
            way = await self._find_way()
        except SandboxUnavailable as error:
            return EngineReport(_NAME, usable=False, problem=f"{error}; {error.hint}")
        return EngineReport(_NAME, usable=True, version=way.version, unlimited=way.unlimited())

    async def prepare(self, base: BaseSource, *, on_progress: Callable[[str], None] | None = None) -> None:
        """Make the read-only checkout ready."""
        await self._tree(base, on_progress)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox with its workspace in place."""
        way = await self._find_way()
        tree = await self._tree(spec.base, None)
        if spec.network.kind is NetworkKind.ALLOWLIST:
            raise SandboxUnavailable(
                "bubblewrap cannot give a sandbox a list of allowed hosts",
                hint="use docker, or set network_access to none or open for this role",
            )
        name = group_name(spec.agent)
        start = _Start(way, spec, tree, name)
        try:
            channel = await start.first()
        except (StartFailedError, ChannelClosedError, GitInSandboxError, OSError) as error:
            await start.shut()
            raise SandboxUnavailable(
                f"the sandbox for {spec.agent} did not start: {clean(str(error))}", hint="see `codexteam doctor`"
            ) from error
        except BaseException:
            await start.shut()
            raise
        facts = SandboxFacts(_NAME, name, "the system's /usr, read-only", spec.mode, spec.network, way.unlimited())
        return ChannelSandbox(
            facts=facts,
            spec=spec,
            environment=command_environment(None),
            channel=channel,
            respawn=start.again,
            shut=start.shut,
        )

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove what a killed codexteam left: control groups with what is in them, half-made checkouts."""
        removed = await asyncio.to_thread(self._bases.prune)
        groups = self._way.groups if self._way else find_groups()
        if groups is None:
            return removed
        kept = {group_name(key) for key in keep}
        for name, group in groups.leftovers("" if run_id is None else f"{run_id}-").items():
            if name not in kept and not name.startswith("probe-"):
                await _remove(group)
                removed.append(name)
        return removed

    async def close(self) -> None:
        """Let go of the checkouts."""
        self._bases.close()

    async def _tree(self, base: BaseSource, on_progress: Callable[[str], None] | None) -> Path:
        way = await self._find_way()

        async def build(folder: Path) -> None:
            if on_progress is not None:
                on_progress(f"checking {base.root_commit[:12]} out")
            await _check_out(way, base, folder)

        try:
            return await self._bases.get(base, build)
        except (StartFailedError, ChannelClosedError, GitInSandboxError, OSError) as error:
            raise SandboxUnavailable(
                f"the checkout of {base.root_commit[:12]} could not be made: {clean(str(error))}",
                hint="is there room on the disk? see `codexteam doctor`",
            ) from error

    async def _find_way(self) -> _Way:
        async with self._way_lock:
            if self._way is None:
                self._bases.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._way = await _find_way(self._bases.folder, self._binaries)
            return self._way


@dataclass(slots=True)
class _Start:
    """The life of one sandbox: its first start, its later ones, its end."""

    way: _Way
    spec: SandboxSpec
    tree: Path
    name: str
    group: Group | None = None
    running: Running | None = None
    namespaces: tuple[int, ...] = ()
    watch: asyncio.Task[None] | None = None
    _plan: Launch | None = field(default=None)

    async def first(self) -> Channel:
        """Start it and put the workspace in place."""
        spec, limits = self.spec, self.spec.limits
        if self.way.groups is not None:
            leftover = self.way.groups.leftovers(self.name).get(self.name)
            if leftover is not None:
                await _remove(leftover)
            self.group = self.way.groups.make(self.name, limits)
        read_only = spec.mode is SandboxMode.READ_ONLY
        to_change = spec.base.commit != spec.base.root_commit or spec.restore is not None
        plan = _plan(self.way, limits, spec.network.kind, self.tree, self.group)
        self._plan = replace(plan, writable=not read_only)
        await self._launch(replace(self._plan, writable=not read_only or to_change))
        assert self.running is not None
        await self.running.channel.populate(spec.base, root=False)
        if spec.restore is not None:
            await self.running.channel.restore(spec.restore)
        if read_only and to_change:
            return await self.again()
        return self.running.channel

    async def again(self) -> Channel:
        """Start it once more, over the same workspace."""
        await self._stop()
        assert self._plan is not None
        if not self.namespaces:
            raise SandboxLost("its workspace went with it")
        try:
            await self._launch(replace(self._plan, join=self.namespaces))
        except (StartFailedError, OSError) as error:
            raise SandboxLost(f"it could not be started again: {clean(str(error))}") from error
        assert self.running is not None
        return self.running.channel

    async def _launch(self, plan: Launch) -> None:
        self.running = await launch(plan, prefix=_scope(self.way, self.name, self.spec.limits))
        if not self.namespaces:
            self.namespaces = self.running.namespaces()
        if "memory" in self.way.unlimited():
            self.watch = asyncio.create_task(watch_memory(self.running.process.pid, self.spec.limits.memory_bytes))

    async def _stop(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.watch
            self.watch = None
        if self.running is not None:
            await self.running.stop()
            self.running = None

    async def shut(self) -> None:
        """Remove it with all that is in it."""
        try:
            await self._stop()
        finally:
            for descriptor in self.namespaces:
                os.close(descriptor)
            self.namespaces = ()
            if self.group is not None:
                await _remove(self.group)
                self.group = None


def group_name(agent: AgentKey) -> str:
    """Give the name that a sandbox and its control group go by."""
    what = agent.task_id or "run"
    return f"{agent.run_id}-{agent.role}-{agent.purpose}-{what}-{agent.attempt}".replace("/", "_")


async def _remove(group: Group) -> None:
    for _ in range(_GROUP_TRIES):
        group.kill()
        if group.remove():
            return
        await asyncio.sleep(0.01)  # what was killed is still leaving; the kernel tells nobody
    raise SandboxLost(f"the control group {group.folders[0]} does not get empty")


def _plan(way: _Way, limits: SandboxLimits, network: NetworkKind, tree: Path, group: Group | None) -> Launch:
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
    )


async def _check_out(way: _Way, base: BaseSource, folder: Path) -> None:
    """Fill a folder with the root commit, by git inside a sandbox whose workspace it is."""
    limits = replace(SandboxLimits(), max_file_bytes=1 << 40)
    plan = replace(_plan(way, limits, NetworkKind.NONE, folder, None), in_place=True)
    running = await launch(plan)
    try:
        await running.channel.populate_root(base)
        await running.channel.job("seal", {"mtime_seconds": int(time.time()) - 60})
    finally:
        await running.stop()


async def _find_way(folder: Path, given: Sequence[Binary] | None) -> _Way:
    """Try what there is, in the order of trust, by starting a sandbox over an empty checkout.

    Raises:
        SandboxUnavailable: nothing works; says why and what to do.
    """
    problems = []
    binaries = find_binaries() if given is None else given
    if not binaries:
        raise SandboxUnavailable("bubblewrap is not installed", hint=INSTALL_HINT)
    groups = find_groups()
    scope = groups is None and await _scope_works()
    probe = folder / f".new-probe-{os.getpid()}"
    (probe / "tree" / ".git").mkdir(parents=True, exist_ok=True)
    try:
        for binary in binaries:
            way = _Way(binary, await _version(binary), groups, scope)
            plan = _plan(way, SandboxLimits(), NetworkKind.NONE, probe / "tree", None)
            try:
                await _prove(plan)
            except (StartFailedError, ChannelClosedError, OSError) as error:
                problems.append(f"{binary.path}: {error}")
            else:
                return way
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    raise SandboxUnavailable(
        f"bubblewrap does not work here: {'; '.join(problems)}",
        hint="allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0), or use docker",
    )


async def _prove(plan: Launch) -> None:
    """A copy-on-write layer must hold removed and replaced folders, which not every kernel lets a user do."""
    running = await launch(plan)
    line = 'touch f && rm -r .git && mkdir .git && test -z "$(ls -A .git)" && git --version'
    try:
        result = await running.channel.run(Command(("sh", "-c", line), timeout_seconds=20.0), command_environment(None))
    finally:
        await running.stop()
    if not result.ok:
        raise StartFailedError(result.output.decode("utf-8", "replace").strip())


async def _version(binary: Binary) -> str:
    process = await asyncio.create_subprocess_exec(
        str(binary.path), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={}
    )
    said, _ = await process.communicate()
    return clean(said.decode("utf-8", "replace").strip().removeprefix("bubblewrap "))


def _scope(way: _Way, name: str, limits: SandboxLimits) -> tuple[str, ...]:
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
