"""What a worker of a cluster makes its engine and its model of: the run's settings, and its own machine's environment.

Keys are never sent: a worker finds them in its own environment, where whoever starts the node puts them.
"""

import asyncio
import hashlib
import os
import pickle
import random
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam import __version__
from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.compose import make_worker_engine
from codexteam.app.project import cache_folder
from codexteam.app.secret_values import machine_secrets
from codexteam.config.settings import ProviderSettings, SandboxSettings, Settings
from codexteam.core.redaction import Redactor
from codexteam.errors import ConfigError, InternalError
from codexteam.ports.workers import RunLink
from codexteam.run.worker_desk import RunFilesAtCommit, WorkerDesk
from codexteam.run.worker_gates import WorkerGates
from codexteam.run.worker_messages import WorkerEnded, WorkerOrder
from codexteam.run.worker_service import WorkerPlace, WorkerTools, other_version, serve_order
from codexteam.system.cancellation import to_its_end

#: Headers of a provider whose value is one that nobody else may know.
_SECRET_HEADERS = ("auth", "key", "token", "secret", "cookie", "password")


@dataclass(frozen=True, slots=True)
class WorkerSurroundings:
    """What of a run's settings goes to its workers. No secret is in it."""

    kind: str
    """Of the run's sandboxes: environments fit no others."""
    sandbox: SandboxSettings
    providers: Mapping[str, ProviderSettings]
    send_metadata: bool
    proxy_loopback: bool
    trusted: bool
    """Whether the repository's own devcontainer may be used."""


def surroundings_of(settings: Settings, kind: str) -> WorkerSurroundings:
    """Return what goes to workers.

    Raises:
        ConfigError: a key stands in a file of the run's machine, which must not be sent.
    """
    used = {role.model.provider_id for role in settings.roles.values()}
    providers = {}
    for id_ in sorted(used & settings.providers.keys()):
        provider = settings.providers[id_]
        if provider.replay_file is not None:
            raise ConfigError("a recording is played back on this machine alone", hint='use executor = "local"')
        if provider.bearer_token and not provider.api_key_variable:
            raise ConfigError(
                f"the key of model provider {id_} stands in a file, and workers get keys from their own environment alone",
                hint=f"name a variable with [model_providers.{id_}] env_key, and set it where the nodes are started",
            )
        shown = [name for name in provider.http_headers if any(word in name.lower() for word in _SECRET_HEADERS)]
        if shown:
            raise ConfigError(
                f"header {shown[0]} of model provider {id_} stands in a file, and is not sent to workers",
                hint=f"name a variable with [model_providers.{id_}] env_http_headers, and set it where nodes are started",
            )
        providers[id_] = replace(provider, bearer_token=None, chatgpt_login=None)
    team = settings.team
    return WorkerSurroundings(
        kind, team.sandbox, providers, team.send_metadata, team.proxy_loopback, settings.trusted is True
    )


def files_folder() -> Path:
    """Return where a worker keeps files that runs share."""
    return cache_folder(os.environ) / "workers" / "files"


async def serve_bytes(version: str, order: bytes, link: RunLink, host: str) -> None:
    """Let an agent work on this machine, by an order as it came; see `serve_order`."""
    if version != __version__:
        link.send(WorkerEnded(error=other_version(host, __version__, version)))
        return
    sent = pickle.loads(order)  # noqa: S301 - the run's own
    if not isinstance(sent, WorkerOrder):
        raise InternalError(f"a worker was sent {type(sent).__name__}")
    await serve(sent, link, host)


async def serve(sent: WorkerOrder, link: RunLink, host: str) -> None:
    """Let an agent work on this machine; see `serve_order`."""
    environment = dict(os.environ)
    state_dir = cache_folder(environment) / "workers" / _digest(sent.owner)
    folder = state_dir / "agents" / f"{_digest(str(sent.order.spec.key))}-{os.getpid()}"
    await asyncio.to_thread(_made, folder)
    clock = SystemClock()

    async def tools(sent: WorkerOrder, desk: WorkerDesk, stack: AsyncExitStack) -> WorkerTools:
        from codexteam.adapters.responses.model import ModelOptions, ResponsesModel

        around = sent.surroundings
        if not isinstance(around, WorkerSurroundings):
            raise InternalError(f"a worker was given {type(around).__name__}")
        engine = make_worker_engine(
            around.kind,
            around.sandbox,
            state_dir=state_dir,
            owner=sent.owner,
            agent=sent.order.spec.key,
            environment=environment,
            files=RunFilesAtCommit(desk),
            trusted=around.trusted,
        )
        stack.push_async_callback(engine.close)
        options = ModelOptions(send_metadata=around.send_metadata, proxy_loopback=around.proxy_loopback)
        jitter = random.Random().random  # noqa: S311 - for waiting, not for secrets
        model = ResponsesModel(around.providers, environment, clock, jitter, options, gates=WorkerGates(desk))
        model.start_warming()
        stack.push_async_callback(model.close)
        return WorkerTools(engine, model, Redactor(machine_secrets(around.providers, around.sandbox, environment)))

    try:
        await serve_order(sent, link, WorkerPlace(host, __version__, folder, clock, tools))
    finally:
        await to_its_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _made(folder: Path) -> None:
    """Make an agent's folder; those of workers that were killed go."""
    for other in folder.parent.glob("*-*"):
        pid = other.name.rpartition("-")[2]
        if other == folder or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
