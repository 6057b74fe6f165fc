"""What a worker of a cluster makes its engine and its model of: the run's settings, and its own machine's environment.

Keys are never sent: a worker finds them in its own environment, where whoever starts the node puts them.
"""

import asyncio
import hashlib
import os
import pickle
import random
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from codexteam import __version__
from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.compose import make_worker_engine
from codexteam.app.project import cache_folder
from codexteam.app.secret_values import machine_secrets
from codexteam.app.worker_surroundings import WorkerSurroundings
from codexteam.core.redaction import Redactor
from codexteam.errors import InternalError
from codexteam.ports.workers import RunLink
from codexteam.run.worker_desk import RunFilesAtCommit, WorkerDesk
from codexteam.run.worker_gates import WorkerGates
from codexteam.run.worker_messages import WorkerEnded, WorkerOrder
from codexteam.run.worker_service import WorkerPlace, WorkerTools, other_version, serve_order
from codexteam.system.cancellation import to_its_end


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
