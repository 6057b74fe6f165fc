"""What tests against a real engine share."""

import asyncio
import contextlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker

from codexteam.adapters.sandbox.docker.engine import DockerEngine
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.ports.sandbox import BaseSource, Sandbox, SandboxSpec
from tests.contract.test_sandbox import SANDBOX_IMAGE
from tests.support_base_source import base_source, git, make_repository

LIMITS = SandboxLimits(memory_bytes=1 << 30)


@dataclass
class Rig:
    """An engine over a small repository, and what was started on it."""

    folder: Path
    settings: SandboxSettings
    environment: Mapping[str, str]
    files: Mapping[str | bytes, bytes | str] = field(default_factory=lambda: {"a.txt": b"one\n"})
    layers: bool | None = None
    started: list[Sandbox] = field(default_factory=list)
    denials: list[JSONObject] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (self.folder / "repository").exists():
            make_repository(self.folder / "repository", self.files)
        self.base: BaseSource = base_source(self.folder / "repository", self.folder / "base")
        self.run_id = RunId(f"docker-{os.getpid()}-{self.folder.name}")
        self.engine = DockerEngine(
            self.settings,
            environment=self.environment,
            owner=str(self.folder),
            state_dir=self.folder / "state",
            files=FolderFiles(self.folder / "repository"),
            layers=self.layers,
            on_denied=self.denials.append,
        )

    def agent(self, ordinal: int | None = None) -> AgentKey:
        return AgentKey(self.run_id, "implementer", Purpose.IMPLEMENT, "T1", ordinal or len(self.started) + 1)

    async def start(self, **more: object) -> Sandbox:
        spec = SandboxSpec(self.agent(), self.base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), LIMITS)
        sandbox = await self.engine.start(replace(spec, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox


@contextlib.asynccontextmanager
async def rig(folder: Path, **more: Any) -> AsyncIterator[Rig]:
    """Make one, and remove all that it made."""
    environment = more.pop("environment", os.environ)
    files = more.pop("files", None)
    layers = more.pop("layers", None)
    settings = SandboxSettings(**{"image": SANDBOX_IMAGE, **more})
    found = Rig(folder, settings, environment, layers=layers, **({"files": files} if files else {}))
    try:
        yield found
    finally:
        for sandbox in found.started:
            await sandbox.close()
        await found.engine.sweep(None)
        await found.engine.close()


@dataclass(frozen=True)
class FolderFiles:
    """The files at a repository's commit, by git."""

    repository: Path

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        process = await asyncio.create_subprocess_exec(
            *("git", "cat-file", "blob", f"{commit}:{os.fsdecode(path)}"),
            cwd=self.repository,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        data, _ = await process.communicate()
        return data if process.returncode == 0 else None

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        found = []
        for line in git(self.repository, "ls-tree", "-r", "-z", commit).split(b"\0"):
            if line:
                facts, name = line.split(b"\t", 1)
                mode, _, blob = facts.decode().split(" ")
                found.append((name, mode, blob))
        return tuple(found)


@contextlib.contextmanager
def built(client: docker.DockerClient, dockerfile: str, tag: str) -> Any:
    """An image made from a Dockerfile, as long as the block lasts."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile.encode()))
    stream.seek(0)
    client.images.build(fileobj=stream, custom_context=True, tag=tag, rm=True)
    try:
        yield tag
    finally:
        client.images.remove(tag, force=True)
