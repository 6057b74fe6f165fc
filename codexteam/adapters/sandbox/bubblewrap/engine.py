"""Starts bubblewrap sandboxes: the port `SandboxEngine`."""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.bases import BubblewrapBases
from codexteam.adapters.sandbox.bubblewrap.capabilities import Way, find_way, plan_of
from codexteam.adapters.sandbox.bubblewrap.cgroups import find_groups
from codexteam.adapters.sandbox.bubblewrap.environments import BubblewrapEnvironments, HeldEnvironment, SetupPlace
from codexteam.adapters.sandbox.bubblewrap.launch_plan import INSIDE, Binary, Mount, command_environment
from codexteam.adapters.sandbox.bubblewrap.network import PROXY_URL, log_denial
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapStartError, launch
from codexteam.adapters.sandbox.bubblewrap.sandbox_start import SandboxStart, group_name, owner_of, remove_group
from codexteam.adapters.sandbox.bubblewrap.setup_sandbox import BubblewrapSetupSandbox
from codexteam.adapters.sandbox.channel import JOB_SECONDS, Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.environment_variables import of_environment, of_setup
from codexteam.adapters.sandbox.network.policy import ProxyPolicy
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.adapters.sandbox.network.upstream import Upstreams
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.text import clean
from codexteam.environment.plan import CACHE, HOME
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.environments import SetupOrder, SetupSandbox
from codexteam.ports.sandbox import (
    PROGRAMS,
    WORKSPACE,
    BaseSource,
    Command,
    Sandbox,
    SandboxFacts,
    SandboxSpec,
    Snapshot,
)
from codexteam.ports.sandbox_engine import EngineReport

_LOG = logging.getLogger(__name__)
_NAME = "bubblewrap"
_NOT_STARTED = (BubblewrapStartError, ChannelClosedError, GitInSandboxError, SandboxLost, OSError)
#: Inside: an environment's layer, and what is known of it.
LAYER = f"{INSIDE}/environment"


class BubblewrapEngine:
    """The embedded engine. `folder` is its own: the read-only checkouts live there, nothing else outlives a sandbox.

    `environments` is where environments are kept, for all runs of a repository; None is below `folder`.
    `binaries` are the programs to try, in order; None is what the machine has. `plain` says whether bubblewrap alone
    makes namespaces; None is whatever works best here. `proxy_secrets` are host names with the tokens that the proxy
    adds on the way out, `upstreams` the user's own proxies. `on_denied` gets every connection that a sandbox's proxy
    refused: `host`, `port`, `reason`, `sandbox`, `agent`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environments: Path | None = None,
        binaries: Sequence[Binary] | None = None,
        plain: bool | None = None,
        proxy_secrets: Mapping[str, str] | None = None,
        upstreams: Upstreams | None = None,
        on_denied: Callable[[JSONObject], None] | None = None,
    ) -> None:
        self._plain = plain
        self._proxy_secrets = dict(proxy_secrets or {})
        self._upstreams = upstreams or Upstreams()
        self._on_denied = on_denied
        self._owner = owner_of(folder)
        self._bases = BubblewrapBases(folder / "bases")
        self._environments = BubblewrapEnvironments(environments or folder / "environments", self._start_setup)
        self._binaries = binaries
        self._way: Way | None = None
        self._way_lock = asyncio.Lock()
        # a start is work for the processor: with all of a team's at once, the first would be ready when the last is
        self._starting = asyncio.Semaphore(len(os.sched_getaffinity(0)) + 1)

    @property
    def name(self) -> str:
        return _NAME

    @property
    def places(self) -> int | None:
        return None

    @property
    def environments(self) -> BubblewrapEnvironments:
        """What is kept of set-ups, for all runs of the repository."""
        return self._environments

    async def made_from(self, base: BaseSource) -> str:  # noqa: ARG002 - of every base the same
        """Return that it is the host."""
        return "this host's own programs and libraries, read-only, without your home"

    async def check(self) -> EngineReport:
        """Really start a sandbox and run a command in it."""
        try:
            way = await self._find_way()
        except SandboxUnavailable as error:
            return EngineReport(_NAME, usable=False, problem=f"{error}; {error.hint}")
        return EngineReport(_NAME, usable=True, version=way.version, unlimited=way.unlimited())

    async def prepare(
        self, base: BaseSource, *, environment_key: str = "", on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Make the read-only checkout ready."""
        held = self._hold(environment_key)
        try:
            await self._tree(base, held, on_progress)
        finally:
            if held is not None:
                held.release()

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox with its workspace in place."""
        way = await self._find_way()
        name = group_name(self._owner, spec.agent)
        held = self._hold(spec.environment_key)
        start = SandboxStart(
            way,
            name,
            spec.limits,
            self._proxy(spec.network, name, spec.agent),
            release=None if held is None else held.release,
        )
        try:
            tree = await (self._read_only_tree(way, spec, held) if way.plain else self._tree(spec.base, held, None))
            async with self._starting:
                channel = await _first(start, spec, tree, held)
        except _NOT_STARTED as error:
            await start.put_away()
            raise SandboxUnavailable(
                f"the sandbox for {spec.agent} did not start: {clean(str(error))}", hint="see `codexteam doctor`"
            ) from error
        except BaseException:
            await start.put_away()
            raise
        plain = command_environment(PROXY_URL if start.proxy is not None else None)
        return ChannelSandbox(
            facts=self._facts(way, name, spec),
            spec=spec,
            environment=plain if held is None else of_environment(held.environment, spec.network.kind, plain),
            channel=channel,
            respawn=start.again,
            shut=start.put_away,
        )

    async def _start_setup(self, order: SetupOrder, place: SetupPlace) -> SetupSandbox:
        """Start the sandbox of a set-up, whose folders are made."""
        way = await self._find_way()
        name = group_name(self._owner, order.agent)
        proxy = self._proxy(order.network, name, order.agent)
        start = SandboxStart(way, name, order.limits, proxy, order.secrets)
        spec = SandboxSpec(order.agent, order.base, SandboxMode.WORKSPACE_WRITE, order.network, order.limits)
        try:
            async with self._starting:
                plan = plan_of(way, order.limits, order.network.kind, place.work, await start.make_group())
                channel = await start.begin(
                    replace(plan, in_place=True, tmp=place.tmp, mounts=_setup_mounts(order, place))
                )
            await channel.populate(order.base, root=True)
        except _NOT_STARTED as error:
            await start.put_away()
            raise SandboxUnavailable(
                f"the sandbox of the set-up did not start: {clean(str(error))}", hint="see `codexteam doctor`"
            ) from error
        except BaseException:
            await start.put_away()
            raise
        plain = command_environment(PROXY_URL if proxy is not None else None)
        return BubblewrapSetupSandbox(
            place=place,
            start=start,
            facts=self._facts(way, name, spec),
            spec=spec,
            environment=of_setup(order, plain),
            channel=channel,
        )

    @staticmethod
    def _facts(way: Way, name: str, spec: SandboxSpec) -> SandboxFacts:
        return SandboxFacts(_NAME, name, "the system's /usr, read-only", spec.mode, spec.network, way.unlimited())

    def _hold(self, key: str) -> HeldEnvironment | None:
        """Keep an environment from being removed.

        Raises:
            SandboxUnavailable: there is none of that key.
        """
        if not key:
            return None
        held = self._environments.hold(key)
        if held is None:
            raise SandboxUnavailable(
                f"there is no environment {key} on this host", hint="build it: codexteam env build"
            )
        return held

    def _proxy(self, network: NetworkPolicy, name: str, agent: AgentKey) -> Proxy | None:
        if network.kind is not NetworkKind.ALLOWLIST:
            return None

        def denied(denial: JSONObject) -> None:
            record: JSONObject = {**denial, "sandbox": name, "agent": str(agent)}
            log_denial(record)
            if self._on_denied is not None:
                self._on_denied(record)

        return Proxy(ProxyPolicy(network.hosts, self._proxy_secrets, self._upstreams), on_denied=denied)

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove what a killed codexteam left: control groups with what is in them, half-made checkouts.

        For all runs: every checkout that nobody uses, as it may hold files of the user's that git ignores.
        """
        removed = await asyncio.to_thread(self._bases.prune, **({"keep": 0} if run_id is None else {}))
        removed += await asyncio.to_thread(self._environments.sweep)
        groups = self._way.groups if self._way else find_groups()
        if groups is None:
            return removed
        kept = {group_name(self._owner, key) for key in keep}
        for name, group in groups.leftovers(
            f"{self._owner}-" if run_id is None else f"{self._owner}-{run_id}-"
        ).items():
            if name not in kept:
                await remove_group(group)
                removed.append(name)
        return removed

    async def close(self) -> None:
        """Let go of the checkouts."""
        self._bases.close()

    async def _tree(
        self, base: BaseSource, held: HeldEnvironment | None, on_progress: Callable[[str], None] | None
    ) -> Path:
        way = await self._find_way()

        async def build(folder: Path) -> None:
            if on_progress is not None:
                on_progress(f"checking {base.root_commit[:12]} out")
            await _check_out(way, base, folder, held)

        return await self._checkout(base, build, more="" if held is None else f"-{held.mark}")

    async def _read_only_tree(self, way: Way, spec: SandboxSpec, held: HeldEnvironment | None) -> Path:
        """Return the checkout for a sandbox that is started once only: one that may not write has all in it."""
        base, restore = spec.base, spec.restore
        copied = held is not None and not way.own_layers
        if spec.mode is not SandboxMode.READ_ONLY or not (_changes(spec) or copied):
            return await self._tree(base, held, None)

        async def build(folder: Path) -> None:
            await _check_out(way, base, folder, held, whole=True, restore=restore, layer_copied=copied)

        more = f"-{base.commit}-{restore.tip if restore else 'base'}"
        return await self._checkout(base, build, more=more if held is None else f"{more}-{held.mark}")

    async def _checkout(self, base: BaseSource, build: Callable[[Path], Awaitable[None]], *, more: str = "") -> Path:
        try:
            return await self._bases.get(base, build, more=more)
        except (BubblewrapStartError, ChannelClosedError, GitInSandboxError, OSError) as error:
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


def _changes(spec: SandboxSpec) -> bool:
    """Whether a workspace differs from the root commit from the start."""
    return spec.base.commit != spec.base.root_commit or spec.restore is not None


def _setup_mounts(order: SetupOrder, place: SetupPlace) -> tuple[Mount, ...]:
    given = [Mount(f"given{number}", path, str(path)) for number, path in enumerate(order.folders)]
    own = (
        Mount("home", place.home, HOME, writable=True),
        Mount("caches", place.caches, CACHE, writable=True),
    )
    return (*own, *given)


async def _first(start: SandboxStart, spec: SandboxSpec, tree: Path, held: HeldEnvironment | None) -> Channel:
    """Start a sandbox for the first time, and put its workspace in place."""
    way = start.way
    read_only = spec.mode is SandboxMode.READ_ONLY
    whole = way.plain and read_only  # the checkout has everything already
    plan = replace(plan_of(way, spec.limits, spec.network.kind, tree, await start.make_group()), writable=not read_only)
    plan = replace(plan, repositories=spec.repositories)
    if spec.programs is not None:
        plan = replace(plan, mounts=(Mount("programs", spec.programs, PROGRAMS),))
    if held is not None:
        mounts = Mount("home", held.home, HOME), Mount("environment", held.layer, LAYER)
        layer = None if whole and not way.own_layers else held.layer_files
        plan = replace(plan, layer=layer, mounts=(*plan.mounts, *mounts))
    channel = await start.begin(plan, first=replace(plan, writable=not read_only or (_changes(spec) and not whole)))
    if whole:
        return channel
    if plan.to_copy:
        await _copy(channel)
        if plan.layer_to_copy:
            await channel.job("lay_layer", {"source": LAYER})
    await channel.populate(spec.base, root=False)
    if spec.restore is not None:
        await channel.restore(spec.restore)
    return await start.again() if read_only and _changes(spec) else channel


async def _copy(channel: Channel) -> None:
    """Fill a workspace from the checkout, where no layer can be laid over it."""
    argv = ("cp", "-a", f"{INSIDE}/base/.", WORKSPACE)
    result = await channel.run(Command(argv, timeout_seconds=JOB_SECONDS), command_environment(None))
    if not result.ok:
        raise BubblewrapStartError(clean(result.output.decode("utf-8", "replace").strip()))


async def try_bubblewrap() -> EngineReport:
    """Say whether it works here, for who has nothing to run."""
    with tempfile.TemporaryDirectory(prefix="codexteam-try-") as folder:
        engine = BubblewrapEngine(Path(folder))
        try:
            return await engine.check()
        finally:
            await engine.close()


async def _check_out(
    way: Way,
    base: BaseSource,
    folder: Path,
    held: HeldEnvironment | None,
    *,
    whole: bool = False,
    restore: Snapshot | None = None,
    layer_copied: bool = False,
) -> None:
    """Fill a folder with the root commit, or the `whole` base, by git inside a sandbox whose workspace it is.

    For an environment the checkout knows of its layer; the files of that are `layer_copied` where none can be laid.
    """
    limits = replace(SandboxLimits(), max_file_bytes=1 << 40)
    mounts = () if held is None else (Mount("environment", held.layer, LAYER),)
    plan = replace(plan_of(way, limits, NetworkKind.NONE, folder, None), in_place=True, mounts=mounts)
    running = await launch(plan)
    channel = running.channel
    try:
        await channel.populate_root(base)
        if held is not None:
            await channel.job("lay_layer", {"source": LAYER, "copy": layer_copied})
        if whole:
            await channel.populate(base, root=False)
            if restore is not None:
                await channel.restore(restore)
        await channel.job("seal", {"mtime_seconds": int(time.time()) - 60})
    finally:
        await running.stop()
