"""Brings the chosen image to an engine: looks, pulls, builds, and keeps the result of a setup script."""

import asyncio
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Protocol

from docker.errors import DockerException

from codexteam.adapters.docker.choice import LOCK_FILES, Built, Choice, Pulled, choose
from codexteam.adapters.docker.client import ENGINE_ERRORS, EngineClient, ImageNotFound, said_by
from codexteam.adapters.docker.image import Image
from codexteam.adapters.docker.naming import What, digest, labels
from codexteam.adapters.docker.node import Node
from codexteam.adapters.docker.setup import Setup
from codexteam.config.settings import SandboxSettings
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.errors import ConfigError, SandboxUnavailable
from codexteam.ports.sandbox import BaseSource

Progress = Callable[[str], None] | None
_MAX_CONTEXT_BYTES = 512 << 20


class RepositoryFiles(Protocol):
    """The files at a commit; `Repo` is one."""

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """Give a file's bytes at a commit; None when it is not there."""
        ...

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Give (path, mode, blob id) of every file at a commit."""
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
        secrets: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._files = files
        self._trusted = trusted
        self._owner = owner
        self._secrets = secrets
        self._found: dict[tuple[str, CommitId], Image] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.notices: list[str] = []

    async def get(self, node: Node, base: BaseSource, on_progress: Progress = None) -> Image:
        """Give the image, made ready on that engine.

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
                image = await self._bring(node.client, choice, base.root_commit, on_progress)
                if self._settings.setup is not None:
                    image = await self._set_up(node, image, base, self._settings.setup, on_progress)
                self._found[key] = image
            return self._found[key]

    async def choose(self, commit: CommitId) -> Choice:
        """Decide which image it is."""
        known: dict[str, bytes | None] = {}
        while True:
            missing: list[str] = []

            def read(path: str, missing: list[str] = missing) -> bytes | None:
                if path not in known:
                    missing.append(path)
                return known.get(path)

            try:
                choice = choose(self._settings, read, trusted=self._trusted)
            except ConfigError:
                if not missing:
                    raise
            else:
                if not missing:
                    return choice
            for path in missing:
                known[path] = await self._read(commit, path)

    async def _read(self, commit: CommitId, path: str) -> bytes | None:
        if self._files is None:
            return None
        return await self._files.read_blob(commit, path.encode(), limit_bytes=1 << 20)

    async def _bring(self, client: EngineClient, choice: Choice, commit: CommitId, on_progress: Progress) -> Image:
        match choice:
            case Pulled(reference, reason):
                return await _pull(client, reference, reason, on_progress)
            case Built():
                return await self._build(client, choice, commit, on_progress)

    async def _build(self, client: EngineClient, choice: Built, commit: CommitId, on_progress: Progress) -> Image:
        context = await self._context(choice, commit)
        dockerfile = str(PurePosixPath(choice.dockerfile))
        if choice.context:
            dockerfile = f".codexteam-dockerfile-{digest(choice.dockerfile)}"
        tag = f"codexteam-build:{digest(context.hex(), repr(choice.arguments), str(choice.target))}"
        known = await _known(client, tag)
        if known is not None:
            return Image.of(choice.dockerfile, known)
        _tell(on_progress, f"building {choice.dockerfile}")
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
                    _tell(on_progress, clean_line(line))
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
        """Give the build's context as a tar: the files at the commit, nothing of the user's work tree."""
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

    async def _set_up(self, node: Node, image: Image, base: BaseSource, script: str, on_progress: Progress) -> Image:
        text = await self._read(base.root_commit, script)
        if text is None:
            raise ConfigError(
                f"[codexteam.sandbox] setup: there is no {script} at the base commit",
                hint="commit it, or correct the path (relative to the repository's root)",
            )
        locks = [await self._read(base.root_commit, name) or b"" for name in LOCK_FILES]
        tag = f"codexteam-setup:{digest(image.id, script, text.hex(), *(lock.hex() for lock in locks))}"
        known = await _known(node.client, tag)
        if known is not None:
            return Image.of(f"{image.reference} + {script}", known)
        _tell(on_progress, f"running {script}")
        secrets = {name: self._secrets[name] for name in self._settings.setup_secrets if name in self._secrets}
        checkout = await node.bases.get(base, image, on_progress)
        job = Setup(node.client, self._owner, image, checkout, script, tag, secrets)
        attrs = await job.run(on_progress)
        return Image.of(f"{image.reference} + {script}", attrs)


async def _known(client: EngineClient, reference: str) -> Mapping[str, object] | None:
    """Give what an engine says of an image; None when it has none of that name.

    Raises:
        SandboxUnavailable: it does not say.
    """
    docker = await client.connect()
    try:
        found: Mapping[str, object] = (await client.call(docker.images.get, reference)).attrs
    except ImageNotFound:
        return None
    except ENGINE_ERRORS as error:
        raise SandboxUnavailable(
            f"{client.settings.name} does not say whether it has the image {clean_line(reference)}: "
            f"{clean_line(said_by(error))}",
            hint="see that the engine answers (`docker image inspect` on it), and `codexteam doctor`",
        ) from error
    return found


async def _pull(client: EngineClient, reference: str, reason: str, on_progress: Progress) -> Image:
    known = await _known(client, reference)
    if known is not None:
        return Image.of(reference, known)
    _tell(on_progress, f"pulling {reference} ({reason})")
    docker = await client.connect()

    def pull() -> None:
        name, _, tag = reference.rpartition(":") if ":" in reference.rsplit("/", 1)[-1] else (reference, "", "latest")
        whole = "@" in reference
        layers: dict[str, str] = {}
        for event in docker.api.pull(
            reference if whole else name, tag=None if whole else tag, stream=True, decode=True
        ):
            if "error" in event:
                raise DockerException(str(event["error"]))
            layer, status = str(event.get("id", "")), str(event.get("status", ""))
            if layer and layers.get(layer) != status:
                layers[layer] = status
                done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
                _tell(on_progress, clean_line(f"pulling {reference}: {done} of {len(layers)} layers"))

    try:
        await client.call(pull)
        return Image.of(reference, (await client.call(docker.images.get, reference)).attrs)
    except ENGINE_ERRORS as error:
        raise SandboxUnavailable(
            f"the image {clean_line(reference)} ({reason}) is not on {client.settings.name} and cannot be pulled: "
            f"{clean_line(said_by(error))}",
            hint="check name and network, `docker pull` it yourself, or set [codexteam.sandbox] image to one that is there",
        ) from error


def _add(archive: tarfile.TarFile, name: str, mode: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    if mode == "120000":
        entry.type, entry.linkname = tarfile.SYMTYPE, data.decode("utf-8", "surrogateescape")
        archive.addfile(entry)
        return
    entry.size, entry.mode = len(data), 0o755 if mode == "100755" else 0o644
    archive.addfile(entry, io.BytesIO(data))


def _tell(on_progress: Progress, text: str) -> None:
    if on_progress is not None:
        on_progress(text)
