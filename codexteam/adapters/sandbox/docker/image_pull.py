"""Brings an image to an engine by its name: the one that is there, else pulled."""

from collections.abc import Callable, Mapping

from docker.errors import DockerException

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, EngineClient, ImageNotFound, said_by
from codexteam.adapters.sandbox.docker.containers import Image
from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable

Progress = Callable[[str], None] | None
#: What to do where an image can be had from nowhere.
IMAGE_HINT = (
    "check name and network, `docker pull` it yourself, set [codexteam.sandbox] image to one that is there, or its "
    'kind to "bubblewrap", which needs no image'
)


async def known_image(client: EngineClient, reference: str) -> Mapping[str, object] | None:
    """Return what an engine says of an image; None when it has none of that name.

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


async def pull_image(client: EngineClient, reference: str, reason: str, on_progress: Progress) -> Image:
    """Return an image by its name: the one that is on the engine, else pulled.

    Raises:
        SandboxUnavailable: it cannot be had; says what to do.
    """
    known = await known_image(client, reference)
    if known is not None:
        return Image.of(reference, known)
    report_progress(on_progress, f"pulling {reference} ({reason})")
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
                report_progress(on_progress, clean_line(f"pulling {reference}: {done} of {len(layers)} layers"))

    try:
        await client.call(pull)
        return Image.of(reference, (await client.call(docker.images.get, reference)).attrs)
    except ENGINE_ERRORS as error:
        raise SandboxUnavailable(
            f"the image {clean_line(reference)} ({reason}) is not on {client.settings.name} and cannot be pulled: "
            f"{clean_line(said_by(error))}",
            hint=IMAGE_HINT,
        ) from error


def report_progress(on_progress: Progress, text: str) -> None:
    """Report a line of progress, if somebody reads them."""
    if on_progress is not None:
        on_progress(text)
