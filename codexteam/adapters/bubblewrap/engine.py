"""Starts bubblewrap sandboxes: the port `SandboxEngine`."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.adapters.bubblewrap.bases import Bases
from codexteam.adapters.bubblewrap.binary import Binary
from codexteam.adapters.bubblewrap.cgroups import Group, find_groups
from codexteam.adapters.bubblewrap.launching import INSIDE, Launch, command_environment
from codexteam.adapters.bubblewrap.network import PROXY_URL, Relay, connect, log_denial
from codexteam.adapters.bubblewrap.processes import Running, StartFailedError, launch
from codexteam.adapters.bubblewrap.watchdog import watch_memory
from codexteam.adapters.bubblewrap.ways import Way, find_way, plan_of, scope_of
from codexteam.adapters.network_policy import ProxyPolicy
from codexteam.adapters.network_proxy import Proxy
from codexteam.adapters.sandbox_channel import JOB_SECONDS, Channel
from codexteam.adapters.sandbox_channel_protocol import ChannelClosedError, GitInSandboxError
from codexteam.adapters.sandbox_channel_sandbox import ChannelSandbox
from codexteam.config.settings import NetworkKind, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey
from codexteam.core.json_types import JSONObject
from codexteam.core.text import clean
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.endings import stopped, to_its_end
from codexteam.ports.sandbox import (
    WORKSPACE,
    BaseSource,
    Command,
    EngineReport,
    Sandbox,
    SandboxFacts,
    SandboxSpec,
    Snapshot,
)

_LOG = logging.getLogger(__name__)
_NAME = "bubblewrap"
_GROUP_TRIES = 200


class BubblewrapEngine:
    """The embedded engine. `folder` is its own: the read-only checkouts live there, nothing else outlives a sandbox.

    `binaries` are the programs to try, in order; None is what the machine has. `plain` says whether bubblewrap alone
    makes namespaces; None is whatever works best here. `proxy_secrets` are host names with the tokens that the proxy
    adds on the way out. `on_denied` gets every connection that a sandbox's proxy refused: `host`, `port`, `reason`,
    `sandbox`, `agent`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binaries: Sequence[Binary] | None = None,
        plain: bool | None = None,
        proxy_secrets: Mapping[str, str] | None = None,
        on_denied: Callable[[JSONObject], None] | None = None,
    ) -> None:
        self._plain = plain
        self._proxy_secrets = dict(proxy_secrets or {})
        self._on_denied = on_denied
        self._owner = owner_of(folder)
        self._bases = Bases(folder / "bases")
        self._binaries = binaries
        self._way: Way | None = None
        self._way_lock = asyncio.Lock()
        # a start is work for the processor: with all of a team's at once, the first would be ready when the last is
        self._starting = asyncio.Semaphore(len(os.sched_getaffinity(0)) + 1)

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
        tree = await self._read_only_tree(way, spec) if way.plain else await self._tree(spec.base, None)
        name = group_name(self._owner, spec.agent)
        start = _Start(way, spec, tree, name, self._proxy(spec, name))
        try:
            async with self._starting:
                channel = await start.first()
        except (StartFailedError, ChannelClosedError, GitInSandboxError, SandboxLost, OSError) as error:
            await start.put_away()
            raise SandboxUnavailable(
                f"the sandbox for {spec.agent} did not start: {clean(str(error))}", hint="see `codexteam doctor`"
            ) from error
        except BaseException:
            await start.put_away()
            raise
        facts = SandboxFacts(_NAME, name, "the system's /usr, read-only", spec.mode, spec.network, way.unlimited())
        return ChannelSandbox(
            facts=facts,
            spec=spec,
            environment=command_environment(PROXY_URL if start.proxy is not None else None),
            channel=channel,
            respawn=start.again,
            shut=start.put_away,
        )

    def _proxy(self, spec: SandboxSpec, name: str) -> Proxy | None:
        if spec.network.kind is not NetworkKind.ALLOWLIST:
            return None

        def denied(denial: JSONObject) -> None:
            told: JSONObject = {**denial, "sandbox": name, "agent": str(spec.agent)}
            log_denial(told)
            if self._on_denied is not None:
                self._on_denied(told)

        return Proxy(ProxyPolicy(spec.network.hosts, self._proxy_secrets), on_denied=denied)

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove what a killed codexteam left: control groups with what is in them, half-made checkouts."""
        removed = await asyncio.to_thread(self._bases.prune)
        groups = self._way.groups if self._way else find_groups()
        if groups is None:
            return removed
        kept = {group_name(self._owner, key) for key in keep}
        for name, group in groups.leftovers(
            f"{self._owner}-" if run_id is None else f"{self._owner}-{run_id}-"
        ).items():
            if name not in kept:
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

        return await self._checkout(base, build)

    async def _read_only_tree(self, way: Way, spec: SandboxSpec) -> Path:
        """Give the checkout for a sandbox that is started once only: one that may not write has all in it."""
        base, restore = spec.base, spec.restore
        if spec.mode is not SandboxMode.READ_ONLY or (base.commit == base.root_commit and restore is None):
            return await self._tree(base, None)

        async def build(folder: Path) -> None:
            await _check_out(way, base, folder, whole=True, restore=restore)

        return await self._checkout(base, build, more=f"-{base.commit}-{restore.tip if restore else 'base'}")

    async def _checkout(self, base: BaseSource, build: Callable[[Path], Awaitable[None]], *, more: str = "") -> Path:
        try:
            return await self._bases.get(base, build, more=more)
        except (StartFailedError, ChannelClosedError, GitInSandboxError, OSError) as error:
            raise SandboxUnavailable(
                f"the checkout of {base.root_commit[:12]} could not be made: {clean(str(error))}",
                hint="is there room on the disk? see `codexteam doctor`",
            ) from error

    async def _find_way(self) -> Way:
        async with self._way_lock:
            if self._way is None:
                self._bases.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._way = await find_way(self._bases.folder, self._binaries, plain=self._plain)
            return self._way


@dataclass(slots=True)
class _Start:
    """The life of one sandbox: its first start, its later ones, its end."""

    way: Way
    spec: SandboxSpec
    tree: Path
    name: str
    proxy: Proxy | None
    relay: Relay | None = None
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
        whole = self.way.plain and read_only  # the checkout has everything already
        plan = plan_of(self.way, limits, spec.network.kind, self.tree, self.group)
        self._plan = replace(plan, writable=not read_only)
        await self._launch(replace(self._plan, writable=not read_only or (to_change and not whole)))
        assert self.running is not None
        if whole:
            return self.running.channel
        if self._plan.to_copy:
            await _copy(self.running.channel)
        await self.running.channel.populate(spec.base, root=False)
        if spec.restore is not None:
            await self.running.channel.restore(spec.restore)
        if read_only and to_change:
            return await self.again()
        return self.running.channel

    async def again(self) -> Channel:
        """Start it once more, over the same workspace."""
        await to_its_end(self._stop())
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
        self.running = await launch(plan, prefix=scope_of(self.way, self.name, self.spec.limits))
        if not self.namespaces and not plan.plain:
            self.namespaces = self.running.namespaces()
        if self.proxy is not None:
            self.relay = await connect(self.running, self.proxy)
        if "memory" in self.way.unlimited():
            self.watch = asyncio.create_task(watch_memory(self.running.process.pid, self.spec.limits.memory_bytes))

    async def _stop(self) -> None:
        if self.watch is not None:
            await stopped(self.watch)
            self.watch = None
        if self.relay is not None:
            await self.relay.close()
            self.relay = None
        if self.running is not None:
            await self.running.stop()
            self.running = None

    async def put_away(self) -> None:
        """Remove it with all that is in it, as far as the system lets us.

        Why it ends counts, not what is left of it for a sweep.
        """
        await to_its_end(self._put_away())

    async def _put_away(self) -> None:
        try:
            await self._shut()
        except (SandboxLost, OSError) as error:
            _LOG.info("%s is not removed: %s", self.name, error)

    async def _shut(self) -> None:
        try:
            await self._stop()
        finally:
            for descriptor in self.namespaces:
                os.close(descriptor)
            self.namespaces = ()
            if self.group is not None:
                await _remove(self.group)
                self.group = None


def owner_of(folder: Path) -> str:
    """Give what tells the sandboxes of one state folder from those of another on the same machine."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]


def group_name(owner: str, agent: AgentKey) -> str:
    """Give the name that a sandbox and its control group go by."""
    what = agent.task_id or "run"
    return f"{owner}-{agent.run_id}-{agent.role}-{agent.purpose}-{what}-{agent.attempt}".replace("/", "_")


async def _remove(group: Group) -> None:
    for _ in range(_GROUP_TRIES):
        group.kill()
        if group.remove():
            return
        await asyncio.sleep(0.01)  # what was killed is still leaving; the kernel tells nobody
    raise SandboxLost(f"the control group {group.folders[0]} does not get empty")


async def _copy(channel: Channel) -> None:
    """Fill a workspace from the checkout, where no layer can be laid over it."""
    argv = ("cp", "-a", f"{INSIDE}/base/.", WORKSPACE)
    result = await channel.run(Command(argv, timeout_seconds=JOB_SECONDS), command_environment(None))
    if not result.ok:
        raise StartFailedError(clean(result.output.decode("utf-8", "replace").strip()))


async def _check_out(
    way: Way, base: BaseSource, folder: Path, *, whole: bool = False, restore: Snapshot | None = None
) -> None:
    """Fill a folder with the root commit, or the `whole` base, by git inside a sandbox whose workspace it is."""
    limits = replace(SandboxLimits(), max_file_bytes=1 << 40)
    plan = replace(plan_of(way, limits, NetworkKind.NONE, folder, None), in_place=True)
    running = await launch(plan)
    try:
        if whole:
            await running.channel.populate(base, root=True)
            if restore is not None:
                await running.channel.restore(restore)
        else:
            await running.channel.populate_root(base)
        await running.channel.job("seal", {"mtime_seconds": int(time.time()) - 60})
    finally:
        await running.stop()
