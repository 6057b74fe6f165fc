"""The pool of engines: the port `SandboxEngine` over Docker."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from codexteam.adapters.machine.drained_hosts import DrainedHosts
from codexteam.adapters.sandbox.claims import Claims
from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, HINT, EngineClient, said_by
from codexteam.adapters.sandbox.docker.containers import sweep
from codexteam.adapters.sandbox.docker.environments import DockerEnvironments
from codexteam.adapters.sandbox.docker.image_selection import Pulled
from codexteam.adapters.sandbox.docker.images import Images, RepositoryFiles
from codexteam.adapters.sandbox.docker.node import Node
from codexteam.adapters.sandbox.docker.pool import LOOK_SECONDS, Pool, silence_of
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
#: How long it is waited for any host where none of several answers any more; then the run ends, and can be resumed.
_OUTAGE_SECONDS = 90.0


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
        on_change: Callable[[str], None] = lambda _: None,
        environments_owner: str | None = None,
        only_for: AgentKey | None = None,
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
            on_change: is told in words when an engine of several goes down or comes back, and when all are drained.
            layers: False: copy the checkout into every workspace; None: only where the engine refuses to lay over it.
            environments_owner: whose environments are used; None: the owner's.
            only_for: the only agent that gets a sandbox, where several processes of a run use one engine.
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
                only_for=only_for,
            )
            for engine in engines
        ]
        drained = DrainedHosts(state_dir)
        self._pool: Pool[Node] = Pool(self._nodes, drained=drained.names, report=on_change)
        for node in self._nodes:
            node.layers, node.on_denied, node.on_silence = layers, on_denied, self._pool.mark_down
            node.is_named = bool(settings.engines)
            node.is_down = partial(self._is_down, node)
        seen = {name: environment[name] for name in settings.environment if name in environment}
        self._images = Images(settings, files, trusted=trusted, owner=owner, environment=seen)
        self._owner = owner
        self._without_programs: dict[int, ProgramsUnavailable] = {}
        """Those on machines without the programs that some sandboxes show; passed over for these."""
        claims = Claims(state_dir / "environments")
        self._environments = DockerEnvironments(
            self._pool.up, self._images, owner=environments_owner or owner, claims=claims
        )

    @property
    def name(self) -> str:
        return _NAME

    @property
    def places(self) -> int | None:
        """The slots of the engines that are up and not drained; None where the user configured none."""
        if not any(node.is_named for node in self._nodes):
            return None
        return sum(node.settings.slots for node in self._pool.up())

    def _is_down(self, node: Node) -> bool:
        # one that is alone is asked whatever it said last: nothing goes on elsewhere
        return len(self._nodes) > 1 and not self._pool.is_up(node)

    @property
    def notices(self) -> Sequence[str]:
        """What the choice of the image passed over."""
        return tuple(self._images.notices)

    @property
    def environments(self) -> Environments:
        """What it keeps of set-ups: an image for each."""
        return self._environments

    async def check(self) -> EngineReport:
        """Ask every engine; one that answers and is not drained is enough."""
        problems, versions, is_open = [], [], False
        unlimited: set[str] = set()
        drained = self._pool.drained()
        for node, answer in zip(self._nodes, await asyncio.gather(*map(self._ask, self._nodes)), strict=True):
            if isinstance(answer, SandboxUnavailable):
                problems.append(f"{answer}; {answer.hint}")
                self._pool.mark_down(node, str(answer))
                continue
            versions.append(answer)
            unlimited.update(node.unlimited)
            self._pool.mark_up(node)
            is_open = is_open or node.settings.name not in drained
        if drained:
            names = ", ".join(sorted(drained))
            problems.append(f"drained: {names}; `codexteam cluster undrain NAME` lets agents start there again")
        return EngineReport(
            _NAME,
            usable=is_open,
            version=", ".join(versions),
            problem="; ".join(problems),
            unlimited=tuple(sorted(unlimited)),
        )

    async def _ask(self, node: Node) -> str | SandboxUnavailable:
        """Return an engine's version, or why it gives none; beside others none is waited for for long."""
        name = node.settings.name
        try:
            async with asyncio.timeout(LOOK_SECONDS if len(self._nodes) > 1 else None):
                return await node.look()
        except SandboxUnavailable as error:
            return error
        except TimeoutError:
            return SandboxUnavailable(f"{name}: no answer within {LOOK_SECONDS:.0f} seconds", hint=HINT)
        except ENGINE_ERRORS as error:
            return SandboxUnavailable(f"{name}: {said_by(error)}", hint=HINT)

    async def prepare(
        self, base: BaseSource, *, environment_key: str = "", on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Make image, environment and base ready on every engine that answers and is not drained.

        One that comes back later is made ready by the first start on it.
        """
        nodes = self._pool.up()
        results = await asyncio.gather(
            *(self._prepare(node, base, environment_key, on_progress) for node in nodes), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for node, result in zip(nodes, results, strict=True):
            if not isinstance(result, BaseException):
                self._pool.mark_up(node)
                continue
            if not isinstance(result, SandboxUnavailable):
                raise result
            self._pool.mark_down(node, str(result))
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
        """Start a sandbox on the engine that is the least full for its weight; waits while no slot is free.

        An engine that turns out to be down is passed over until it answers again, and another one taken; so is one whose
        machine lacks the programs that the sandbox is to show, for all that show some.

        Raises:
            SandboxUnavailable: it cannot be started; where no engine is left, as the first one said.
        """
        failed: dict[int, SandboxUnavailable] = {}
        down: dict[int, SandboxUnavailable] = {}
        if spec.programs is not None:
            failed |= self._without_programs
        while True:
            node = await self._pool.take(failed=failed, tried_down=down)
            if (
                node is None
                and down
                and await self._pool.outlasts_outage(within_seconds=_OUTAGE_SECONDS, failed=failed)
            ):
                continue
            if node is None:
                break
            try:
                return await self._start(node, spec)
            except ProgramsUnavailable as error:
                failed[id(node)] = self._without_programs[id(node)] = error
                self._pool.look_again()
            except (SandboxUnavailable, *ENGINE_ERRORS) as error:
                known = error if isinstance(error, SandboxUnavailable) else None
                if (known and len(self._nodes) == 1) or await silence_of(node) is None:
                    raise
                down[id(node)] = known or _silence(node, error)
                self._pool.mark_down(node, str(down[id(node)]))
        raise next(iter({**failed, **down}.values()))

    async def _start(self, node: Node, spec: SandboxSpec) -> Sandbox:
        def released() -> None:
            self._pool.give_back(node)

        try:
            if not spec.environment_key:
                return await node.start(spec, await self._images.get(node, spec.base), None, released)
            kept = await self._environments.on(node, spec.environment_key)
            return await node.start(spec, kept.image, kept.environment, released)
        except BaseException:
            released()
            raise

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Remove by label what a run left on every engine; of all runs, also checkouts that nothing uses."""
        removed: list[str] = []
        silent: list[SandboxUnavailable] = []
        for node in self._nodes:
            if len(self._nodes) > 1 and not self._pool.is_up(node) and (why := await silence_of(node)) is not None:
                silent.append(SandboxUnavailable(why, hint=HINT))  # one that drops packets would be waited for for long
                continue
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
        await self._pool.close()
        await self._environments.close()
        await asyncio.gather(*(node.close() for node in self._nodes))


def _silence(node: Node, error: BaseException) -> SandboxUnavailable:
    where = node.client.settings.name
    return SandboxUnavailable(f"the Docker engine does not answer ({where}): {said_by(error)}", hint=HINT)
