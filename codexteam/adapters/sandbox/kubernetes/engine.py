"""The engine whose sandboxes are pods."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from codexteam.adapters.sandbox.docker.network import log_denial
from codexteam.adapters.sandbox.kubernetes.api import ApiError, ClusterApi
from codexteam.adapters.sandbox.kubernetes.claims import ClaimError, agent_of, all_claims, claim_name, is_of
from codexteam.adapters.sandbox.kubernetes.environments import NoEnvironments
from codexteam.adapters.sandbox.kubernetes.pod_sandbox import PodStart
from codexteam.adapters.sandbox.network.policy import bearer_tokens
from codexteam.adapters.sandbox.network.proxy import Proxy, ProxyPolicy
from codexteam.adapters.sandbox.network.upstream import read_upstreams
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxSettings
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.errors import ProgramsUnavailable, SandboxUnavailable
from codexteam.ports.environments import Environments
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import EngineReport

_NAME = "kubernetes"
_HINT = "see `codexteam doctor`, and docs/hosts.md"
_SETUP = "kubectl apply -k deploy/kubernetes shows what there has to be; see docs/hosts.md"
_REFUSED = {401: "who you are is not known there", 403: "you may not"}


class KubernetesEngine:
    """A `SandboxEngine` over one namespace of a cluster. Waits for a free slot where all are taken."""

    def __init__(
        self,
        settings: SandboxSettings,
        *,
        environment: Mapping[str, str],
        owner: str,
        now: Callable[[], datetime],
        on_denied: Callable[[JSONObject], None] | None = None,
    ) -> None:
        """Make the engine; nothing is connected to yet.

        Args:
            settings: `[codexteam.sandbox]`.
            environment: The host's, for where the cluster is, and for the secrets that settings name.
            owner: Distinguishes our claims from another repository's, such as the state folder's path.
            now: Gives the time, for when a forgotten claim goes by itself.
            on_denied: Gets every connection that a sandbox's proxy refused.
        """
        self._settings = settings
        self._cluster = settings.kubernetes
        self._environment = environment
        self._owner = owner
        self._now = now
        self._on_denied = on_denied
        self._secrets = bearer_tokens(settings.proxy_secrets, environment)
        self._upstreams = read_upstreams(environment)
        self._slots = asyncio.Semaphore(self._cluster.slots)
        self._api: ClusterApi | None = None
        self._environments = NoEnvironments()

    @property
    def name(self) -> str:
        return _NAME

    @property
    def places(self) -> int | None:
        """The slots of the settings."""
        return self._cluster.slots

    @property
    def environments(self) -> Environments:
        """None are kept."""
        return self._environments

    async def _connected(self) -> ClusterApi:
        if self._api is None:
            self._api = await ClusterApi.connect(self._environment, self._cluster.context, self._cluster.namespace)
        return self._api

    async def check(self) -> EngineReport:
        """Ask for the pools that sandboxes are claimed from; nothing is started, which would cost a pod."""
        try:
            api = await self._connected()
            version = await api.ask("GET", "/version")
            for pool in filter(None, (self._cluster.pool, self._cluster.open_pool)):
                if await api.get(f"{api.pools}/{pool}") is None:
                    return EngineReport(_NAME, usable=False, problem=self._lacks(pool))
        except ApiError as error:
            return EngineReport(
                _NAME, usable=False, problem=str(self._unavailable(error, "it cannot be asked for its pools"))
            )
        except SandboxUnavailable as error:
            return EngineReport(_NAME, usable=False, problem=f"{error}; {error.hint}")
        return EngineReport(_NAME, usable=True, version=f"Kubernetes {version.get('gitVersion', '')}, {api.server}")

    def _lacks(self, pool: str) -> str:
        return f"namespace {self._cluster.namespace} has no SandboxWarmPool {pool}; {_SETUP}"

    def _unavailable(self, error: ApiError, what: str) -> SandboxUnavailable:
        where = self._cluster.context or "the current context"
        if error.status in _REFUSED:
            return SandboxUnavailable(
                f"Kubernetes ({where}): {_REFUSED[error.status]}: {error}",
                hint="the role codexteam-runner of deploy/kubernetes has the rights; `kubectl auth can-i --list` shows yours",
            )
        if error.status == 0:
            return SandboxUnavailable(
                f"the API server of Kubernetes does not answer ({where}): {error}",
                hint="see `kubectl cluster-info`; [codexteam.sandbox.kubernetes] context names another cluster",
            )
        if error.status == 404:
            return SandboxUnavailable(
                f"Kubernetes ({where}) does not know agent-sandbox: {error}",
                hint=f"install kubernetes-sigs/agent-sandbox with its extensions; {_SETUP}",
            )
        return SandboxUnavailable(f"Kubernetes ({where}): {what}: {error}", hint=_HINT)

    async def prepare(
        self,
        base: BaseSource,
        *,
        environment_key: str = "",
        on_progress: Callable[[str], None] | None = None,  # noqa: ARG002 - nothing takes long
    ) -> None:
        """See that nothing is asked for that there is not; pods get the base when they start."""
        if environment_key:
            await self._environments.pack(environment_key, base.root_archive)

    async def made_from(self, base: BaseSource) -> str:  # noqa: ARG002 - of every base the same
        """Return the pool that sandboxes are claimed from."""
        return f"the pool {self._cluster.pool} of namespace {self._cluster.namespace}"

    def _pool(self, spec: SandboxSpec) -> str:
        if spec.network.kind is not NetworkKind.OPEN:
            return self._cluster.pool
        if self._cluster.open_pool is None:
            raise SandboxUnavailable(
                f"{spec.agent} is to reach the network, and no pool on Kubernetes is for that",
                hint="name one as open_pool in [codexteam.sandbox.kubernetes], or the hosts that it may reach as allow_hosts",
            )
        return self._cluster.open_pool

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox; waits while no slot is free."""
        if spec.environment_key:
            await self._environments.pack(spec.environment_key, spec.base.root_archive)
        if spec.programs is not None:
            raise ProgramsUnavailable(
                f"a pod has no {spec.programs}, where your Codex is: it is on another machine",
                hint="use an engine on this machine or bubblewrap ([codexteam.sandbox] kind), or --engine codexteam",
            )
        pool = self._pool(spec)
        api = await self._connected()
        await self._slots.acquire()
        start = PodStart(api, spec, self._owner, pool, self._cluster, self._settings.asked_runtime, self._proxy(spec))
        try:
            return await start.first(self._now(), self._slots.release)
        except ApiError as error:
            await self._let_go(start)
            raise self._unavailable(error, f"the sandbox for {spec.agent} did not start") from error
        except ClaimError as error:
            await self._let_go(start)
            raise SandboxUnavailable(
                f"the sandbox for {spec.agent} did not start on Kubernetes: {error}", hint=_HINT
            ) from error
        except BaseException:
            await self._let_go(start)
            raise

    async def _let_go(self, start: PodStart) -> None:
        try:
            await start.put_away()
        finally:
            self._slots.release()

    def _proxy(self, spec: SandboxSpec) -> Proxy | None:
        network: NetworkPolicy = spec.network
        if network.kind is not NetworkKind.ALLOWLIST:
            return None

        def denied(denial: JSONObject) -> None:
            record: JSONObject = {**denial, "sandbox": claim_name(spec.agent), "agent": str(spec.agent)}
            log_denial(record)
            if self._on_denied is not None:
                self._on_denied(record)

        return Proxy(ProxyPolicy(network.hosts, self._secrets, self._upstreams), on_denied=denied)

    async def sweep(self, run_id: str | None, *, keep: Sequence[AgentKey] = ()) -> list[str]:
        """Delete the claims that a run left; their pods go with them."""
        removed = []
        try:
            api = await self._connected()
            for claim in await all_claims(api, self._owner, run_id):
                name = str(claim["metadata"]["name"])
                if not any(is_of(name, agent) for agent in keep) and await api.delete(f"{api.claims}/{name}"):
                    removed.append(name)
        except ApiError as error:
            raise self._unavailable(error, "what is left there is not known") from error
        return removed

    async def occupants(self) -> list[tuple[AgentKey | None, bool]]:
        """Return who has a claim in the namespace, and whether that is of this owner.

        Raises:
            SandboxUnavailable: it does not answer.
        """
        try:
            api = await self._connected()
            found = await api.ask("GET", api.claims, query={"labelSelector": "app.kubernetes.io/managed-by=codexteam"})
        except ApiError as error:
            raise self._unavailable(error, "it does not say who works there") from error
        claims = [each["metadata"] for each in found.get("items") or []]
        return [
            (agent_of(each.get("labels") or {}), (each.get("annotations") or {}).get("codexteam-owner") == self._owner)
            for each in claims
        ]

    async def close(self) -> None:
        """Let go of the cluster."""
        if self._api is not None:
            with suppress(OSError):
                await self._api.close()
            self._api = None
