"""The pool of engines: the port `SandboxEngine` over Docker."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from codexteam.adapters.sandbox.claims import Claims
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, HINT, EngineClient, said_by
from codexteam.adapters.sandbox.docker.containers import sweep
from codexteam.adapters.sandbox.docker.environments import DockerEnvironments
from codexteam.adapters.sandbox.docker.image_selection import Pulled
from codexteam.adapters.sandbox.docker.images import Images, RepositoryFiles
from codexteam.adapters.sandbox.docker.node import Node
from codexteam.adapters.sandbox.network.policy import ProxyPolicy, bearer_tokens
from codexteam.adapters.sandbox.network.upstream import read_upstreams
from codexteam.config.settings import EngineSettings, NetworkPolicy, SandboxSettings
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.errors import ProgramsUnavailable, SandboxUnavailable
from codexteam.ports.environments import Environments
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import EngineReport

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
        state_dir: Path,
        files: RepositoryFiles | None = None,
        trusted: bool = True,
        layers: bool | None = None,
        on_denied: Callable[[JSONObject], None] | None = None,
    ) -> None:
        """Make the pool; nothing is connected to yet.

        Args:
            settings: `[codexteam.sandbox]`.
            environment: the host's, for where the engine is, and for the secrets that settings name.
            owner: distinguishes our objects from another repository's, such as the state folder's path.
            state_dir: has a folder in which processes of this machine claim the environments that they build.
            files: the repository's files at the base commit, for the choice of the image.
            trusted: whether the repository's own devcontainer may be used.
            on_denied: gets every connection that a sandbox's proxy refused: `host`, `port`, `reason`, `sandbox`, `agent`.
            layers: False: copy the checkout into every workspace; None: only where the engine refuses to lay over it.
        """
        engines = settings.engines or (EngineSettings("default", slots=_UNBOUND),)
        secrets = bearer_tokens(settings.proxy_secrets, environment)
        upstreams = read_upstreams(environment)

        def policy(network: NetworkPolicy) -> ProxyPolicy:
            return ProxyPolicy(network.hosts, secrets, upstreams)

        self._nodes = [
            Node(
                EngineClient(engine, environment),
                owner,
                runtime=settings.asked_runtime,
                policy=policy,
            )
            for engine in engines
        ]
        for node in self._nodes:
            node.layers, node.on_denied = layers, on_denied
        seen = {name: environment[name] for name in settings.environment if name in environment}
        self._images = Images(settings, files, trusted=trusted, owner=owner, environment=seen)
        self._owner = owner
        self._free = {id(node): node.client.settings.slots for node in self._nodes}
        self._down: set[int] = set()
        """Those that did not answer when they were last asked; passed over while others do."""
        self._without_programs: dict[int, ProgramsUnavailable] = {}
        """Those on machines without the programs that some sandboxes show; passed over for these."""
        self._changed = asyncio.Condition()
        self._notifying: set[asyncio.Future[None]] = set()
        claims = Claims(state_dir / "environments")
        self._environments = DockerEnvironments(self._up, self._images, owner=owner, claims=claims)

    @property
    def name(self) -> str:
        return _NAME

    @property
    def notices(self) -> Sequence[str]:
        """What the choice of the image passed over."""
        return tuple(self._images.notices)

    @property
    def environments(self) -> Environments:
        """What it keeps of set-ups: an image for each."""
        return self._environments

    def _up(self) -> Sequence[Node]:
        """Return the engines that answered when they were last asked; all of them where none did."""
        return [node for node in self._nodes if id(node) not in self._down] or self._nodes

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
        await self._notify()
        return EngineReport(
            _NAME,
            usable=bool(versions),
            version=", ".join(versions),
            problem="; ".join(problems),
            unlimited=tuple(sorted(unlimited)),
        )

    async def prepare(
        self, base: BaseSource, *, environment_key: str = "", on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Make image, environment and base ready on every engine that answers."""
        results = await asyncio.gather(
            *(self._prepare(node, base, environment_key, on_progress) for node in self._nodes), return_exceptions=True
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

    async def made_from(self, base: BaseSource) -> str:
        """Return the image that was chosen, and why."""
        choice = await self._images.choose(base.root_commit)
        if isinstance(choice, Pulled):
            return f"the image {choice.reference} ({choice.reason})"
        return f"an image built from {choice.dockerfile} ({choice.reason})"

    async def _prepare(
        self, node: Node, base: BaseSource, environment_key: str, on_progress: Callable[[str], None] | None
    ) -> None:
        await node.look()
        if environment_key:
            image = (await self._environments.on(node, environment_key)).image
        else:
            image = await self._images.get(node, base, on_progress)
        await node.bases.get(base, image, on_progress)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox on the engine with the most free slots; waits while there is none.

        An engine that turns out to be down is left out from then on, until it is next checked, and another one taken; so
        is one whose machine lacks the programs that the sandbox is to show, for all that show some.

        Raises:
            SandboxUnavailable: it cannot be started; where no engine is left, as the first one said.
        """
        failed: dict[int, SandboxUnavailable] = {}
        if spec.programs is not None:
            failed |= self._without_programs
        while (node := await self._take(failed)) is not None:
            try:
                return await self._start(node, spec)
            except ProgramsUnavailable as error:
                failed[id(node)] = self._without_programs[id(node)] = error
                await self._notify()
            except (SandboxUnavailable, *ENGINE_ERRORS) as error:
                known = error if isinstance(error, SandboxUnavailable) else None
                if (known and len(self._nodes) == 1) or await self._answers(node):
                    raise
                failed[id(node)] = known or _silence(node, error)
                self._down.add(id(node))
                await self._notify()
        raise next(iter(failed.values()))

    async def _start(self, node: Node, spec: SandboxSpec) -> Sandbox:
        def released() -> None:
            self._free[id(node)] += 1
            task = asyncio.ensure_future(self._notify())
            self._notifying.add(task)
            task.add_done_callback(self._notifying.discard)

        try:
            if not spec.environment_key:
                return await node.start(spec, await self._images.get(node, spec.base), None, released)
            kept = await self._environments.on(node, spec.environment_key)
            return await node.start(spec, kept.image, kept.environment, released)
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

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, failed: Container[int] = ()) -> Node | None:
        """Take a slot, on an engine that is down only where none is up; None where all have failed."""
        async with self._changed:
            while True:
                left = [node for node in self._nodes if id(node) not in failed]
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
                    await self._environments.tidy(node)
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
