"""Brings the chosen image to an engine: looks, pulls, builds; or says what a run would find, without any of it."""

import asyncio
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from docker.errors import DockerException

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, ImageNotFound, said_by
from codexteam.adapters.sandbox.docker.containers import Image
from codexteam.adapters.sandbox.docker.hardening import What, digest, labels
from codexteam.adapters.sandbox.docker.image_pull import Progress, known_image, pull_image, report_progress
from codexteam.adapters.sandbox.docker.image_selection import Built, ImageChoice, Pulled, choose
from codexteam.adapters.sandbox.docker.node import Node
from codexteam.config.settings import SandboxSettings
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.environment.repository_view import RepositoryView
from codexteam.errors import ConfigError, SandboxUnavailable
from codexteam.ports.sandbox import BaseSource

_MAX_CONTEXT_BYTES = 512 << 20
_MAX_FILE_BYTES = 1 << 20
#: Folders whose files are found by listing, not by name.
_LISTED = (".devcontainer/", ".github/workflows/")


class RepositoryFiles(Protocol):
    """The files at a commit; `Repo` is one."""

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """Return a file's bytes at a commit; None when it is not there."""
        ...

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Return (path, mode, blob id) of every file at a commit."""
        ...


class Images:
    """The image of one repository, on every engine of the pool."""

    def __init__(
        self,
        settings: SandboxSettings,
        files: RepositoryFiles | None,
        *,
        trusted: bool,
        owner: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Take what images are made of.

        Args:
            settings: `[codexteam.sandbox]`.
            files: the repository's files at the base commit.
            trusted: whether the repository's own devcontainer may be used.
            owner: distinguishes our images from another repository's.
            environment: the user's variables that a devcontainer may see.
        """
        self._settings = settings
        self._files = files
        self._trusted = trusted
        self._owner = owner
        self._environment = environment or {}
        self._found: dict[tuple[str, CommitId], Image] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.notices: list[str] = []

    async def get(self, node: Node, base: BaseSource, on_progress: Progress = None) -> Image:
        """Return the image, made ready on that engine.

        Raises:
            SandboxUnavailable: it cannot be had; says what to do.
            ConfigError: the repository's own description of it cannot be used.
        """
        key = (node.client.settings.name, base.root_commit)
        async with self._locks.setdefault(node.client.settings.name, asyncio.Lock()):
            if key not in self._found:
                choice = await self.choose(base.root_commit)
                for notice in choice.notices:
                    if notice not in self.notices:
                        self.notices.append(notice)
                        if on_progress is not None:
                            on_progress(notice)
                self._found[key] = await self._bring(node.client, choice, base.root_commit, on_progress)
            return self._found[key]

    async def choose(self, commit: CommitId) -> ImageChoice:
        """Decide which image it is."""
        known: dict[str, bytes | None] = {}
        there = frozenset(await self._paths(commit))
        paths = sorted(path for path in there if "/" not in path or path.startswith(_LISTED))
        while True:
            missing: list[str] = []

            def read(path: str, missing: list[str] = missing) -> bytes | None:
                if path not in known:
                    missing.append(path)
                return known.get(path)

            try:
                view = RepositoryView(read, paths)
                choice = choose(self._settings, view, trusted=self._trusted, environment=self._environment)
            except ConfigError:
                if not missing:
                    raise
            else:
                if not missing:
                    return choice
            for path in missing:
                known[path] = await self._read(commit, path) if path in there else None

    async def _paths(self, commit: CommitId) -> list[str]:
        """Return the paths at a commit; what is not UTF-8 is named by no file of configuration."""
        files = await self._files.list_files(commit) if self._files is not None else ()
        return [path.decode("utf-8", "replace") for path, _, _ in files]

    async def _read(self, commit: CommitId, path: str) -> bytes | None:
        if self._files is None:
            return None
        try:
            return await self._files.read_blob(commit, path.encode(), limit_bytes=_MAX_FILE_BYTES)
        except ValueError:
            return b""  # far larger than anything people write; that it is there counts all the same

    async def _bring(self, client: EngineClient, choice: ImageChoice, commit: CommitId, on_progress: Progress) -> Image:
        match choice:
            case Pulled(reference, reason):
                return await pull_image(client, reference, reason, on_progress)
            case Built() if self._settings.require_runtime is not None:
                raise ConfigError(
                    f"{choice.dockerfile}: the engine builds images outside of {self._settings.require_runtime}, which "
                    "[codexteam.sandbox] require_runtime asks for",
                    hint="build the image yourself and set [codexteam.sandbox] image",
                )
            case Built():
                return await self._build(client, choice, commit, on_progress)

    async def _build(self, client: EngineClient, choice: Built, commit: CommitId, on_progress: Progress) -> Image:
        context = await self._context(choice, commit)
        dockerfile = str(PurePosixPath(choice.dockerfile))
        if choice.context:
            dockerfile = f".codexteam-dockerfile-{digest(choice.dockerfile)}"
        tag = f"codexteam-build:{digest(context.hex(), repr(choice.arguments), str(choice.target))}"
        known = await known_image(client, tag)
        if known is not None:
            return Image.of(choice.dockerfile, known)
        report_progress(on_progress, f"building {choice.dockerfile}")
        docker = await client.connect()

        def build() -> Mapping[str, object]:
            lines: list[str] = []
            stream = docker.api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                dockerfile=dockerfile,
                tag=tag,
                rm=True,
                forcerm=True,
                decode=True,
                target=choice.target or "",
                buildargs=dict(choice.arguments),
                labels=dict(labels(What.HELPER, self._owner)),
            )
            for event in stream:
                if "error" in event:
                    raise DockerException(str(event["error"]))
                line = str(event.get("stream") or event.get("status") or "").strip()
                if line:
                    lines.append(line)
                    report_progress(on_progress, clean_line(line))
            found: Mapping[str, object] = docker.images.get(tag).attrs
            return found

        try:
            return Image.of(choice.dockerfile, await client.call(build))
        except ENGINE_ERRORS as error:
            raise SandboxUnavailable(
                f"{choice.dockerfile} ({choice.reason}) could not be built: {clean_line(said_by(error))}",
                hint="try `docker build` on it, or set [codexteam.sandbox] image",
            ) from error

    async def _context(self, choice: Built, commit: CommitId) -> bytes:
        """Return the build's context as a tar: the files at the commit, nothing of the user's work tree."""
        if self._files is None:
            raise ConfigError("a Dockerfile needs the repository's files")
        prefix = f"{choice.context}/".encode() if choice.context else b""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            if choice.context:
                data = await self._read(commit, choice.dockerfile) or b""
                _add(archive, f".codexteam-dockerfile-{digest(choice.dockerfile)}", "100644", data)
            for path, mode, _ in await self._files.list_files(commit):
                if not path.startswith(prefix) or mode == "160000":
                    continue
                content = await self._files.read_blob(commit, path, limit_bytes=_MAX_CONTEXT_BYTES)
                _add(archive, path[len(prefix) :].decode("utf-8", "surrogateescape"), mode, content or b"")
                if stream.tell() > _MAX_CONTEXT_BYTES:
                    raise ConfigError(
                        f"{choice.dockerfile}: the build context is larger than {_MAX_CONTEXT_BYTES >> 20} MB",
                        hint="build the image yourself and set [codexteam.sandbox] image",
                    )
        return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, mode: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    if mode == "120000":
        entry.type, entry.linkname = tarfile.SYMTYPE, data.decode("utf-8", "surrogateescape")
        archive.addfile(entry)
        return
    entry.size, entry.mode = len(data), 0o755 if mode == "100755" else 0o644
    archive.addfile(entry, io.BytesIO(data))


@dataclass(frozen=True, slots=True)
class ImageFound:
    """What came of it."""

    usable: bool
    found: str


async def look_for_image(client: EngineClient, choice: ImageChoice, view: RepositoryView) -> ImageFound:
    """Look on the engine, then ask the registry as the engine would."""
    match choice:
        case Built(dockerfile, reason=reason):
            there = view.read(dockerfile) is not None
            text = f"{clean_line(dockerfile)} ({clean_line(reason)})"
            return ImageFound(there, f"is built from {text}" if there else f"there is no {text} at HEAD")
        case Pulled(reference, reason):
            return await _pulled(client, reference, f"{clean_line(reference)} ({clean_line(reason)})")


async def _pulled(client: EngineClient, reference: str, text: str) -> ImageFound:
    docker = await client.connect()
    try:
        await client.call(docker.images.get, reference)
    except ImageNotFound:
        pass  # then it must be pulled
    except ENGINE_ERRORS as error:
        return ImageFound(usable=False, found=f"{text}: {clean_line(said_by(error))}")
    else:
        return ImageFound(usable=True, found=f"{text}, on the engine")
    try:
        await client.call(docker.images.get_registry_data, reference)
    except ENGINE_ERRORS as error:
        said = clean_line(said_by(error))
        return ImageFound(usable=False, found=f"{text} is not on the engine, and cannot be pulled: {said}")
    return ImageFound(usable=True, found=f"{text}, is pulled when a run starts")
