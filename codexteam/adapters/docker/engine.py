"""The pool of engines: the port `SandboxEngine` over Docker."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence

from codexteam.adapters.docker.client import ENGINE_ERRORS, HINT, EngineClient, said_by
from codexteam.adapters.docker.images import Images, RepositoryFiles
from codexteam.adapters.docker.node import Node
from codexteam.adapters.docker.sweeping import sweep
from codexteam.adapters.network_proxy import ProxyPolicy
from codexteam.config.settings import EngineSettings, NetworkPolicy, SandboxSettings
from codexteam.core.ids import AgentKey
from codexteam.core.json_types import JSONObject
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import BaseSource, EngineReport, Sandbox, SandboxSpec

_NAME = "docker"
#: Of the one engine that nobody configured: the run's own limit of threads counts.
_UNBOUND = 100_000
#: An engine on which nothing starts, and that has nothing to say for so long, counts as down.
_LOOK_SECONDS = 30.0


class DockerEngine:
    """All configured engines as one. Waits for a free slot where all are taken."""

    def __init__(
        self,
        settings: SandboxSettings,
        *,
        environment: Mapping[str, str],
        owner: str,
        files: RepositoryFiles | None = None,
        trusted: bool = True,
        layers: bool | None = None,
        on_denied: Callable[[JSONObject], None] | None = None,
    ) -> None:
        """Make the pool; nothing is connected to yet.

        Args:
            settings: `[codexteam.sandbox]`.
            environment: the host's, for where the engine is, and for the secrets that settings name.
            owner: what tells our things from another repository's: such as the state folder's path.
            files: the repository's files at the base commit, for the choice of the image.
            trusted: whether the repository's own devcontainer may be used.
            on_denied: gets every connection that a sandbox's proxy refused: `host`, `port`, `reason`, `sandbox`, `agent`.
            layers: False: copy the checkout into every workspace; None: only where the engine refuses to lay over it.
        """
        engines = settings.engines or (EngineSettings("default", slots=_UNBOUND),)
        secrets = {host: environment[name] for host, name in settings.proxy_secrets.items() if name in environment}

        def policy(network: NetworkPolicy) -> ProxyPolicy:
            return ProxyPolicy(network.hosts, secrets)

        self._nodes = [
            Node(EngineClient(engine, environment), owner, runtime=settings.runtime, policy=policy)
            for engine in engines
        ]
        for node in self._nodes:
            node.layers, node.on_denied = layers, on_denied
        setup_secrets = {name: environment[name] for name in settings.setup_secrets if name in environment}
        self._images = Images(settings, files, trusted=trusted, owner=owner, secrets=setup_secrets)
        self._owner = owner
        self._free = {id(node): node.client.settings.slots for node in self._nodes}
        self._down: set[int] = set()
        """Those that did not answer when they were last asked; passed over while others do."""
        self._changed = asyncio.Condition()
        self._telling: set[asyncio.Future[None]] = set()

    @property
    def name(self) -> str:
        """`docker`."""
        return _NAME

    @property
    def notices(self) -> Sequence[str]:
        """What the choice of the image passed over."""
        return tuple(self._images.notices)

    async def check(self) -> EngineReport:
        """Ask every engine; one that answers is enough."""
        problems, versions = [], []
        unlimited: set[str] = set()
        for node in self._nodes:
            try:
                versions.append(await node.look())
            except SandboxUnavailable as error:
                problems.append(f"{error}; {error.hint}")
            except ENGINE_ERRORS as error:
                problems.append(f"{node.client.settings.name}: {said_by(error)}; {HINT}")
            else:
                unlimited.update(node.unlimited)
                self._down.discard(id(node))
                continue
            self._down.add(id(node))
        await self._tell()
        return EngineReport(
            _NAME,
            usable=bool(versions),
            version=", ".join(versions),
            problem="; ".join(problems),
            unlimited=tuple(sorted(unlimited)),
        )

    async def prepare(self, base: BaseSource, *, on_progress: Callable[[str], None] | None = None) -> None:
        """Make image and base ready on every engine that answers."""
        results = await asyncio.gather(
            *(self._prepare(node, base, on_progress) for node in self._nodes), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for node, result in zip(self._nodes, results, strict=True):
            if not isinstance(result, BaseException):
                self._down.discard(id(node))
                continue
            if not isinstance(result, SandboxUnavailable):
                raise result
            self._down.add(id(node))
            if on_progress is not None and len(failures) < len(results):
                on_progress(f"{node.client.settings.name} is left out: {result}")
        if len(failures) == len(results):
            raise failures[0]

    async def _prepare(self, node: Node, base: BaseSource, on_progress: Callable[[str], None] | None) -> None:
        await node.look()
        image = await self._images.get(node, base, on_progress)
        await node.bases.get(base, image, on_progress)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox on the engine with the most free slots; waits while there is none.

        An engine that turns out to be down is left out from then on, until it is next checked, and another one taken.

        Raises:
            SandboxUnavailable: it cannot be started; where no engine is left, as the first one said.
        """
        silent: dict[int, SandboxUnavailable] = {}
        while (node := await self._take(silent)) is not None:
            try:
                return await self._start(node, spec)
            except (SandboxUnavailable, *ENGINE_ERRORS) as error:
                told = error if isinstance(error, SandboxUnavailable) else None
                if (told and len(self._nodes) == 1) or await self._answers(node):
                    raise
                silent[id(node)] = told or _silence(node, error)
                self._down.add(id(node))
                await self._tell()
        raise next(iter(silent.values()))

    async def _start(self, node: Node, spec: SandboxSpec) -> Sandbox:
        def released() -> None:
            self._free[id(node)] += 1
            task = asyncio.ensure_future(self._tell())
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

        try:
            image = await self._images.get(node, spec.base)
            return await node.start(spec, image, released)
        except BaseException:
            released()
            raise

    @staticmethod
    async def _answers(node: Node) -> bool:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await node.look()
        except (SandboxUnavailable, TimeoutError, *ENGINE_ERRORS):
            return False
        return True

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, silent: Container[int] = ()) -> Node | None:
        """Take a slot, on an engine that is down only where none is up; None where all were found silent."""
        async with self._changed:
            while True:
                left = [node for node in self._nodes if id(node) not in silent]
                usable = [node for node in left if id(node) not in self._down] or left
                if not usable:
                    return None
                best = max(usable, key=lambda node: self._free[id(node)])
                if self._free[id(best)] > 0:
                    self._free[id(best)] -= 1
                    return best
                await self._changed.wait()

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove by label what a run left on every engine; of all runs, also checkouts that nothing uses."""
        removed: list[str] = []
        silent: list[SandboxUnavailable] = []
        for node in self._nodes:
            try:
                removed += await sweep(node.client, node.owner, run_id, keep)
                if run_id is None:
                    removed += await node.bases.prune()
            except SandboxUnavailable as error:
                silent.append(error)
            except ENGINE_ERRORS as error:
                silent.append(_silence(node, error))
        if len(silent) == len(self._nodes):
            raise silent[0]
        return removed

    async def close(self) -> None:
        """Let go of all engines."""
        await asyncio.gather(*(node.close() for node in self._nodes))


def _silence(node: Node, error: BaseException) -> SandboxUnavailable:
    where = node.client.settings.name
    return SandboxUnavailable(f"the Docker engine does not answer ({where}): {said_by(error)}", hint=HINT)
