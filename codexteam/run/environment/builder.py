"""Makes the environments that plans describe: found where they are kept, else set up under a claim, and kept.

Those that nobody used for long, and those that there is no room for, are removed.
"""

import asyncio
import posixpath
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from codexteam.config.settings import SandboxSettings
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.paths import decode, encode
from codexteam.core.text import clean_line
from codexteam.environment.key import environment_key
from codexteam.environment.plan import SetupPlan, Source, SourceKind
from codexteam.environment.pruning import KeptEnvironment, expired
from codexteam.environment.repository_view import RepositoryView
from codexteam.errors import HostLost, SandboxLost
from codexteam.ports.clock import Clock
from codexteam.ports.environments import Environment, Environments
from codexteam.ports.repo import Repo
from codexteam.ports.sandbox import WORKSPACE, BaseSource
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.run.command_environments import SetupFailed
from codexteam.run.environment.setup_order import SetupInputs, setup_order, setup_paths
from codexteam.run.environment.setup_steps import SetupDone, SetupLog, SetupSteps
from codexteam.run.lost_hosts import despite_lost_hosts
from codexteam.system.cancellation import to_its_end
from codexteam.system.fault_points import reach

T = TypeVar("T")

#: A larger manifest or lock file is nobody's: it counts as absent.
_FILE_BYTES = 64 << 20
_LINK = "120000"
_SUBMODULE = "160000"
#: Links that lead to links.
_MOST_LINKS = 8
_MOST_LOST_HOSTS = 3


@dataclass(slots=True)
class CommitFiles:
    """One commit's listing, and what was read of it."""

    repo: Repo
    commit: CommitId
    modes: dict[str, str]
    """Path to mode, of every file and link."""
    asked: set[str] = field(default_factory=set)
    """All paths that anybody asked for, there or not: what else may change is of no consequence."""
    _known: dict[str, bytes | None] = field(default_factory=dict)

    async def examine(self, look: Callable[[RepositoryView], T]) -> T:
        """Call what reads files as it goes, in a thread; nothing but what it asks for is read."""
        loop = asyncio.get_running_loop()

        def read(path: str) -> bytes | None:
            self.asked.add(path)
            if path not in self.modes:
                return None
            if path not in self._known:
                self._known[path] = asyncio.run_coroutine_threadsafe(self._read(path), loop).result()
            return self._known[path]

        return await asyncio.to_thread(look, RepositoryView(read, tuple(self.modes)))

    async def _read(self, path: str) -> bytes | None:
        for _ in range(_MOST_LINKS):
            mode = self.modes.get(path)
            if mode is None:
                return None
            try:
                data = await self.repo.read_blob(self.commit, encode(path), limit_bytes=_FILE_BYTES)
            except ValueError:
                return None
            if mode != _LINK or data is None:
                return data
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), decode(data)))
        return None


async def files_of(repo: Repo, commit: CommitId) -> CommitFiles:
    """Return a commit's files, none of them read yet."""
    listed = await repo.list_files(commit)
    return CommitFiles(repo, commit, {decode(path): mode for path, mode, _ in listed if mode != _SUBMODULE})


@dataclass(frozen=True, slots=True)
class Examined:
    """What a commit's files say of how its environment is made."""

    files: CommitFiles
    plans: tuple[SetupPlan, ...]
    """The best one first; there is at least one, which may be empty."""


@dataclass(slots=True, eq=False)
class EnvironmentBuilder:
    """Builds on one engine, for one run, or for a command that looks at one commit."""

    repo: Repo
    run_id: RunId
    """Names sandboxes and what their workspaces are made from; the base commit was fetched under it."""
    engine: SandboxEngine
    settings: SandboxSettings
    inputs: SetupInputs
    clock: Clock
    report: Callable[[str, JSONObject], None]
    """Reports `environment.building`, `environment.step`, `environment.ready`, `environment.failed`."""
    write_log: Callable[[str, str], Path | None] = lambda _name, _text: None
    """Writes a text file whole, `environment/KEY.log`, and gives its path."""
    redact: Callable[[str], str] = str
    """Takes secrets out of text, the registries' credentials among them."""
    touched: tuple[str, ...] = ()
    """What tasks write, as `environment.folders.literal_prefixes` gives it; set by `touch`."""
    repositories: tuple[str, ...] = ()
    """Folders that are repositories of their own; empty where the checkout is one."""
    has_built: bool = False
    """Whether anything was set up, so that there may be more than there is room for."""
    _examined: dict[CommitId, Examined] = field(default_factory=dict)
    _identities: dict[CommitId, str] = field(default_factory=dict)

    def touch(self, prefixes: tuple[str, ...]) -> None:
        """Let plans set up what lies there too; every commit is examined anew."""
        if prefixes != self.touched:
            self.touched = prefixes
            self._examined.clear()

    async def examine(self, commit: CommitId) -> Examined:
        """Return what may be built for a commit; nothing is run, and only what is asked for is read."""
        if commit not in self._examined:
            # every ecosystem and its patterns: needed by those who look, not by all who may
            from codexteam.environment.detection import DetectionInput
            from codexteam.environment.several import detect_in_each

            files = await files_of(self.repo, commit)
            given = DetectionInput(
                setup=self.settings.setup,
                service_commands=self.settings.service_commands,
                image=self.settings.image,
                dockerfile=self.settings.dockerfile,
                has_images=self.engine.environments.uses_images,
                trusted=self.inputs.trusted,
                environment=self.inputs.variables,
                touched=self.touched,
                workspace=WORKSPACE,
            )
            plans = await files.examine(lambda view: detect_in_each(view, given, self.repositories))
            self._examined[commit] = Examined(files, plans)
        return self._examined[commit]

    async def key(self, commit: CommitId, plan: SetupPlan) -> str:
        """Return the key of the environment that a plan makes of a commit.

        Raises:
            SandboxUnavailable: the image that it is built upon cannot be had.
        """
        files = (await self.examine(commit)).files
        base = await self._identity(commit)

        def name(view: RepositoryView) -> str:
            return environment_key(
                plan,
                view.read,
                base=base,
                platform=self.inputs.platform,
                registries=self.inputs.registries.identity,
            )

        return await files.examine(name)

    async def _identity(self, commit: CommitId) -> str:
        if commit not in self._identities:
            self._identities[commit] = await self.engine.environments.identity(await self._base(commit))
        return self._identities[commit]

    async def _base(self, commit: CommitId) -> BaseSource:
        return await self.repo.base_source(self.run_id, commit)

    async def find(self, commit: CommitId, plan: SetupPlan) -> Environment | None:
        """Return a plan's environment where it was built before."""
        return await self.engine.environments.find(await self.key(commit, plan))

    async def build(self, commit: CommitId, plan: SetupPlan, *, rebuild: bool = False) -> Environment | SetupFailed:
        """Return a plan's environment: what is kept, or one that is set up now; with `rebuild` always the latter.

        Raises:
            SandboxUnavailable: no sandbox can be started, or what was made cannot be kept.
        """
        key = await self.key(commit, plan)
        environments = self.engine.environments
        if rebuild:
            await environments.remove([key])
        elif (kept := await environments.find(key)) is not None:
            return self._found(kept)
        async with environments.claim(key):
            kept = await environments.find(key)
            if kept is not None and rebuild:
                return SetupFailed("it is in use, so it cannot be built again now", log="")
            return self._found(kept) if kept is not None else await self._set_up_somewhere(commit, plan, key)

    def _found(self, kept: Environment) -> Environment:
        self.report("environment.ready", {**environment_fields(kept), "kept": True})
        return kept

    async def _set_up_somewhere(self, commit: CommitId, plan: SetupPlan, key: str) -> Environment | SetupFailed:
        """Set it up; once more where the host that it was done on dies."""

        def told(error: HostLost) -> None:
            text = f"{error}; the environment is set up again, on another host if there is one"
            self.report("notice", {"text": text})

        return await despite_lost_hosts(lambda: self._set_up(commit, plan, key), told, most=_MOST_LOST_HOSTS)

    async def _set_up(self, commit: CommitId, plan: SetupPlan, key: str) -> Environment | SetupFailed:
        base = await self._base(commit)
        made_from = await self.engine.made_from(base)
        sources = source_lines(plan)
        begun_seconds = self.clock.monotonic_seconds()
        self.report(
            "environment.building",
            {
                "key": key,
                "commit": commit,
                "made_from": made_from,
                "sources": list(sources),
                "steps": len(plan.needs.steps),
            },
        )
        agent = AgentKey(self.run_id, "ci_runner", Purpose.CI, f"setup.{key}", 1)
        inputs = self.inputs.without_credentials() if _is_of_a_model(plan) else self.inputs
        order = setup_order(plan, key, agent=agent, base=base, settings=self.settings, inputs=inputs)
        log = SetupLog(lambda text: self.write_log(f"environment/{key}.log", text), self.redact)
        reach("environment.setup.before")
        sandbox = await self.engine.environments.set_up(order)
        try:
            steps = SetupSteps(sandbox, plan, self.clock, self.settings.setup_seconds, log, self.report)
            try:
                done = await steps.run()
            except HostLost:
                raise
            except SandboxLost as error:
                done = SetupFailed(f"the set-up's sandbox went away: {clean_line(str(error))}", log=log.path)
            if isinstance(done, SetupFailed):
                self.report("environment.failed", {"key": key, **failure_fields(done), "sources": list(sources)})
                return done
            reach("environment.keep.before")
            self.has_built = True
            kept = await sandbox.keep(self._made(plan, key, made_from, done, begun_seconds))
            reach("environment.keep.after")
        finally:
            await to_its_end(sandbox.close())
        self.report("environment.ready", {**environment_fields(kept), "kept": False})
        return kept

    def _made(self, plan: SetupPlan, key: str, made_from: str, done: SetupDone, begun_seconds: float) -> Environment:
        return Environment(
            key,
            made_from,
            int(self.clock.wall_seconds()),
            round(self.clock.monotonic_seconds() - begun_seconds, 3),
            sources=source_lines(plan),
            steps=done.steps,
            variables=dict(plan.needs.variables),
            offline_variables=dict(plan.needs.offline_variables),
            paths=setup_paths(plan),
            services=plan.needs.services,
            service_commands=plan.needs.service_commands,
            notices=(*map(clean_line, plan.needs.notices), *done.notices, *self._missing_services(plan)),
        )

    async def prune(self) -> tuple[str, ...]:
        """Remove environments that are unused for long or exceed the space; return their keys."""
        limit_bytes, now_seconds = self.settings.environments_bytes, self.clock.wall_seconds()
        return tuple(await prune(self.engine.environments, now_seconds=now_seconds, limit_bytes=limit_bytes))

    def _missing_services(self, plan: SetupPlan) -> list[str]:
        if self.engine.environments.starts_services:
            return []
        return [
            clean_line(
                f"the service {each.name} ({each.image}, asked for by {each.source}) is missing: {self.engine.name} starts "
                'no services; use Docker ([codexteam.sandbox] kind = "docker"), or leave its tests out of the gates'
            )
            for each in plan.needs.services
        ]


def _is_of_a_model(plan: SetupPlan) -> bool:
    return any(source.kind is SourceKind.AGENT for source in plan.sources)


def source_lines(plan: SetupPlan) -> tuple[str, ...]:
    """Return who asked for a plan, a line each: what was used and why."""
    return tuple(_line(source) for source in plan.sources if source.used)


def _line(source: Source) -> str:
    return clean_line(f"{source.where} ({source.why})" if source.why else source.where)


def environment_fields(made: Environment) -> JSONObject:
    """Return an environment as its facts tell it."""
    return {
        "key": made.key,
        "made_from": made.made_from,
        "sources": list(made.sources),
        "steps": len(made.steps),
        "seconds": made.wall_seconds,
        "size_bytes": made.size_bytes,
        "notices": list(made.notices),
    }


def failure_fields(failed: SetupFailed) -> JSONObject:
    """Return a failed set-up as its fact tells it."""
    return {
        "reason": failed.reason,
        "source": failed.source,
        "output": failed.output,
        "log": failed.log,
        "notices": list(failed.notices),
    }


async def unneeded(
    environments: Environments, *, now_seconds: float, limit_bytes: int, also: Collection[str] = ()
) -> Sequence[Environment]:
    """Return the environments to remove, least recently used first: what is old or has no room, and those of `also`."""
    listed = await environments.list()
    kept = [KeptEnvironment(made.key, used_at_seconds, made.size_bytes) for made, used_at_seconds in listed]
    keys = {*expired(kept, now_seconds=now_seconds, limit_bytes=limit_bytes), *also}
    return [made for made, _ in reversed(listed) if made.key in keys]


async def prune(environments: Environments, *, now_seconds: float, limit_bytes: int) -> Sequence[str]:
    """Remove what is not needed and what nobody uses at this moment; return the keys of what is gone."""
    found = await unneeded(environments, now_seconds=now_seconds, limit_bytes=limit_bytes)
    return await environments.remove([made.key for made in found]) if found else ()
