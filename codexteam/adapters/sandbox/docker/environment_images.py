"""Environments as images of an engine: one for each key and owner, with what is known of it as a label.

Not shared between owners: what a set-up runs is more than its key counts, so another repository with the same manifests
could bring its own scripts into this one's environment.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from codexteam.adapters.sandbox.docker.client import (
    ENGINE_ERRORS,
    APIError,
    EngineClient,
    ImageNotFound,
    said_by,
)
from codexteam.adapters.sandbox.docker.containers import CONFLICT, Image
from codexteam.adapters.sandbox.docker.hardening import KEY, What, chosen, digest, labels
from codexteam.core.codec import decode, encode
from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable, StoreError
from codexteam.ports.environments import Environment

_REPOSITORY = "codexteam-environment"
_KNOWN = "codexteam.environment"
#: What the image was made from has this size: the rest is the environment's own.
_BASE_BYTES = "codexteam.base_bytes"


@dataclass(frozen=True, slots=True)
class EnvironmentImage:
    """An environment on an engine."""

    environment: Environment
    image: Image


def tag_of(owner: str, key: str) -> str:
    """Return the name of an environment's image."""
    return f"{_REPOSITORY}:{digest(owner)}-{key}"


async def look(client: EngineClient, owner: str, key: str) -> EnvironmentImage | None:
    """Return an environment, if the engine has it."""
    docker = await client.connect()
    try:
        found = await client.call(docker.images.get, tag_of(owner, key))
    except ImageNotFound:
        return None
    except ENGINE_ERRORS as error:
        raise SandboxUnavailable(
            f"{client.settings.name} does not say whether it has the environment {clean_line(key)}: {said_by(error)}",
            hint="see that the engine answers, and `codexteam doctor`",
        ) from error
    return _kept(found.attrs)


async def look_for_all(client: EngineClient, owner: str) -> list[Environment]:
    """Return all of an owner's that an engine has."""
    docker = await client.connect()
    found = await client.call(docker.images.list, filters={"label": chosen(What.ENVIRONMENT, owner)})
    kept = [_kept(image.attrs) for image in found if image.tags]  # one without a name was replaced
    return [each.environment for each in kept if each is not None]


def _kept(attrs: Mapping[str, Any]) -> EnvironmentImage | None:
    """Read one; None where another version wrote what this one cannot read: it is built again then."""
    marks = (attrs.get("Config") or {}).get("Labels") or {}
    try:
        known = decode(Environment, json.loads(marks[_KNOWN]), _KNOWN)
        size = int(attrs["Size"]) - int(marks[_BASE_BYTES])
    except (KeyError, ValueError, StoreError):
        return None
    image = Image.of(f"environment {known.key}", attrs, environment_key=known.key)
    return EnvironmentImage(replace(known, size_bytes=max(size, 1)), image)


async def commit(client: EngineClient, owner: str, container: Container, base: Image, made: Environment) -> Environment:
    """Keep what is in a container as the environment; what is mounted into it is left out."""
    docker = await client.connect_patiently()
    repository, _, tag = tag_of(owner, made.key).partition(":")

    def keep() -> None:
        before = docker.images.get(base.id).attrs
        config = before.get("Config") or {}
        marks = {
            **labels(What.ENVIRONMENT, owner),
            KEY: made.key,
            _KNOWN: json.dumps(encode(replace(made, size_bytes=0))),
            _BASE_BYTES: str(before["Size"]),
        }
        # its main process is codexteam's, and of its variables those of the image count
        conf = {"Env": config.get("Env"), "Cmd": config.get("Cmd"), "Labels": marks}
        docker.containers.get(str(container.id)).commit(repository=repository, tag=tag, conf=conf)

    await client.call(keep)
    kept = await look(client, owner, made.key)
    if kept is None:
        raise SandboxUnavailable(
            f"the environment {made.key} was removed from {client.settings.name} as soon as it was kept",
            hint="see that nothing else removes images there, and try again",
        )
    return kept.environment


async def carry(source: EngineClient, target: EngineClient, owner: str, key: str) -> None:
    """Bring an environment from one engine to another."""
    far: Any
    near: Any  # typed in part
    far, near = await source.connect_patiently(), await target.connect_patiently()

    def load() -> None:
        for _ in near.api.load_image(far.api.get_image(tag_of(owner, key))):
            pass  # until the engine has all of it

    await target.call(load)


async def save(client: EngineClient, owner: str, key: str, destination: Path) -> None:
    """Write an environment's image into a file, as `docker save` does."""
    docker: Any = await client.connect_patiently()  # typed in part

    def write() -> None:
        with destination.open("wb") as file:
            for piece in docker.api.get_image(tag_of(owner, key)):
                file.write(piece)

    await client.call(write)


async def load(client: EngineClient, source: Path) -> None:
    """Take in an image that `save` wrote."""
    docker: Any = await client.connect_patiently()

    def read() -> None:
        with source.open("rb") as file:
            for _ in docker.api.load_image(file):
                pass  # until the engine has all of it

    await client.call(read)


async def remove_images(client: EngineClient, owner: str, key: str, *, but: str = "") -> bool:
    """Remove an environment's images, also those that were replaced, but for one; False when something uses one."""
    docker = await client.connect()
    found = await client.call(docker.images.list, filters={"label": chosen(What.ENVIRONMENT, owner, key=key)})
    ids = [str(image.id) for image in found if image.id != but]
    for each in ids:
        try:
            await client.call(docker.images.remove, each)
        except ImageNotFound:
            continue
        except APIError as error:
            if error.status_code == CONFLICT:
                return False
            raise
    return bool(ids)
