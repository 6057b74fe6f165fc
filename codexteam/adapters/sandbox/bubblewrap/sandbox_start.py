"""The life of one sandbox's processes: the first start, later ones over the same workspace, the end."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.adapters.sandbox.bubblewrap.capabilities import Way, scope_of
from codexteam.adapters.sandbox.bubblewrap.cgroups import Group, watch_memory
from codexteam.adapters.sandbox.bubblewrap.launch_plan import Launch
from codexteam.adapters.sandbox.bubblewrap.network import Relay, connect
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapProcess, BubblewrapStartError, launch
from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.network.proxy import Proxy
from codexteam.config.settings import SandboxLimits
from codexteam.core.ids import AgentKey
from codexteam.core.text import clean
from codexteam.errors import SandboxLost
from codexteam.system.cancellation import stopped, to_its_end

_LOG = logging.getLogger(__name__)
_GROUP_TRIES = 200


@dataclass(slots=True)
class SandboxStart:
    """One sandbox's processes and what is held for them. Its starter owns it and removes it."""

    way: Way
    name: str
    limits: SandboxLimits
    proxy: Proxy | None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    release: Callable[[], None] | None = None
    """Called once, at the end."""
    group: Group | None = None
    running: BubblewrapProcess | None = None
    _relay: Relay | None = None
    _namespaces: tuple[int, ...] = ()
    _watch: asyncio.Task[None] | None = None
    _plan: Launch | None = None

    async def make_group(self) -> Group | None:
        """Make its control group, without what an earlier one of the name left."""
        if self.way.groups is not None:
            leftover = self.way.groups.leftovers(self.name).get(self.name)
            if leftover is not None:
                await remove_group(leftover)
            self.group = self.way.groups.make(self.name, self.limits)
        return self.group

    async def begin(self, plan: Launch, *, first: Launch | None = None) -> Channel:
        """Start it; `first` is how, where later starts differ from this one.

        Raises:
            BubblewrapStartError: it did not come up.
        """
        self._plan = plan
        return await self._launch(first or plan)

    async def again(self) -> Channel:
        """Start it once more, over the same workspace.

        Raises:
            SandboxLost: that is not possible.
        """
        await to_its_end(self.stop())
        assert self._plan is not None
        if not self._namespaces:
            raise SandboxLost("its workspace went with it")
        try:
            return await self._launch(replace(self._plan, join=self._namespaces))
        except (BubblewrapStartError, OSError) as error:
            raise SandboxLost(f"it could not be started again: {clean(str(error))}") from error

    async def _launch(self, plan: Launch) -> Channel:
        self.running = await launch(plan, prefix=scope_of(self.way, self.name, self.limits), secrets=self.secrets)
        if not self._namespaces and not plan.plain:
            self._namespaces = self.running.namespaces()
        if self.proxy is not None:
            self._relay = await connect(self.running, self.proxy)
        if "memory" in self.way.unlimited():
            self._watch = asyncio.create_task(watch_memory(self.running.process.pid, self.limits.memory_bytes))
        return self.running.channel

    async def stop(self) -> None:
        """End its processes."""
        if self._watch is not None:
            await stopped(self._watch)
            self._watch = None
        if self._relay is not None:
            await self._relay.close()
            self._relay = None
        if self.running is not None:
            await self.running.stop()
            self.running = None

    async def put_away(self) -> None:
        """Remove it with all that is in it, as far as the system lets us. May be repeated.

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
            await self.stop()
        finally:
            for descriptor in self._namespaces:
                os.close(descriptor)
            self._namespaces = ()
            release, self.release = self.release, None
            if release is not None:
                release()
            if self.group is not None:
                await remove_group(self.group)
                self.group = None


async def remove_group(group: Group) -> None:
    """Kill what is in a control group, and remove it.

    Raises:
        SandboxLost: it does not get empty.
    """
    for _ in range(_GROUP_TRIES):
        group.kill()
        if group.remove():
            return
        await asyncio.sleep(0.01)  # killed processes are still exiting; the kernel sends no notification
    raise SandboxLost(f"the control group {group.folders[0]} does not get empty")


def owner_of(folder: Path) -> str:
    """Return what distinguishes the sandboxes of one state folder from another's on the same machine."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]


def group_name(owner: str, agent: AgentKey) -> str:
    """Return the name that a sandbox and its control group go by."""
    what = agent.task_id or "run"
    return f"{owner}-{agent.run_id}-{agent.role}-{agent.purpose}-{what}-{agent.attempt}".replace("/", "_")
